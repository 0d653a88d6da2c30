package tracee

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// created are the lines of a diary that tell of descriptors, without the process.
func (d *diary) created() (lines []string) {
	for _, line := range d.lines {
		if _, made, _ := strings.Cut(line, " "); strings.Contains(made, " makes ") {
			lines = append(lines, made)
		}
	}
	return lines
}

// Every call that makes descriptors is told of, with what it has made, and no call
// that makes none: to whom has CAP_SYS_ADMIN, and to whom has not.
func TestFollowCalls(t *testing.T) {
	creates := program(t, "creates")
	if err := followCreates(creates); err != nil {
		t.Error(err)
	}
	testenv.NeedRoot(t)
	command := playing("follow-creates", 0)
	command.Env = append(command.Env, "STRAY_TRACEE_CREATES="+creates)
	command.SysProcAttr = &syscall.SysProcAttr{Credential: nobody}
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("as nobody: %v: %s", err, out)
	}
}

// followCreates follows the program of testdata.
func followCreates(creates string) error {
	dir, err := os.MkdirTemp("", "creates")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "made")
	d := newDiary()
	end, err := Follow(Command{Path: creates, Argv: []string{"creates", file}, Env: os.Environ()}, FollowOptions{Calls: true}, d)
	if err != nil {
		return err
	}
	end.Release()
	text, err := os.ReadFile(file)
	if err != nil || end.Status.ExitStatus() != 0 {
		return fmt.Errorf("status %#x: %w", uint32(end.Status), err)
	}
	want := strings.Split(strings.TrimSpace(string(text)), "\n")
	// Before them come the dynamic loader's, and behind them that of the file.
	got := d.created()
	got = got[max(0, len(got)-1-len(want)) : len(got)-1]
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("(-want +got):\n%s", diff)
	}
	return nil
}

// What a command begins with is what its caller has, and not what the run of this
// program had that became it.
func TestFollowCallsSameStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "start")
	script := `{ cat /proc/self/limits; grep Sig[BIC] /proc/self/status; env; ls /proc/self/fd; } >"$0"`
	var starts []string
	for _, calls := range []bool{false, true} {
		c := shell(script)
		c.Argv = append(c.Argv, file)
		end, err := Follow(c, FollowOptions{Calls: calls}, newDiary())
		if err != nil {
			t.Fatal(err)
		}
		end.Release()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		starts = append(starts, string(text))
	}
	if diff := cmp.Diff(starts[0], starts[1]); diff != "" {
		t.Errorf("(-events +calls):\n%s", diff)
	}
}

// A script without an interpreter line is one for sh(1).
func TestFollowCallsScript(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("exit $#\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	end, err := Follow(Command{Path: script, Argv: []string{"script", "a", "b"}, Env: os.Environ()}, FollowOptions{Calls: true}, newDiary())
	if err != nil {
		t.Fatal(err)
	}
	end.Release()
	if end.Status.ExitStatus() != 2 {
		t.Errorf("status %#x", uint32(end.Status))
	}
}

// What is left can open files still, for as long as the caller lives.
func TestFollowCallsGoesOn(t *testing.T) {
	dir := t.TempDir()
	ask, answer := filepath.Join(dir, "ask"), filepath.Join(dir, "answer")
	for _, name := range []string{ask, answer} {
		if err := unix.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := shell(`(read x <"$0"; (cat /dev/null && echo "$x") >"$1") & exit 0`)
	c.Argv = append(c.Argv, ask, answer)
	end, err := Follow(c, FollowOptions{Calls: true, Grace: time.Millisecond}, newDiary())
	if err != nil {
		t.Fatal(err)
	}
	if len(end.Survivors) != 1 {
		t.Errorf("survivors %v", end.Survivors)
	}
	end.Release()
	if err := os.WriteFile(ask, []byte("words\n"), 0); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(answer); err != nil || string(text) != "words\n" {
		t.Errorf("answer %q, %v", text, err)
	}
}

// followTree is a role: it follows a command that has children and threads, says
// their pids, and is killed.
func followTree() error {
	_, err := Follow(shell(`(while :; do : </dev/null || echo "a call has failed"; done) & echo $! $$; wait`), FollowOptions{Calls: true}, newDiary())
	return fmt.Errorf("the command has ended: %w", err)
}

// With the tracer go the followed: their calls would fail.
func TestFollowCallsKilled(t *testing.T) {
	for range 5 {
		command := playing("follow-tree", 0)
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		lines.Scan()
		pids := strings.Fields(lines.Text())
		command.Process.Kill()
		command.Wait()
		for lines.Scan() {
			t.Errorf("it says %q", lines.Text())
		}
		if len(pids) != 2 {
			t.Fatalf("pids %q", pids)
		}
		for _, word := range pids {
			pid, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			if !ends(pid, 10*time.Second) {
				t.Errorf("pid %d runs on", pid)
				unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
}

// ends waits until a process has ended.
func ends(pid int, patience time.Duration) bool {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return true
	}
	if err != nil {
		return false
	}
	defer unix.Close(pidfd)
	for deadline := time.Now().Add(patience); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		if err != unix.EINTR {
			return n == 1
		}
	}
}

// A signal that comes while a thread waits in accept(2) is handled, and the call
// goes on.
func TestFollowCallsInterrupted(t *testing.T) {
	python := testenv.NeedTool(t, "python3", "python3")
	c := Command{Path: python, Env: os.Environ(), Argv: []string{"python3", "-I", "-c", `
import os, signal, socket, threading, time
seen = []
signal.signal(signal.SIGUSR1, lambda *a: seen.append(1))
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
main = threading.main_thread().ident
def poke():
    for n in range(20):
        signal.pthread_kill(main, signal.SIGUSR1)
        while len(seen) <= n:
            time.sleep(0.001)
    socket.create_connection(listener.getsockname()).close()
threading.Thread(target=poke).start()
listener.accept()
os._exit(len(seen))
`}}
	d := newDiary()
	end, err := Follow(c, FollowOptions{Calls: true}, d)
	if err != nil {
		t.Fatal(err)
	}
	end.Release()
	accepted := slices.ContainsFunc(d.created(), func(line string) bool { return strings.HasPrefix(line, "accept4 makes ") })
	if end.Status.ExitStatus() != 20 || !accepted {
		t.Errorf("status %#x, accepted %v", uint32(end.Status), accepted)
	}
}

// What a command does with clone(2) and with filters of its own ends as it does
// when nobody follows it.
func TestFollowCallsAsBefore(t *testing.T) {
	filtered := program(t, "filtered")
	for _, what := range []string{"untraced", "vanished", "filter", "both"} {
		t.Run(what, func(t *testing.T) {
			if err := exec.Command(filtered, what).Run(); err != nil {
				t.Fatalf("not followed: %v", err)
			}
			d := newDiary()
			end, err := Follow(Command{Path: filtered, Argv: []string{"filtered", what}, Env: os.Environ()}, FollowOptions{Calls: true, Grace: 10 * time.Second}, d)
			if err != nil {
				t.Fatal(err)
			}
			end.Release()
			if end.Status != 0 {
				t.Errorf("status %#x; told %q", uint32(end.Status), d.lines)
			}
		})
	}
}
