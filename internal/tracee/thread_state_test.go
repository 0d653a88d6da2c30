package tracee

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// A thread that makes no system calls is served too, and nothing that it
// computes with changes.
func TestBusy(t *testing.T) {
	t.Parallel()
	r := startC(t, "spin-alone")
	for range 20 {
		_, report := r.do(Options{}, probe)
		if report.Carrier != r.pid() {
			t.Errorf("report %+v", report)
		}
	}
	unix.Kill(r.pid(), unix.SIGUSR1)
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("a register has changed")
	}
}

// Where only some threads wait in a system call, one of those is chosen.
func TestPrefersWaitingThread(t *testing.T) {
	t.Parallel()
	r := startC(t, "spin")
	_, report := r.do(Options{}, probe)
	if report.Carrier == r.pid() || report.Threads != 2 || !report.Exclusive {
		t.Errorf("report %+v, and the leader spins", report)
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("a register has changed")
	}
}

func TestManyThreads(t *testing.T) {
	t.Parallel()
	const threads = 1000
	r := startC(t, "threads", fmt.Sprint(threads))
	r.waitsIn(r.pid(), sysAccept)
	for _, test := range []struct {
		opt       Options
		exclusive bool
		threads   int
	}{
		{Options{}, false, 3},
		{Options{FDs: []int{r.value("fd")}}, false, 4},
		{Options{MaxThreads: threads}, true, threads},
	} {
		_, report := r.do(test.opt, probe)
		if report.Exclusive != test.exclusive || report.Threads != test.threads || (report.Weaker == "") != test.exclusive {
			t.Errorf("%+v: report %+v", test.opt, report)
		}
		t.Logf("%d of %d threads held for %v", report.Threads, threads, report.Held)
		if test.opt.FDs != nil && (!slices.Equal(report.Interrupted, []int{r.pid()}) || report.Carrier == r.pid()) {
			t.Errorf("%+v: report %+v, and thread %d waits on the descriptor", test.opt, report, r.pid())
		}
	}
	r.connect()
	if result := r.numbersOf("result"); result[0] < 0 {
		t.Errorf("accept: errno %v", unix.Errno(result[1]))
	}
}

// Threads in accept on a descriptor that is parked see the placeholder, whether
// or not there are others, and whether or not all are stopped.
func TestParkUnderAccept(t *testing.T) {
	for _, test := range []struct {
		threads string
		opt     Options
	}{{"1", Options{}}, {"8", Options{}}, {"8", Options{MaxThreads: 4}}} {
		t.Run(fmt.Sprintf("%s of at most %d", test.threads, test.opt.MaxThreads), func(t *testing.T) {
			t.Parallel()
			r := startC(t, "accepting-threads", test.threads)
			fd := r.value("fd")
			p, err := openProcess(r.pid())
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			accepting := 0
			eventually(t, "all threads accept", func() bool {
				accepting = 0
				threads, _ := p.threads()
				for _, tid := range threads {
					if line, err := (member{p, tid}).callLine(); err == nil && line.number == sysAccept {
						accepting++
					}
				}
				return fmt.Sprint(accepting) == test.threads
			})
			test.opt.FDs = []int{fd}
			_, report := r.do(test.opt, script{Steps: []step{{Do: "park", A: fd}}})
			if len(report.Interrupted) != accepting {
				t.Errorf("report %+v, and %d threads were in accept", report, accepting)
			}
			for range accepting {
				if errno := r.numbersOf("error"); unix.Errno(errno[0]) != unix.EINVAL {
					t.Errorf("accept failed with %v, want EINVAL", unix.Errno(errno[0]))
				}
			}
			r.event()
			r.expect("result")
		})
	}
	t.Run("by the thread itself", func(t *testing.T) {
		t.Parallel()
		r := startC(t, "accept")
		r.waitsIn(r.pid(), sysAccept)
		fd := r.value("fd")
		_, report := r.do(Options{FDs: []int{fd}}, script{Steps: []step{{Do: "park", A: fd}}})
		if !slices.Equal(report.Interrupted, []int{r.pid()}) {
			t.Errorf("report %+v", report)
		}
		if result := r.numbersOf("result"); unix.Errno(result[1]) != unix.EINVAL {
			t.Errorf("accept failed with %v, want EINVAL", unix.Errno(result[1]))
		}
	})
}

func TestThreadWithItsOwnTable(t *testing.T) {
	t.Parallel()
	r := startC(t, "own-table")
	fd := r.value("fd")
	p, err := openProcess(r.pid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	threads, err := p.threads()
	if err != nil || len(threads) != 2 {
		t.Fatalf("threads %v, error %v", threads, err)
	}
	// The process's own table does not have the descriptor.
	_, report, err := runScript.Do(t.Context(), r.target(), Options{}, script{Steps: []step{{Do: "fcntl", A: fd, B: unix.F_GETFD}}})
	if !errors.Is(err, unix.EBADF) || report.Threads != 1 || report.Carrier != r.pid() {
		t.Errorf("error %v, report %+v", err, report)
	}
	target := r.target()
	target.TID = threads[1]
	r.waitsIn(target.TID, sysAccept)
	_, report, err = runScript.Do(t.Context(), target, Options{FDs: []int{fd}}, script{Steps: []step{{Do: "park", A: fd}}})
	if err != nil || report.Threads != 1 || report.Carrier != target.TID {
		t.Errorf("error %v, report %+v", err, report)
	}
	if result := r.numbersOf("result"); unix.Errno(result[1]) != unix.EINVAL {
		t.Errorf("accept failed with %v, want EINVAL", unix.Errno(result[1]))
	}
}

func TestSharedTable(t *testing.T) {
	t.Parallel()
	r := startC(t, "shared-table")
	child := r.value("child")
	refusal := r.refused(r.target(), Options{}, SharedTable)
	if !slices.Equal(refusal.Others, []int{child}) {
		t.Errorf("refusal %+v, want process %d", refusal, child)
	}
	if !foreseen(r.target(), Options{}, SharedTable) || foreseen(r.target(), Options{Sharers: []int{child}}, SharedTable) {
		t.Errorf("Preflight does not see it")
	}
	_, report := r.do(Options{Sharers: []int{child}}, probe)
	if report.Threads != 2 || report.Carrier != r.pid() || !report.Exclusive {
		t.Errorf("report %+v", report)
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("read: errno %v", unix.Errno(result[1]))
	}
}

func TestLeaderHasExited(t *testing.T) {
	t.Parallel()
	r := startC(t, "leader-exits")
	eventually(t, "the leader is a zombie", func() bool { return r.state() == 'Z' })
	_, report := r.do(Options{}, probe)
	if report.Carrier == r.pid() || report.Threads != 2 {
		t.Errorf("report %+v", report)
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

func TestIOWorkers(t *testing.T) {
	testenv.NeedIOURing(t)
	t.Parallel()
	r := startC(t, "io_uring")
	for range 3 {
		_, report := r.do(Options{}, probe)
		if report.Carrier != r.pid() || !report.Exclusive {
			t.Errorf("report %+v", report)
		}
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}
