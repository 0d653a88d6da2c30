package tracee

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// refused runs the probe, which has to be refused for the reason.
func (r *runningTarget) refused(target Target, opt Options, reason Reason) *Refusal {
	r.Helper()
	_, report, err := runScript.Do(r.Context(), target, opt, probe)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Reason != reason {
		r.Fatalf("error %v, want a refusal for %q (report %+v)", err, reason, report)
	}
	return refusal
}

// foreseen tells whether Preflight gives the reason.
func foreseen(target Target, opt Options, reason Reason) bool {
	return slices.ContainsFunc(Preflight(target, opt), func(r *Refusal) bool { return r.Reason == reason })
}

// wellKnown is a target that only its number names.
func wellKnown(t *testing.T, pid int) Target {
	t.Helper()
	target, err := Identify(pid)
	testenv.NeedWorking(t, fmt.Sprintf("process %d", pid), err)
	return target
}

func TestRefusals(t *testing.T) {
	r := startC(t, "read")
	ended := exec.Command("true")
	if err := ended.Start(); err != nil {
		t.Fatal(err)
	}
	defer ended.Wait()
	zombie, err := Identify(ended.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p, err := openProcess(zombie.PID)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	eventually(t, "true has ended", func() bool {
		stat, err := p.stat("stat")
		return err == nil && stat.state == 'Z'
	})
	another := r.target()
	another.StartTicks++
	noThread := r.target()
	noThread.TID = os.Getpid()
	for _, test := range []struct {
		name   string
		target Target
		reason Reason
	}{
		{"gone", Target{PID: 1 << 22, StartTicks: 1}, Gone},
		{"another process", another, Replaced},
		{"another process's thread", noThread, Gone},
		{"zombie", zombie, Zombie},
		{"self", wellKnown(t, os.Getpid()), Self},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &runningTarget{TB: t}
			r.refused(test.target, Options{}, test.reason)
			if !foreseen(test.target, Options{}, test.reason) {
				t.Errorf("Preflight says %v", Preflight(test.target, Options{}))
			}
		})
	}
	t.Run("pid 1", func(t *testing.T) {
		if init := wellKnown(t, 1); !foreseen(init, Options{}, Init) || foreseen(init, Options{Init: true}, Init) {
			t.Errorf("Preflight says %v, and %v when it is permitted", Preflight(init, Options{}), Preflight(init, Options{Init: true}))
		}
	})
	t.Run("kernel thread", func(t *testing.T) {
		// kthreadd, in a pid namespace in which it is.
		if kthreadd := wellKnown(t, 2); !foreseen(kthreadd, Options{}, KernelThread) {
			testenv.NeedWorking(t, "the initial pid namespace", fmt.Errorf("pid 2 is no kernel thread: %v", Preflight(kthreadd, Options{})))
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if got := Preflight(r.target(), Options{}); got != nil {
			t.Errorf("Preflight says %v", got)
		}
	})
}

func TestGroupStopped(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"read", "spin-alone", "epoll_wait-time"} {
		r := startC(t, mode)
		if mode == "epoll_wait-time" {
			r.waitsIn(r.pid(), sysEpollWait)
		}
		unix.Kill(r.pid(), unix.SIGSTOP)
		eventually(t, "it is stopped", func() bool { return r.state() == 'T' })
		for range 3 {
			r.do(Options{}, probe)
			// It goes back to it by itself, without leaving the kernel.
			eventually(t, "it is stopped again", func() bool { return r.state() == 'T' })
		}
		unix.Kill(r.pid(), unix.SIGCONT)
		switch mode {
		case "read":
			r.event()
		case "spin-alone":
			unix.Kill(r.pid(), unix.SIGUSR1)
		}
		result := r.numbersOf("result")
		// The stop itself makes epoll_wait fail, and so it does without us.
		if result[0] != 1 && (mode != "epoll_wait-time" || unix.Errno(result[1]) != unix.EINTR) {
			t.Errorf("%s: result %v", mode, result)
		}
	}
}

// SIGSTOP cannot be blocked. One that comes while the target stands still stops
// it afterwards; between two calls, and before a thousand others.
func TestStopSignalMeanwhile(t *testing.T) {
	t.Parallel()
	r := startC(t, "read")
	stop := step{Do: "kill", A: r.pid(), B: int(unix.SIGSTOP)}
	r.do(Options{}, script{Steps: []step{{Do: "probe"}, stop, {Do: "probe"}, {Do: "probe"}}})
	eventually(t, "it is stopped", func() bool { return r.state() == 'T' })
	cont := step{Do: "kill", A: r.pid(), B: int(unix.SIGCONT)}
	r.do(Options{}, script{Steps: []step{{Do: "probe"}, cont, {Do: "probe"}, stop, cont, {Do: "probe"}}})
	eventually(t, "it runs again", func() bool { return r.state() == 'S' })
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("read: errno %v", unix.Errno(result[1]))
	}
}

func TestTraced(t *testing.T) {
	t.Parallel()
	r := startC(t, "read")
	held := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _, err := runScript.Do(ctx, r.target(), Options{HoldTimeout: time.Minute}, script{Steps: []step{{Do: "hold-on"}}})
		held <- err
	}()
	target := r.target()
	eventually(t, "it is traced", func() bool { return foreseen(target, Options{}, Traced) })
	refusal := r.refused(target, Options{}, Traced)
	if len(refusal.Others) != 1 || !strings.Contains(refusal.Detail, fmt.Sprint(refusal.Others[0])) {
		t.Errorf("refusal %+v does not name the tracer", refusal)
	}
	cancel()
	if err := <-held; err != nil {
		t.Error(err)
	}
	r.event()
	r.expect("result")
}

func TestSeccomp(t *testing.T) {
	testenv.NeedRoot(t)
	for _, test := range []struct {
		mode  string
		after string // what the filter does later
	}{
		{"seccomp-errno", "result -1 1"},
		{"seccomp-trap", "handled 1"},
		{"seccomp-kill", ""},
		{"seccomp-strict", ""},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			r := startC(t, test.mode)
			r.waitsIn(r.pid(), unix.SYS_READ)
			for range 3 {
				r.do(Options{}, probe)
			}
			if output, err := asNobody(t, r.pid()); err == nil || !strings.Contains(output, string(NotPermitted)) {
				t.Errorf("as nobody: %v: %s", err, output)
			}
			r.event()
			if result := r.numbersOf("result"); result[0] != 1 {
				t.Errorf("read: errno %v", unix.Errno(result[1]))
			}
			switch test.mode {
			case "seccomp-kill":
				r.command.Wait()
				if status := r.command.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGSYS {
					t.Errorf("status %v, want SIGSYS: the filter is off", status)
				}
			case "seccomp-errno":
				r.numbersOf("handled")
				if result := r.numbersOf("result"); unix.Errno(result[1]) != unix.EPERM {
					t.Errorf("result %v, want EPERM: the filter is off", result)
				}
			case "seccomp-trap":
				if handled := r.numbersOf("handled"); handled[0] != 1 {
					t.Errorf("handled %d times: the filter is off", handled)
				}
			}
		})
	}
}

// Without the privilege to suspend a filter a process that has one is refused,
// and one that has none is served.
func TestWithoutPrivilege(t *testing.T) {
	testenv.NeedRoot(t)
	if scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err == nil && scope[0] != '0' {
		testenv.NeedWorking(t, "to trace as anybody", fmt.Errorf("kernel.yama.ptrace_scope is %s", scope))
	}
	for _, test := range []struct {
		mode string
		want Reason
	}{{"read", ""}, {"spin-alone", ""}, {"seccomp-errno", Seccomp}, {"seccomp-strict", Seccomp}} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			command := exec.Command(program(t, "target", "-lrt"), test.mode)
			command.SysProcAttr = &syscall.SysProcAttr{Credential: nobody}
			r := startCommand(t, command)
			output, err := asNobody(t, r.pid())
			switch {
			case test.want == "" && err != nil:
				t.Errorf("%v: %s", err, output)
			case test.want != "" && !strings.Contains(output, string(test.want)):
				t.Errorf("%v: %s, want %s", err, output, test.want)
			}
			r.event()
			if test.mode == "spin-alone" {
				unix.Kill(r.pid(), unix.SIGUSR1)
			}
			r.expect("result")
		})
	}
}

// nobody needs no entry in a user database.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534}

// asNobody runs the probe on the process as another user, in another run of
// this program.
func asNobody(t *testing.T, pid int) (string, error) {
	t.Helper()
	command := playing("prober", pid)
	command.SysProcAttr = &syscall.SysProcAttr{Credential: nobody}
	output, err := command.CombinedOutput()
	return string(output), err
}

func TestSyscallUserDispatch(t *testing.T) {
	testenv.NeedKernel(t, 6, 4)
	t.Parallel()
	r := startC(t, "dispatch")
	for range 5 {
		_, report := r.do(Options{}, probe)
		if report.Carrier != r.pid() {
			t.Errorf("report %+v", report)
		}
	}
	unix.Kill(r.pid(), unix.SIGUSR1)
	if handled := r.numbersOf("handled"); handled[0] != 1 {
		t.Errorf("the dispatch is off")
	}
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

func TestOtherNamespaces(t *testing.T) {
	testenv.NeedPIDNS(t)
	t.Parallel()
	command := exec.Command(program(t, "target", "-lrt"), "read")
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
	}
	r := startCommand(t, command)
	r.do(Options{}, probe)
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("read: errno %v", unix.Errno(result[1]))
	}
}

func TestUninterruptible(t *testing.T) {
	t.Parallel()
	r := startC(t, "vfork")
	eventually(t, "it waits for its child", func() bool { return r.state() == 'D' })
	if !foreseen(r.target(), Options{}, Uninterruptible) {
		t.Errorf("Preflight says %v", Preflight(r.target(), Options{}))
	}
	began := time.Now()
	r.refused(r.target(), Options{StopTimeout: 50 * time.Millisecond}, Uninterruptible)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

func TestOpenPath(t *testing.T) {
	t.Parallel()
	r := startC(t, "read")
	values, _ := r.do(Options{}, script{Steps: []step{{Do: "openpath"}}})
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", r.pid(), values[0]))
	if want, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", r.pid())); err != nil || link != want {
		t.Errorf("descriptor %d is %q, error %v; want %q", values[0], link, err, want)
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", r.pid(), values[0]))
	if err != nil || !strings.Contains(string(info), "flags:\t012000000\n") {
		t.Errorf("fdinfo %q, error %v; want O_PATH and O_CLOEXEC", info, err)
	}
}
