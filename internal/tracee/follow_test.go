package tracee

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/osthread"
)

// diary is a Watcher that writes down what it is told, with the processes
// numbered as they come.
type diary struct {
	numbers map[int]int
	lines   []string
}

func (d *diary) note(pid int, format string, args ...any) {
	if d.numbers[pid] == 0 {
		d.numbers[pid] = len(d.numbers) + 1
	}
	d.lines = append(d.lines, fmt.Sprintf("%d ", d.numbers[pid])+fmt.Sprintf(format, args...))
}

func (d *diary) Started(pid int) { d.note(pid, "started") }

func (d *diary) Forked(parent, child int, shared bool) {
	d.note(child, "forked by %d, shared %v", d.numbers[parent], shared)
}

func (d *diary) Execed(pid int) {
	comm, _ := os.ReadFile(fmt.Sprintf("%s/%d/comm", procRoot, pid))
	d.note(pid, "execed %s", comm[:len(comm)-1])
}

// Exiting notes whether the table is still there: not how full it is, for
// sleep(1) closes its standard output and error before it exits.
func (d *diary) Exiting(pid, tid int, status unix.WaitStatus) {
	entries, _ := os.ReadDir(fmt.Sprintf("%s/%d/task/%d/fd", procRoot, pid, tid))
	d.note(pid, "exits with %d, descriptors open: %v", status.ExitStatus(), len(entries) > 0)
}

func (d *diary) Created(pid, tid int, made Creation) {
	d.note(pid, "%s makes %d of %d", made.Call, made.FDs, made.Of)
}

func (d *diary) Ended(pid int) { d.note(pid, "ended") }

func newDiary() *diary { return &diary{numbers: map[int]int{}} }

func shell(script string) Command {
	return Command{Path: "/bin/sh", Argv: []string{"sh", "-c", script}, Env: os.Environ()}
}

// eachWay runs a test with every call that makes descriptors stopped, and without.
func eachWay(t *testing.T, test func(t *testing.T, o FollowOptions)) {
	for _, calls := range []bool{false, true} {
		t.Run(map[bool]string{false: "events", true: "calls"}[calls], func(t *testing.T) { test(t, FollowOptions{Calls: calls}) })
	}
}

func TestFollow(t *testing.T) { eachWay(t, testFollow) }

func testFollow(t *testing.T, o FollowOptions) {
	d := newDiary()
	end, err := Follow(shell("/bin/sleep 0; exit 3"), o, d)
	if err != nil {
		t.Fatal(err)
	}
	end.Release()
	want := []string{
		"1 started",
		"2 forked by 1, shared false",
		"2 execed sleep",
		"2 exits with 0, descriptors open: true",
		"2 ended",
		"1 exits with 3, descriptors open: true",
		"1 ended",
	}
	told := slices.DeleteFunc(slices.Clone(d.lines), func(line string) bool { return strings.Contains(line, " makes ") })
	if made := len(d.lines) > len(told); !slices.Equal(told, want) || made != o.Calls || end.Status.ExitStatus() != 3 || len(end.Survivors) != 0 {
		t.Errorf("told %q, status %v, survivors %v", d.lines, end.Status, end.Survivors)
	}
}

// What is left runs on when it is let go, and can be followed by others then.
func TestFollowLetsGo(t *testing.T) {
	for range 5 {
		end, err := Follow(shell("sleep 600 & exit 0"), FollowOptions{Grace: 10 * time.Millisecond}, newDiary())
		if err != nil {
			t.Fatal(err)
		}
		end.Release()
		if len(end.Survivors) != 1 {
			t.Fatalf("survivors %v", end.Survivors)
		}
		pid := end.Survivors[0]
		p, err := openProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); ; {
			status, err := p.status("status")
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("pid %d is traced by %d (%v)", pid, status.tracer, err)
			}
			if status.tracer == 0 {
				break
			}
		}
		p.close()
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Errorf("kill pid %d: %v", pid, err)
		}
	}
}

// A program that cannot be executed is told from one that cannot be followed.
func TestFollowNothing(t *testing.T) { eachWay(t, testFollowNothing) }

func testFollowNothing(t *testing.T, o FollowOptions) {
	for path, want := range map[string]unix.Errno{"/no/such/program": unix.ENOENT, "/": unix.EACCES, "/dev/null/x": unix.ENOTDIR} {
		_, err := Follow(Command{Path: path, Argv: []string{"x"}}, o, newDiary())
		var exec *ExecError
		if !errors.As(err, &exec) || !errors.Is(err, want) || errors.Is(err, ErrRefused) {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

// Whatever ends the command before it has run, its status is told.
func TestFollowEndedEarly(t *testing.T) { eachWay(t, testFollowEndedEarly) }

func testFollowEndedEarly(t *testing.T, o FollowOptions) {
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		o.Launched = func(pid int) { unix.Kill(pid, signal) }
		end, err := Follow(shell("exec sleep 600"), o, newDiary())
		if err != nil {
			t.Fatal(err)
		}
		end.Release()
		if !end.Status.Signaled() || end.Status.Signal() != signal {
			t.Errorf("status %#x, want signal %d", uint32(end.Status), signal)
		}
	}
}

// A command that begins with SIGCONT blocked, as its caller had it, runs like any
// other: the SIGCONT that lets it run stays pending.
func TestFollowContinueBlocked(t *testing.T) { eachWay(t, testFollowContinueBlocked) }

func testFollowContinueBlocked(t *testing.T, o FollowOptions) {
	var end *Followed
	err := osthread.Discard(func() (err error) {
		blocked := unix.Sigset_t{}
		blocked.Val[0] = 1 << (unix.SIGCONT - 1)
		if err := unix.PthreadSigmask(unix.SIG_BLOCK, &blocked, nil); err != nil {
			return err
		}
		end, err = newFollower(o, newDiary()).follow(shell("/bin/sleep 0; exit 3"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if end.Status.ExitStatus() != 3 || len(end.Survivors) != 0 {
		t.Errorf("status %#x, survivors %v", uint32(end.Status), end.Survivors)
	}
}

// Who is in a hurry is heard, however busy the tree is.
func TestFollowHurried(t *testing.T) { eachWay(t, testFollowHurried) }

func testFollowHurried(t *testing.T, o FollowOptions) {
	began := time.Now()
	const grace = time.Minute
	o.Grace, o.Hurry = grace, func() bool { return true }
	end, err := Follow(shell("(while :; do (:); done) & exit 0"), o, newDiary())
	if err != nil {
		t.Fatal(err)
	}
	end.Release()
	for _, pid := range end.Survivors {
		unix.Kill(pid, unix.SIGKILL)
	}
	if took := time.Since(began); len(end.Survivors) == 0 || took >= grace {
		t.Errorf("survivors %v, after %v", end.Survivors, took)
	}
}
