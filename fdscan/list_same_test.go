package fdscan

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A descriptor that is closed while they are compared takes nothing from the
// others.
func TestDescriptionsBesideOneThatIsClosed(t *testing.T) {
	const number = 400
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	if err := unix.Dup3(ends[0], number, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(number)
	const noProcess = 1 << 22 // the greatest pid there can be, and one more
	var flags uint32
	open := func(pid, fd int) *Descriptor {
		return &Descriptor{Process: &Process{PID: pid}, FD: fd, Kind: Pipe, Inode: 1, Flags: &flags}
	}
	same, copied, other := open(os.Getpid(), ends[0]), open(os.Getpid(), number), open(os.Getpid(), ends[1])
	closed, ended := open(os.Getpid(), number+1), open(noProcess, 3)
	l := &lister{lookup: &lookup{Scanner: &Scanner{}, snap: &Snapshot{Descriptors: []*Descriptor{ended, same, closed, copied, other}}}}
	l.sharedDescriptions()
	if same.Description == 0 || same.Description != copied.Description || other.Description == 0 || other.Description == same.Description {
		t.Errorf("descriptions %d, of a copy %d, of another %d", same.Description, copied.Description, other.Description)
	}
	if closed.Description != 0 || ended.Description != 0 || len(l.snap.Gaps) != 0 {
		t.Errorf("what is closed is one of %d and %d; gaps %+v", closed.Description, ended.Description, l.snap.Gaps)
	}
}
