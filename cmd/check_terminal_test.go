package cmd_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// session is a program with a terminal of its own, and the person before it.
type session struct {
	t      *testing.T
	person *os.File
	cmd    *exec.Cmd
	said   []byte // what has come and was not waited for
}

// openTerminal starts a program as the leader of a session with a new terminal.
func openTerminal(t *testing.T, argv ...string) *session {
	t.Helper()
	person, program := testenv.Terminal(t)
	defer program.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, person: person, cmd: cmd}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return s
}

// patience is how long something on a terminal is waited for.
const patience = 30 * time.Second

// await waits until words come, and returns what came before them.
func (s *session) await(words string) string {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if before, after, found := bytes.Cut(s.said, []byte(words)); found {
			s.said = bytes.Clone(after)
			return string(before)
		}
		watched := []unix.PollFd{{Fd: int32(s.person.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(watched, max(0, int(time.Until(deadline).Milliseconds())))
		if err == unix.EINTR {
			continue
		}
		buffer := make([]byte, 4096)
		if n > 0 {
			n, err = s.person.Read(buffer)
		}
		if n <= 0 || err != nil {
			s.t.Fatalf("%q does not come: %v; there is %q", words, err, s.said)
		}
		s.said = append(s.said, buffer[:n]...)
	}
}

func (s *session) typed(keys string) {
	s.t.Helper()
	if _, err := s.person.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// ends waits for the end of the program and returns its exit code.
func (s *session) ends() int {
	s.t.Helper()
	defer time.AfterFunc(patience, func() { s.cmd.Process.Kill() }).Stop()
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode()
}

// strayProgram is a program that is stray, under that name.
func strayProgram(t *testing.T) string {
	t.Helper()
	testenv.NeedUntraced(t)
	path, err := exec.LookPath("stray")
	if err != nil {
		t.Fatal(err) // testscript.Main puts it there
	}
	return path
}

// interrupts counts the SIGINTs that it gets, until SIGTERM.
const interrupts = `
n=0
trap 'n=$((n+1)); echo "interrupt $n"' INT
trap 'echo "in all $n"; exit 7' TERM
echo ready
while :; do sleep 0.01; done`

// Ctrl-C reaches the command by its terminal, and not once more by stray; what
// somebody sends to stray by kill is passed on.
func TestCheckInterrupted(t *testing.T) { eachWay(t, testInterrupted) }

// eachWay tests check in each way of following, with the flag for it.
func eachWay(t *testing.T, test func(t *testing.T, flag string)) {
	for _, flag := range []string{"--grace=1s", "--stacks"} {
		t.Run(flag, func(t *testing.T) { test(t, flag) })
	}
}

func testInterrupted(t *testing.T, flag string) {
	testenv.NeedTool(t, "dash", "dash")
	s := openTerminal(t, strayProgram(t), "check", flag, "--", "dash", "-c", interrupts)
	s.await("ready")
	s.typed("\x03")
	s.await("interrupt 1")
	s.cmd.Process.Signal(unix.SIGINT)
	s.await("interrupt 2")
	s.cmd.Process.Signal(unix.SIGTERM)
	s.await("in all 2")
	if code := s.ends(); code != 7 {
		t.Errorf("exit %d, want 7", code)
	}

	// A command that Ctrl-C ends takes stray with it, which says how.
	s = openTerminal(t, strayProgram(t), "check", flag, "-v", "--", "sh", "-c", "echo ready; exec sleep 600")
	s.await("ready")
	s.typed("\x03")
	s.await("ended by signal 2")
	if code := s.ends(); code != 130 {
		t.Errorf("exit %d, want 130", code)
	}
}

// A shell's job control has stray and its command as one job.
func TestCheckJobControl(t *testing.T) { eachWay(t, testJobControl) }

func testJobControl(t *testing.T, flag string) {
	bash := testenv.NeedTool(t, "bash", "bash")
	s := openTerminal(t, bash, "--norc", "--noprofile", "-i")
	s.typed("PS1=prom; PS1=${PS1}pt: ; bind 'set enable-bracketed-paste off'\n")
	s.await("prompt:")
	s.typed("'" + strayProgram(t) + "' check -v " + flag + " -- sh -c 'echo be''gun; read x; echo read $x; exit 5'\n")
	s.await("begun")
	s.typed("\x1a")
	s.await("Stopped")
	s.typed("fg\n")
	s.await("check -v")
	s.typed("words\n")
	s.await("read words")
	s.await("exit 5")
	s.await("prompt:")
	s.typed("echo code=$?\n")
	s.await("code=5")

	// A shell inside, with jobs of its own.
	s.typed("'" + strayProgram(t) + "' check " + flag + " -- bash --norc --noprofile -i\n")
	s.typed("PS1=inn; PS1=${PS1}er: ; bind 'set enable-bracketed-paste off'\n")
	s.await("inner:")
	s.typed("sh -c 'echo jo''b; read x; echo heard $x'\n")
	s.await("job")
	s.typed("\x1a")
	s.await("Stopped")
	s.await("inner:")
	s.typed("fg\n")
	s.await("echo heard")
	s.typed("sounds\n")
	s.await("heard sounds")
	s.await("inner:")
	s.typed("exit 3\n")
	s.await("prompt:")
	s.typed("echo code=$?; exit\n")
	s.await("code=3")
	s.ends()
}

// The command's streams are those of stray.
func TestCheckKeepsStreams(t *testing.T) { eachWay(t, testKeepsStreams) }

func testKeepsStreams(t *testing.T, flag string) {
	in := strings.Repeat("some words\n", 10000)
	cmd := exec.Command(strayProgram(t), "check", flag, "--", "sh", "-c", "cat; echo loud >&2")
	cmd.Stdin = strings.NewReader(in)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stdout.String() != in || stderr.String() != "loud\n" {
		t.Errorf("%v: %d bytes of %d, and %q", err, stdout.Len(), len(in), stderr.String())
	}
	// What the caller passes besides arrives, under its number.
	marked := filepath.Join(t.TempDir(), "marked")
	cmd = exec.Command("sh", "-c", `"$0" check "$2" -- sh -c 'echo words >&7' 7>"$1"`, strayProgram(t), marked, flag)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	if text, _ := os.ReadFile(marked); string(text) != "words\n" {
		t.Errorf("it wrote %q", text)
	}
}
