package testenv

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// leakVariable in the environment makes this test binary leak something, in
// place of its tests.
const leakVariable = "TESTENV_LEAK"

type tests func() int

func (t tests) Run() int { return t() }

// kept keeps what leaks from being garbage.
var kept []any

var leakers = map[string]tests{
	"nothing": func() int {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 9
		}
		listener.Close()
		return 0
	},
	"failure": func() int { return 7 },
	"slowly": func() int {
		r, w, _ := os.Pipe()
		time.AfterFunc(100*time.Millisecond, func() { r.Close(); w.Close() })
		return 0
	},
	"listener": func() int {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		kept = append(kept, listener, err)
		return 0
	},
	"pipe": func() int {
		r, w, _ := os.Pipe()
		kept = append(kept, r)
		w.Close()
		return 7
	},
	"child": func() int {
		cmd := exec.Command("sleep", "10")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		kept = append(kept, cmd, cmd.Start())
		return 0
	},
	"zombie": func() int {
		cmd := exec.Command("true")
		kept = append(kept, cmd, cmd.Start())
		return 0
	},
}

func TestMain(m *testing.M) {
	if leaker, ok := leakers[os.Getenv(leakVariable)]; ok {
		Main(leaker)
	}
	Main(m)
}

func TestCheckedFailsOnLeaks(t *testing.T) {
	for _, tt := range []struct {
		leak, want string
		code       int
	}{
		{"nothing", `^$`, 0},
		{"failure", `^$`, 7},
		{"slowly", `^$`, 0},
		{"listener", `^fdtest: the tests have leaked 1 descriptor:\n\tfd \d+: (?:mp)?tcp listener 127\.0\.0\.1:\d+ \(O_RDWR\|O_NONBLOCK, FD_CLOEXEC\)\n$`, 1},
		{"pipe", `^fdtest: the tests have leaked 1 descriptor:\n\tfd \d+: pipe read end pipe:\[\d+\] \(O_RDONLY\|O_NONBLOCK, FD_CLOEXEC\)\n$`, 7},
		// As long as the child is not reaped, the pidfd of os.Process is open too.
		{"child", `testenv: the tests leave child process \d+ \(sleep\), state S\n$`, 1},
		{"zombie", `testenv: the tests leave child process \d+ \(true\), state Z\n$`, 1},
	} {
		t.Run(tt.leak, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), leakVariable+"="+tt.leak)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			cmd.Run()
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit status %d, want %d", code, tt.code)
			}
			if !regexp.MustCompile(tt.want).Match(stderr.Bytes()) {
				t.Errorf("says %q, want match for %s", stderr.String(), tt.want)
			}
		})
	}
}
