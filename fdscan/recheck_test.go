package fdscan

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A number that is another process's by now is not named.
func TestRecheckDropsAReusedPID(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	ticks := (&lookup{Scanner: &Scanner{}}).startTicks(os.Getpid())
	for name, tt := range map[string]struct {
		ticks uint64
		fd    int
		kept  int
	}{
		"the same":               {ticks, fd, 1},
		"another process":        {ticks - 1, fd, 0},
		"another descriptor":     {ticks, 0, 0},
		"a descriptor of nobody": {ticks, 1 << 20, 0},
	} {
		p := &Process{PID: os.Getpid(), StartTicks: tt.ticks}
		s := &Socket{Inode: st.Ino, Holders: []*Holder{{Process: p, FD: tt.fd, Via: ViaTable}}}
		l := &lookup{Scanner: &Scanner{}, snap: &Snapshot{Sockets: []*Socket{s}}}
		l.recheck()
		if len(s.Holders) != tt.kept {
			t.Errorf("%s: %d holders, want %d", name, len(s.Holders), tt.kept)
		}
	}
}

// A parent's number that has been given away leads nowhere, and not round in
// circles.
func TestParentsThatAreNone(t *testing.T) {
	snap := &Snapshot{Processes: map[int]*Process{
		1:  {PID: 1, StartTicks: 1},
		10: {PID: 10, PPID: 1, StartTicks: 5},
		11: {PID: 11, PPID: 12, StartTicks: 7}, // 12 is younger: the number was its parent's
		12: {PID: 12, PPID: 11, StartTicks: 9},
		13: {PID: 13, PPID: 14, StartTicks: 9},
		14: {PID: 14, PPID: 13, StartTicks: 9},
		15: {PID: 15, PPID: 15, StartTicks: 9},
		16: {PID: 16, PPID: 99, StartTicks: 9},
		// The numbers have come round between the parent and its child.
		300:   {PID: 300, PPID: 32758, StartTicks: 9},
		32758: {PID: 32758, PPID: 300, StartTicks: 9},
	}}
	for pid, want := range map[int]int{1: 0, 10: 1, 11: 0, 12: 11, 13: 0, 14: 13, 15: 0, 16: 0, 300: 32758, 32758: 0} {
		got := 0
		if p := snap.Parent(snap.Processes[pid]); p != nil {
			got = p.PID
		}
		if got != want {
			t.Errorf("parent of %d: %d, want %d", pid, got, want)
		}
	}
}
