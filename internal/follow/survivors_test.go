package follow_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/follow"
	"stray/internal/testenv"
)

func TestSurvivors(t *testing.T) {
	python := testenv.NeedTool(t, "python3", "python3")
	daemon := script(t, "daemon.py", `
import fcntl, os, socket, sys, time
if os.fork():
    os._exit(0)
os.setsid()
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.001)
for fd in 0, 1, 2:
    os.close(fd)
os.open("/dev/null", os.O_RDWR); os.dup(0); os.dup(0)
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
lock = open(sys.argv[1], "w"); fcntl.flock(lock, fcntl.LOCK_EX)
open(sys.argv[2], "w").close()
time.sleep(600)
`)
	dir := t.TempDir()
	lock, ready := filepath.Join(dir, "lock"), filepath.Join(dir, "ready")
	run := start(t, follow.Options{}, "sh", "-c", `"$0" "$@"; while ! [ -e "$3" ]; do sleep 0.01; done`, python, daemon, lock, ready)
	if len(run.Survivors) != 1 {
		t.Fatalf("survivors: %v", told(run, nil))
	}
	s := run.Survivors[0]
	if len(s.Streams) != 0 || len(s.Ports) != 1 || len(s.Locked) != 1 || s.Locked[0].Link != lock {
		t.Errorf("told: %v", told(run, nil))
	}
	if len(run.Snapshot.Sockets) != 1 || len(run.Snapshot.Sockets[0].Holders) != 1 || run.Snapshot.Sockets[0].Holders[0].Process.PID != s.Process.PID {
		t.Errorf("sockets %+v", run.Snapshot.Sockets)
	}
}

// What a survivor starts in answer to SIGTERM ends with it, even what does not
// heed that signal itself.
func TestKillWhatIsStarted(t *testing.T) {
	for name, tt := range map[string]struct {
		answer   string
		patience time.Duration
	}{
		"a child":           {`sleep 600 & echo $! >"$0"; exit`, time.Minute},
		"a deaf grandchild": {`(trap "" TERM; sleep 600 & echo $! >"$0"); exit`, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			pidFile, ready := filepath.Join(dir, "pid"), filepath.Join(dir, "ready")
			if err := unix.Mkfifo(ready, 0o600); err != nil {
				t.Fatal(err)
			}
			run := start(t, follow.Options{}, "sh", "-c", `(trap "$2" TERM; : >"$1"; while :; do sleep 0.01; done) & read x <"$1"; exit 0`, pidFile, ready, tt.answer)
			if left := run.Kill(tt.patience); left != 0 {
				t.Errorf("%d are left", left)
			}
			text, err := os.ReadFile(pidFile)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Kill(pid, 0); err != unix.ESRCH {
				t.Errorf("pid %d runs still: %v", pid, err)
				unix.Kill(pid, unix.SIGKILL)
			}
		})
	}
}

// A process that ends within the time of grace is none that was left behind.
func TestGrace(t *testing.T) {
	run := start(t, follow.Options{Grace: time.Minute}, "sh", "-c", "sleep 0.1 & exit 7")
	if run.Status.ExitStatus() != 7 || len(run.Survivors) != 0 || run.Processes != 2 || run.Duration > time.Minute {
		t.Errorf("status %v, %d survivors, %d processes in %v", run.Status, len(run.Survivors), run.Processes, run.Duration)
	}
}

// What a process leaves unreaped is reaped when it has ended: others wait for that.
func TestOrphansReaped(t *testing.T) {
	python := testenv.NeedTool(t, "python3", "python3")
	path := script(t, "orphan.py", `
import os, sys, time
r, w = os.pipe()
middle = os.fork()
if middle == 0:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    os.write(w, str(child).encode())
    os._exit(0)
os.waitpid(middle, 0)
child = int(os.read(r, 20))
end = time.monotonic() + 10
while time.monotonic() < end:
    try:
        os.kill(child, 0)
    except ProcessLookupError:
        sys.exit(7)
    time.sleep(0.001)
`)
	for _, sample := range []bool{false, true} {
		if run := start(t, follow.Options{Sample: sample}, python, "-I", path); run.Status.ExitStatus() != 7 {
			t.Errorf("sampled %v: exit %d, the zombie stays", sample, run.Status.ExitStatus())
		}
	}
}

// Whatever the number of processes, only the living ones are remembered.
func TestManyProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, stacks := range []bool{false, true} {
		run := start(t, follow.Options{Stacks: stacks}, "sh", "-c", "i=0; while [ $i -lt 2000 ]; do (:); i=$((i+1)); done")
		if run.Processes != 2001 || len(run.Unclosed)+len(run.Crossings) != 0 {
			t.Errorf("stacks %v: %d processes, told: %v", stacks, run.Processes, told(run, nil))
		}
	}
}
