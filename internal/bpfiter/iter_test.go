package bpfiter_test

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/bpfiter"
	"stray/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// own are the records of this process's descriptors, by number.
func own(t *testing.T, room int) map[int]bpfiter.Record {
	t.Helper()
	found := map[int]bpfiter.Record{}
	pid, open := 0, 0
	err := bpfiter.Look(bpfiter.Query{Everything: true, Room: room}, func(r *bpfiter.Record) {
		switch {
		case r.Class == bpfiter.Table:
			pid = r.PID()
			if pid == os.Getpid() {
				open = int(r.FD)
			}
		case r.Class != bpfiter.Void && pid == os.Getpid():
			found[int(r.FD)] = *r
		}
	})
	testenv.NeedWorking(t, "BPF iterators", err)
	if open != len(found) {
		t.Errorf("the table has %d descriptors, and %d records follow", open, len(found))
	}
	return found
}

func TestLookTellsWhatDescriptorsAre(t *testing.T) {
	testenv.NeedRoot(t)
	file := func(f *os.File, err error) int {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return int(f.Fd())
	}
	directory := t.TempDir()
	gone := file(os.Create(directory + "/gone"))
	if err := os.Remove(directory + "/gone"); err != nil {
		t.Fatal(err)
	}
	eventfd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(eventfd)
	memory, err := unix.MemfdCreate("a name", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(memory)
	var pair, pipe [2]int
	if pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{pair[0], pair[1], pipe[0], pipe[1]} {
		defer unix.Close(fd)
	}
	if _, err := unix.FcntlInt(uintptr(pair[1]), unix.F_SETFL, unix.O_ASYNC); err != nil {
		t.Fatal(err)
	}
	const far = 700 // in a word of its own, behind words that are empty
	if err := unix.Dup3(pipe[0], far, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(far)
	inode := func(fd int) uint64 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}

	opened, null := file(os.Open(directory)), file(os.OpenFile("/dev/null", os.O_RDWR, 0))
	records := own(t, 0)
	for _, tt := range []struct {
		fd    int
		class bpfiter.Class
		inode uint64
		name  string
		flags uint8
	}{
		{opened, bpfiter.Path, 0, "", bpfiter.CloseOnExec},
		{gone, bpfiter.Deleted, 0, "", bpfiter.CloseOnExec},
		{eventfd, bpfiter.Anonymous, 0, "[eventfd", bpfiter.CloseOnExec},
		{memory, bpfiter.Other, 0, "", 0},
		{pair[0], bpfiter.Socket, inode(pair[0]), "", 0},
		{pair[1], bpfiter.Socket, inode(pair[1]), "", bpfiter.SignalDriven},
		{pipe[0], bpfiter.Pipe, inode(pipe[0]), "", bpfiter.CloseOnExec},
		{pipe[1], bpfiter.Pipe, inode(pipe[1]), "", bpfiter.CloseOnExec},
		{far, bpfiter.Pipe, inode(pipe[0]), "", 0},
		{null, bpfiter.Device, 0, "null", bpfiter.CloseOnExec},
	} {
		r := records[tt.fd]
		if r.Class != tt.class || r.Flags != tt.flags || tt.inode != 0 && r.ID != tt.inode || r.Begins() != tt.name {
			t.Errorf("fd %d: %+v, named %q; want %+v", tt.fd, r, r.Begins(), tt)
		}
	}
	for fd, r := range records {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && (flags&unix.FD_CLOEXEC != 0) != (r.Flags&bpfiter.CloseOnExec != 0) {
			t.Errorf("fd %d has flags %#x: %+v", fd, flags, r)
		}
	}
}

// More records than there is room for, and than a sequential file takes of one
// process (32 KiB): all are told of all the same.
func TestLookFindsRoom(t *testing.T) {
	testenv.NeedRoot(t)
	const pairs = 1500
	want := map[uint64]int{}
	var inodes []uint64
	for range pairs {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range pair {
			defer unix.Close(fd)
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				t.Fatal(err)
			}
			want[st.Ino] = fd
			inodes = append(inodes, st.Ino)
		}
	}
	missing := func(found map[uint64]int) (n int) {
		for inode, fd := range want {
			if found[inode] != fd {
				n++
			}
		}
		return n
	}
	found := map[uint64]int{}
	for fd, r := range own(t, 1) {
		found[r.ID] = fd
	}
	if n := missing(found); n > 0 {
		t.Errorf("of all descriptors, %d are missing", n)
	}
	clear(found)
	err := bpfiter.Look(bpfiter.Query{Inodes: inodes}, func(r *bpfiter.Record) {
		if r.PID() == os.Getpid() && r.TID() == 0 && r.Class == bpfiter.Socket {
			found[r.ID] = int(r.FD)
		}
	})
	if n := missing(found); err != nil || n > 0 {
		t.Errorf("of the sockets that are wanted, %d are missing (%v)", n, err)
	}
}

// The kernel gives up the check of a program when a signal comes, and the runtime has
// many to send.
func TestLookAmongSignals(t *testing.T) {
	testenv.NeedRoot(t)
	look := func() error { return bpfiter.Look(bpfiter.Query{Everything: true}, func(*bpfiter.Record) {}) }
	testenv.NeedWorking(t, "BPF iterators", look())
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid, stop, stopped := unix.Gettid(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
			}
		}
	}()
	for range 20 {
		if err := look(); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	<-stopped
}

func TestLookWithoutCapabilities(t *testing.T) {
	testenv.WithoutBPF(t, func() {
		err := bpfiter.Look(bpfiter.Query{Everything: true}, func(r *bpfiter.Record) { t.Errorf("told of %+v", r) })
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("error %v", err)
		}
	})
}
