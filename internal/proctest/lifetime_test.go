package proctest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// everything is a script with every relation of parents and children.
const everything = `
	listen tcp4 127.0.0.1:0
	fork { fork share=1 { }; fork { fork { }; exit } }
	exec { fork { }; thread { }; leader-exit }
	exec { exec sleep 60; exec { stop }; exit }
	exec as=crow_app { become sleep 50 }
	fork { stop }
	fork { serve busy }`

// gone waits until a process is gone, and reports whether that came to be. What
// is left of the killed, the kernel takes away when it gets to it.
func gone(pid int) bool {
	for deadline := time.Now().Add(10 * time.Second); ; {
		if s, err := readStat(pid); err != nil || s.state == 'Z' {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		nap()
	}
}

// At the end of the test nothing is left, not even for a moment.
func TestStartEndsEveryProcess(t *testing.T) {
	var p *Process
	t.Run("role", func(t *testing.T) { p = Start(t, everything) })
	if n := len(p.All()); n != 13 {
		t.Fatalf("%d processes", n)
	}
	for _, q := range p.All() {
		if _, err := os.Stat(process(q.PID)); !os.IsNotExist(err) {
			t.Errorf("pid %d is there: %v", q.PID, err)
		}
	}
	if err := canBind(t, p.Socket("").Port()); err != nil {
		t.Errorf("bind to the port: %v", err)
	}
}

// A supervisor that is killed takes along what is not an orphan by design.
func TestDeathOfSupervisorEndsProcesses(t *testing.T) {
	p, end, err := start("listen tcp4 127.0.0.1:0; fork { fork { stop } }; exec { exec sleep 60 }; exec as=other { }")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(p.PPID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, q := range p.All() {
		if !gone(q.PID) {
			t.Errorf("pid %d is still there", q.PID)
		}
	}
	if err := end(); err == nil {
		t.Error("the death of the supervisor was not noticed")
	}
}

// A process that the test kills is missed by nobody.
func TestKilledProcessIsReaped(t *testing.T) {
	p := Start(t, "listen tcp4 127.0.0.1:0; exec sleep 60")
	for _, pid := range []int{p.Children[0].PID, p.PID} {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); ; nap() {
			if _, err := os.Stat(process(pid)); os.IsNotExist(err) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("pid %d is still there", pid)
			}
		}
	}
}

func TestStartReportsWhatFails(t *testing.T) {
	for script, want := range map[string]string{
		"listen tcp4 127.0.0.1:0 name=l; exec { close nosuch }":  `close nosuch: there is no descriptor "nosuch"`,
		"listen tcp4 127.0.0.1:0 name=l; fork { close nosuch }":  `there is no descriptor "nosuch"`,
		"listen tcp4 192.0.2.1:0":                                "cannot assign requested address",
		"listen tcp4 [::1]:0":                                    "is not of network tcp4",
		"listen sctp4 127.0.0.1:0":                               `unknown network "sctp4"`,
		"fork { fork { close 0; close 0 } }":                     `there is no descriptor "0"`,
		"make eventfd; fork { map eventfd }":                     "process 2, a raw child: no such device",
		"exec no-such-program":                                   "executable file not found",
		"exec { exec { fork { serve accept } } }":                "there is no descriptor",
		"listen tcp4 127.0.0.1:0 name=a; bind udp4 [::]:0":       "is not of network udp4",
		"make eventfd name=a; make eventfd name=a":               `a descriptor named "a" already`,
		"listen tcp4 127.0.0.1:0; exec pass=nosuch { }":          `there is no descriptor "nosuch"`,
		"listen tcp4 127.0.0.1:0; thread { exec { } }":           "exec: not inside of thread",
		"open /no/such/file":                                     "no such file or directory",
		"exec LISTEN_FDS=1":                                      "needs either a program or a block",
		"await nosuch TIME_WAIT":                                 "no such state or socket",
		"listen tcp4 127.0.0.1:0 name=l; await l NOSUCH":         "no such state or socket",
		"serve nosuch":                                           "unknown way to serve",
		"listen tcp4 127.0.0.1:0; exec as=x { become nosuch12 }": "executable file not found",
	} {
		p, end, err := start(script)
		if err == nil {
			t.Errorf("%s: it works", script)
			end()
			continue
		}
		if !strings.Contains(err.Error(), want) || p != nil {
			t.Errorf("%s: %v; want %q", script, err, want)
		}
	}
}

// holderCommand is the command holder, as testscript.Main puts it into PATH.
func holderCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "holder"
	cmd.Dir = t.TempDir()
	cmd.Stderr = os.Stderr
	return cmd
}

// In the foreground, holder tells the facts as JSON, and ends with its input.
func TestHolderCommandWithInput(t *testing.T) {
	cmd := holderCommand(t, "listen", "tcp4", "127.0.0.1:0", ";", "fork", "{", "}")
	output, err := cmd.Output() // its input is at its end from the start
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(output, &a); err != nil || len(a.Process.All()) != 2 {
		t.Fatalf("%s: %v", output, err)
	}
	if err := a.Process.gone(); err != nil {
		t.Error(err)
	}
}

// In the background, holder writes a file, and ends at a signal.
func TestHolderCommandWithReadyFile(t *testing.T) {
	leaky, err := unix.MemfdCreate("leaky", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leaky)
	cmd := holderCommand(t, "-ready", "facts", "listen tcp4 127.0.0.1:0 name=web ; fork { } ; exec sleep 60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &script{directory: cmd.Dir}
	s.run("waitfor", "facts", "A_=")
	for _, name := range []string{"A_PID", "A_CHILD", "A_CHILD2"} {
		if found := links("/proc/" + s.variables[name]); found[3] != "socket:["+s.variables["A_WEB_INODE"]+"]" || len(found) != 4 {
			t.Errorf("%s=%s holds %v", name, s.variables[name], found)
		}
	}
	for fd, link := range links(process(cmd.Process.Pid)) {
		if strings.Contains(link, "leaky") {
			t.Errorf("the supervisor holds the runner's descriptor as %d", fd)
		}
	}
	if err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait()); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"A_PID", "A_CHILD", "A_CHILD2"} {
		if _, err := os.Stat("/proc/" + s.variables[name]); !os.IsNotExist(err) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
}

// With -ready, holder ends when the program that started it is gone: a runner
// that was killed leaves nothing.
func TestHolderCommandEndsWithItsParent(t *testing.T) {
	directory := t.TempDir()
	link := filepath.Join(directory, "holder")
	if err := os.Symlink(readLink(t, "/proc/self/exe"), link); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", fmt.Sprintf("%s -ready facts 'listen tcp4 127.0.0.1:0' & wait", link))
	shell.Dir = directory
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	s := &script{directory: directory}
	s.run("waitfor", "facts")
	shell.Process.Kill()
	shell.Wait()
	var pid int
	fmt.Sscan(s.variables["PID"], &pid)
	if !gone(pid) {
		t.Errorf("pid %d is still there", pid)
	}
}

func TestHolderCommandReportsErrors(t *testing.T) {
	cmd := holderCommand(t, "-ready", "facts", "close", "nosuch")
	if err := cmd.Run(); err == nil {
		t.Error("it ends with status 0")
	}
	s := &script{directory: cmd.Dir}
	s.run("waitfor", "facts")
	if want := `waitfor facts: close nosuch: there is no descriptor "nosuch"`; s.failure != want {
		t.Errorf("%q, want %q", s.failure, want)
	}
}

// A bare role has no supervisor, and leaves its children behind.
func TestHolderCommandBare(t *testing.T) {
	cmd := holderCommand(t, "-bare", "listen tcp4 127.0.0.1:0; open facts create=1 write=1; lock; fork { }; exec stdio=1 sleep 60")
	var output bytes.Buffer
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if output.Len() != 0 {
		t.Errorf("it says %q", output.String())
	}
	pipe := readLink(t, fmt.Sprintf("/proc/self/fd/%d", r.Fd()))
	file := filepath.Join(cmd.Dir, "facts")
	stdout := map[string]string{}
	for _, holder := range holders(t, file) {
		var pid int
		fmt.Sscan(holder, &pid)
		stdout[strings.TrimSpace(read(t, process(pid)+"/comm"))] = links(process(pid))[1]
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Error(err)
		}
		if !gone(pid) {
			t.Errorf("pid %d is still there", pid)
		}
	}
	if len(stdout) != 2 || stdout["holder"] != "/dev/null" || stdout["sleep"] != pipe {
		t.Errorf("left behind, with standard output: %v", stdout)
	}
}
