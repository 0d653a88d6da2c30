package tracee

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A fault of the helper at any point of a call leaves the target whole: once
// where the call is made in a system call, once in the midst of the program.
func TestFaultInTheWindow(t *testing.T) {
	for _, point := range []string{"borrowed", "begun", "entry", "inside", "exit", "restored"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			for _, mode := range []string{"spin-alone", "epoll_wait"} {
				r := startC(t, mode)
				if mode == "epoll_wait" {
					r.waitsIn(r.pid(), sysEpollWait)
				}
				values, report, err := runScript.Do(t.Context(), r.target(), Options{}, script{Fail: point, Steps: probe.Steps})
				if err == nil || !strings.Contains(err.Error(), "fault at "+point) {
					t.Fatalf("error %v, values %v, report %+v", err, values, report)
				}
				r.do(Options{}, probe)
				r.event()
				unix.Kill(r.pid(), map[string]unix.Signal{"spin-alone": unix.SIGUSR1}[mode])
				if result := r.numbersOf("result"); result[0] != 1 {
					t.Errorf("%s: result %v", mode, result)
				}
			}
		})
	}
}

func TestPanicInOperation(t *testing.T) {
	t.Parallel()
	r := startC(t, "epoll_wait")
	r.waitsIn(r.pid(), sysEpollWait)
	_, report, err := runScript.Do(t.Context(), r.target(), Options{}, script{Steps: []step{{Do: "probe"}, {Do: "panic"}}})
	if err == nil || !strings.Contains(err.Error(), "as the script says") || report.Held == 0 {
		t.Errorf("error %v, report %+v", err, report)
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

// Between calls the target has all its own: the kernel lets it go in good order
// when the helper is killed there.
func TestHelperKilled(t *testing.T) {
	for _, mode := range []string{"spin-alone", "epoll_wait", "nanosleep"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := startC(t, mode)
			_, _, err := runScript.Do(t.Context(), r.target(), Options{}, script{Steps: []step{{Do: "probe"}, {Do: "die"}}})
			if err == nil {
				t.Error("no error")
			}
			r.do(Options{}, probe)
			switch mode {
			case "spin-alone":
				unix.Kill(r.pid(), unix.SIGUSR1)
			case "epoll_wait":
				r.event()
			}
			if result := r.numbersOf("result"); result[0] < 0 {
				t.Errorf("result %v", result)
			}
		})
	}
}

// The caller is killed while the target stands still: the helper brings it back.
func TestCallerKilled(t *testing.T) {
	t.Parallel()
	r := startC(t, "epoll_wait")
	r.waitsIn(r.pid(), sysEpollWait)
	caller := playing("holder", r.pid())
	caller.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	target := r.target()
	eventually(t, "it is held", func() bool { return foreseen(target, Options{}, Traced) })
	unix.Kill(-caller.Process.Pid, unix.SIGKILL) // its whole process group
	caller.Wait()
	eventually(t, "it is let go", func() bool { return !foreseen(target, Options{}, Traced) })
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

// Whenever the caller gives up, the call that was interrupted goes on.
func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	r := startC(t, "epoll_wait")
	r.waitsIn(r.pid(), sysEpollWait)
	target := r.target()
	for moment := range 60 {
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			defer close(over)
			runScript.Do(ctx, target, Options{}, probe)
		}()
		eventually(t, "it is held, or was", func() bool {
			select {
			case <-over:
				return true
			default:
				return foreseen(target, Options{}, Traced)
			}
		})
		for range moment * 100 {
			runtime.Gosched()
		}
		cancel()
		<-over
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

// No signal but SIGKILL and SIGSTOP has a power over the helper.
func TestHelperIgnoresSignals(t *testing.T) {
	t.Parallel()
	r := startC(t, "epoll_wait")
	var steps []step
	for signal := 1; signal <= 64; signal++ {
		switch unix.Signal(signal) {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGSYS, 32, 33:
		default:
			steps = append(steps, step{Do: "raise", A: signal})
		}
	}
	r.do(Options{}, script{Steps: append(steps, step{Do: "probe"})})
	r.event()
	r.expect("result")
}

func TestHeldTooLong(t *testing.T) {
	t.Parallel()
	r := startC(t, "epoll_wait")
	r.waitsIn(r.pid(), sysEpollWait)
	_, _, err := runScript.Do(t.Context(), r.target(), Options{HoldTimeout: 50 * time.Millisecond},
		script{Steps: []step{{Do: "probe"}, {Do: "hold", A: 3600_000}, {Do: "probe"}}})
	if !errors.Is(err, ErrHeldTooLong) {
		t.Errorf("error %v, want %v", err, ErrHeldTooLong)
	}
	r.do(Options{}, probe)
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

// close(2) of a socket with SO_LINGER and unsent data waits. At the deadline it
// is interrupted; the number is free, and the program goes on.
func TestBlockingCall(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	r := startC(t, "linger")
	fd := r.value("fd")
	r.waitsIn(r.pid(), unix.SYS_READ)
	began := time.Now()
	_, report := r.do(Options{CallTimeout: limit}, script{Steps: []step{{Do: "close", A: fd}, {Do: "probe"}}})
	if took := time.Since(began); report.Window < limit || took > 20*time.Second {
		t.Errorf("it took %v, report %+v", took, report)
	}
	_, _, err := runScript.Do(t.Context(), r.target(), Options{}, script{Steps: []step{{Do: "fcntl", A: fd, B: unix.F_GETFD}}})
	if !errors.Is(err, unix.EBADF) {
		t.Errorf("fcntl of the closed descriptor: %v, want EBADF", err)
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

// Parking such a socket ends at the deadline too: closing what the number was is
// a part of dup3(2), or comes on the way back from it (before Linux 6.15).
func TestParkLingering(t *testing.T) {
	t.Parallel()
	r := startC(t, "linger")
	fd := r.value("fd")
	r.do(Options{CallTimeout: 100 * time.Millisecond}, script{Steps: []step{{Do: "park", A: fd}}})
	values, _ := r.do(Options{}, script{Steps: []step{{Do: "fcntl", A: fd, B: unix.F_GETFD}}})
	if values[0] != unix.FD_CLOEXEC {
		t.Errorf("F_GETFD gives %d", values[0])
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

// The caller's context ends a call that waits.
func TestCancel(t *testing.T) {
	t.Parallel()
	r := startC(t, "linger")
	ctx, cancel := context.WithCancel(t.Context())
	target := r.target()
	go func() {
		eventually(t, "close waits in the target", func() bool {
			p, err := openProcess(target.PID)
			if err != nil {
				return false
			}
			defer p.close()
			line, err := member{p, target.PID}.callLine()
			return err == nil && line.number == unix.SYS_CLOSE
		})
		cancel()
	}()
	began := time.Now()
	values, _, err := runScript.Do(ctx, target, Options{CallTimeout: time.Hour, HoldTimeout: time.Hour},
		script{Steps: []step{{Do: "close", A: r.value("fd")}, {Do: "probe"}}})
	if took := time.Since(began); !errors.Is(err, context.Canceled) || took > 20*time.Second {
		t.Errorf("error %v after %v", err, took)
	}
	if len(values) != 2 || values[1] != -1 {
		t.Errorf("values %v: a call was made after the end of the context", values)
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
	if _, _, err := runScript.Do(ctx, r.target(), Options{}, probe); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// Signals that are queued while calls are made arrive, all of them and in order.
func TestQueuedSignals(t *testing.T) {
	t.Parallel()
	r := startC(t, "queued-signals")
	const signals = 5000
	sent := make(chan error)
	go func() {
		for i := range signals {
			for {
				err := queueSignal(r.pid(), 34, i)
				if err == nil {
					break
				}
				if err != unix.EAGAIN { // RLIMIT_SIGPENDING
					sent <- err
					return
				}
				time.Sleep(50 * time.Microsecond)
			}
			time.Sleep(10 * time.Microsecond)
		}
		sent <- nil
	}()
	stops := 0
	for done := false; !done; {
		r.do(Options{}, script{Steps: []step{{Do: "probe"}, {Do: "probe"}, {Do: "probe"}}})
		stops++
		select {
		case err := <-sent:
			if done = true; err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
	r.event()
	if got := r.numbersOf("signals"); got[0] != signals || got[1] != 0 {
		t.Errorf("of %d signals %d have arrived, %d out of order", signals, got[0], got[1])
	}
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("read with SA_RESTART: errno %v", unix.Errno(result[1]))
	}
	t.Logf("%d stops", stops)
}

// queueSignal is sigqueue(3).
func queueSignal(pid, signal, value int) error {
	info := struct {
		signal, errno, code, _ int32
		pid, uid               int32
		value                  int64
		_                      [96]byte
	}{signal: int32(signal), code: -1, pid: int32(os.Getpid()), value: int64(value)}
	_, _, errno := unix.Syscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(pid), uintptr(signal), uintptr(unsafe.Pointer(&info)))
	if errno != 0 {
		return errno
	}
	return nil
}

func TestTargetDies(t *testing.T) {
	for _, mode := range []string{"read", "spin", "shared-table"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := startC(t, mode)
			kill := step{Do: "kill", A: r.pid(), B: int(unix.SIGKILL)}
			opt := Options{}
			if mode == "shared-table" {
				opt.Sharers = []int{r.value("child")}
			}
			_, report, err := runScript.Do(t.Context(), r.target(), opt, script{Steps: []step{{Do: "probe"}, kill, {Do: "probe"}}})
			var callError *CallError
			if !errors.As(err, &callError) || callError.Errno != 0 {
				t.Errorf("error %v, report %+v", err, report)
			}
			// Its parent is told, as ever.
			r.command.Wait()
			if status := r.command.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGKILL {
				t.Errorf("status %v", status)
			}
		})
	}
}

// A program that becomes another one, over and over, by a thread that is not
// its leader: it is served or refused, and goes on either way.
func TestExecMeanwhile(t *testing.T) {
	t.Parallel()
	r := startC(t, "exec-loop")
	target := r.target()
	outcomes := map[string]int{}
	for range 300 {
		_, _, err := runScript.Do(t.Context(), target, Options{}, probe)
		var refusal *Refusal
		var callError *CallError
		switch {
		case err == nil:
			outcomes["served"]++
		case errors.As(err, &refusal):
			outcomes[string(refusal.Reason)+": "+refusal.Detail]++
		case errors.As(err, &callError):
			outcomes[callError.Error()]++
		default:
			t.Errorf("error %v", err)
		}
	}
	t.Log(outcomes)
	if outcomes["served"] == 0 {
		t.Error("it was never served")
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

// A program whose threads begin and end all the time.
func TestThreadsComeAndGo(t *testing.T) {
	t.Parallel()
	r := startC(t, "churn")
	for range 300 {
		if _, report := r.do(Options{}, probe); !report.Exclusive {
			t.Fatalf("report %+v", report)
		}
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

func TestUnknownOperation(t *testing.T) {
	t.Parallel()
	r := startC(t, "read")
	unknown := Operation[struct{}, struct{}]{"nonesuch"}
	if _, _, err := unknown.Do(t.Context(), r.target(), Options{}, struct{}{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", "nonesuch")) {
		t.Errorf("error %v", err)
	}
	r.event()
	r.expect("result")
}
