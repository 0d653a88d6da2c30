package fdscan_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/testenv"
)

// What is told of a number is told of one file, even where another takes its
// place all the time.
func TestNumbersThatAreReused(t *testing.T) {
	const number = 400
	replace := func(fd int, err error) error {
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Dup3(fd, number, unix.O_CLOEXEC)
	}
	stop, done := make(chan bool), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- unix.Close(number)
				return
			default:
			}
			var ends [2]int
			err := unix.Pipe2(ends[:], unix.O_CLOEXEC)
			if err == nil {
				unix.Close(ends[1])
			}
			if err = replace(ends[0], err); err == nil {
				err = replace(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	defer func() {
		close(stop)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for range 100 {
		snap := list(t, os.Getpid())
		for _, d := range snap.Descriptors {
			if d.FD != number {
				continue
			}
			if d.Flags == nil {
				if !slices.ContainsFunc(snap.Gaps, func(g fdscan.Gap) bool { return g.Op == "read fdinfo" && g.PID == os.Getpid() }) {
					t.Fatalf("nothing says why this is all: %+v; gaps %+v", d, snap.Gaps)
				}
				continue
			}
			mode := *d.Flags & unix.O_ACCMODE
			if d.Kind == fdscan.Pipe && mode != unix.O_RDONLY || d.Kind != fdscan.Pipe && mode != unix.O_RDWR || !strings.Contains(d.Link, fmt.Sprintf(":[%d]", d.Inode)) {
				t.Fatalf("of several files: %+v, flags %v", d, d.FlagNames())
			}
		}
	}
}

// mountFUSE mounts a file system that the descriptor serves. The caller unmounts
// it and closes the descriptor, in the order that it is about.
func mountFUSE(t *testing.T) (server int, directory string) {
	t.Helper()
	testenv.NeedRoot(t)
	server, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	testenv.NeedWorking(t, "/dev/fuse", err)
	directory = t.TempDir()
	err = unix.Mount("stray", directory, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server))
	if err != nil {
		unix.Close(server)
		testenv.NeedWorking(t, "FUSE", err)
	}
	return server, directory
}

// A file server that never answers keeps nobody waiting.
func TestListDoesNotWaitForAFileServer(t *testing.T) {
	server, directory := mountFUSE(t)
	fd, err := unix.Open(directory, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err := unix.Unmount(directory, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(server)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	d := listed(t, list(t, os.Getpid()), os.Getpid(), fd)
	if d.Inode == 0 || d.CloseOnExec == nil || !*d.CloseOnExec {
		t.Errorf("directory %+v", d)
	}
}

// A file of a dead server that looks like a message queue is asked once, and not
// waited for.
func TestListDoesNotWaitForWhatLooksLikeAMessageQueue(t *testing.T) {
	server, directory := mountFUSE(t)
	served := make(chan error, 1)
	go func() { served <- serveFile(server) }()
	var err error
	var files [2]int
	for i := range files {
		if files[i], err = unix.Open(filepath.Join(directory, "file"), unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			break
		}
		defer unix.Close(files[i])
	}
	// The server has stopped: whoever asks now waits until it is closed.
	defer unix.Close(server)
	if gone := unix.Unmount(directory, unix.MNT_DETACH); gone != nil {
		t.Fatal(gone)
	}
	for _, err := range []error{err, <-served} {
		if err != nil {
			t.Fatal(err)
		}
	}
	asked := make(chan *fdscan.Snapshot, 1)
	go func() { asked <- list(t, os.Getpid()) }()
	select {
	case snap := <-asked:
		for _, fd := range files {
			if d := listed(t, snap, os.Getpid(), fd); d.Kind != fdscan.Regular || d.Size == nil || *d.Size != 80 || d.Link != "/file" {
				t.Errorf("descriptor %+v, kind %s", d, d.Kind.Name)
			}
		}
		if !slices.ContainsFunc(snap.Gaps, func(g fdscan.Gap) bool { return g.Op == "ask file systems" && g.Scope == fdscan.ScopeDetail }) {
			t.Errorf("gaps %+v", snap.Gaps)
		}
	case <-time.After(20 * time.Second):
		t.Error("a server is waited for")
	}
}

// serveFile is a FUSE server until it has told of one file of 80 bytes.
func serveFile(server int) error {
	const opLookup, opInit, headerIn, headerOut = 1, 26, 40, 16
	request := make([]byte, 1<<17)
	for {
		n, err := unix.Read(server, request)
		if err != nil || n < headerIn {
			return fmt.Errorf("read %d bytes of a request: %w", n, err)
		}
		answer, op := make([]byte, headerOut), binary.NativeEndian.Uint32(request[4:])
		copy(answer[8:], request[8:16]) // which request it answers
		switch op {
		case opInit:
			answer = binary.NativeEndian.AppendUint32(answer, 7)
			answer = binary.NativeEndian.AppendUint32(answer, 31)
			answer = append(answer, make([]byte, 56)...)
		case opLookup:
			const forEver = 1 << 30
			for _, n := range []uint64{2, 0, forEver, forEver, 0, 2, 80, 0, 0, 0, 0} { // node … ino, size, blocks
				answer = binary.NativeEndian.AppendUint64(answer, n)
			}
			for _, n := range []uint32{0, 0, 0, unix.S_IFREG | 0o600, 1, 0, 0, 0, 4096, 0} { // times, mode, links …
				answer = binary.NativeEndian.AppendUint32(answer, n)
			}
		default:
			binary.NativeEndian.PutUint32(answer[4:], ^uint32(unix.ENOSYS)+1) // -ENOSYS
		}
		binary.NativeEndian.PutUint32(answer, uint32(len(answer)))
		if _, err := unix.Write(server, answer); err != nil || op == opLookup {
			return err
		}
	}
}
