package cmd_test

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// background is a program in a process group of its own, which no terminal has
// in its foreground.
type background struct {
	t    *testing.T
	cmd  *exec.Cmd
	said *bufio.Scanner
}

func inBackground(t *testing.T, argv ...string) *background {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(patience, func() { unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	t.Cleanup(func() {
		timeout.Stop()
		if cmd.ProcessState == nil {
			unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
			cmd.Wait()
		}
	})
	return &background{t, cmd, bufio.NewScanner(out)}
}

// says checks the next line of the output.
func (b *background) says(want string) {
	b.t.Helper()
	if !b.said.Scan() || b.said.Text() != want {
		b.t.Fatalf("it says %q (%v), want %q", b.said.Text(), b.said.Err(), want)
	}
}

// ends waits for the end and checks the exit code.
func (b *background) ends(want int) {
	b.t.Helper()
	b.cmd.Wait()
	if code := b.cmd.ProcessState.ExitCode(); code != want {
		b.t.Errorf("%v, want exit code %d", b.cmd.ProcessState, want)
	}
}

// A command that stops itself is continued by whoever knows it; nobody would
// continue stray.
func TestCheckStopsItself(t *testing.T) { eachWay(t, testStopsItself) }

func testStopsItself(t *testing.T, flag string) {
	dash := testenv.NeedTool(t, "dash", "dash")
	inBackground(t, strayProgram(t), "check", flag, "--", dash, "-c",
		`while kill -CONT $$ 2>/dev/null; do sleep 0.01; done >/dev/null & kill -TSTP $$; exit 4`).ends(4)
}

// Who has stopped the command by a SIGTSTP to stray continues it by a SIGCONT.
func TestCheckContinued(t *testing.T) { eachWay(t, testContinued) }

func testContinued(t *testing.T, flag string) {
	dash := testenv.NeedTool(t, "dash", "dash")
	b := inBackground(t, strayProgram(t), "check", flag, "--", dash, "-c",
		`trap 'echo stopped' TSTP; trap 'echo continued; exit 6' CONT; echo ready; while :; do sleep 0.01; done`)
	b.says("ready")
	b.cmd.Process.Signal(unix.SIGTSTP)
	b.says("stopped")
	b.cmd.Process.Signal(unix.SIGCONT)
	b.says("continued")
	b.ends(6)
}

// A signal that the caller ignores is ignored by the command, so far as Go leaves
// that as it was.
func TestCheckIgnored(t *testing.T) { eachWay(t, testIgnored) }

func testIgnored(t *testing.T, flag string) {
	dash := testenv.NeedTool(t, "dash", "dash")
	for _, signal := range []string{"INT", "HUP", "TSTP"} {
		b := inBackground(t, dash, "-c", `trap "" `+signal+`; exec "$0" check "$2" -- "$1" -c 'kill -`+signal+` $$; echo unharmed'`, strayProgram(t), dash, flag)
		b.says("unharmed")
		b.ends(0)
	}
}

// Nobody reads the report any more: what is left behind is ended all the same, and
// the exit code is the one that is promised.
func TestCheckUnread(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	defer write.Close()
	for failOn, want := range map[string]int{"error": 0, "warning": 1} {
		cmd := exec.Command(strayProgram(t), "check", "--grace", "10ms", "--kill-left-behind", "--fail-on", failOn,
			"--", "sh", "-c", "sleep 600 <&- >&- 2>&- & echo $!")
		cmd.Stderr = write
		out, _ := cmd.Output()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("--fail-on %s: %v, want exit code %d", failOn, cmd.ProcessState, want)
		}
		left, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(left, 0); err != unix.ESRCH {
			t.Errorf("--fail-on %s: what is left behind lives on: kill: %v", failOn, err)
			unix.Kill(left, unix.SIGKILL)
		}
	}
}
