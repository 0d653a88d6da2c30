package tracee

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// A call that neither ends nor can be interrupted: close(2) on a file system
// whose server does not answer. The caller is told, the other threads run on,
// and the helper stays until the thread can have its registers back.
func TestStuck(t *testing.T) {
	testenv.NeedRoot(t)
	t.Parallel()
	server := mountFuse(t)
	ticks, err := os.CreateTemp(t.TempDir(), "ticks")
	if err != nil {
		t.Fatal(err)
	}
	defer ticks.Close()
	command := exec.Command(program(t, "target", "-lrt"), "open", filepath.Join(server.directory, "file"))
	command.Stderr = ticks
	r := server.start(t, command)
	r.waitsIn(r.pid(), unix.SYS_READ)

	_, _, err = runScript.Do(t.Context(), r.target(), Options{CallTimeout: 50 * time.Millisecond},
		script{Steps: []step{{Do: "close", A: r.value("fd")}, {Do: "probe"}}})
	var stuck *StuckError
	if !errors.As(err, &stuck) || stuck.TID != r.pid() {
		t.Fatalf("error %v, want a *StuckError for %d", err, r.pid())
	}
	size := func() int64 {
		info, err := ticks.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before := size()
	eventually(t, "the other thread runs on", func() bool { return size() > before })
	r.refused(r.target(), Options{}, Traced)

	helper := stuck.Helper
	if unix.Kill(helper, 0) != nil {
		t.Fatalf("helper %d has not stayed", helper)
	}
	close(server.answer)
	eventually(t, "the helper has ended", func() bool { return unix.Kill(helper, 0) != nil })
	r.do(Options{}, probe)
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}

// fuseServer serves a file system with one empty file, which does not answer to
// its being closed until the channel answer is closed.
type fuseServer struct {
	directory string
	start     func(testing.TB, *exec.Cmd) *runningTarget
	answer    chan struct{}
}

// mountFuse mounts the file system in a mount namespace of its own, in which
// its method start starts programs.
func mountFuse(t *testing.T) *fuseServer {
	t.Helper()
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	testenv.NeedWorking(t, "FUSE", err)
	s := &fuseServer{directory: t.TempDir(), answer: make(chan struct{})}
	type order struct {
		t       testing.TB
		command *exec.Cmd
		started chan *runningTarget
	}
	orders, mounted := make(chan order), make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", device)
		err := errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("stray", s.directory, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options))
		mounted <- err
		for o := range orders {
			o.started <- startCommand(o.t, o.command)
		}
		unix.Unmount(s.directory, unix.MNT_DETACH) // the server's read fails then
	}()
	if err := <-mounted; err != nil {
		close(orders)
		unix.Close(device)
		testenv.NeedWorking(t, "to mount FUSE", err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.serve(device)
	}()
	s.start = func(t testing.TB, command *exec.Cmd) *runningTarget {
		started := make(chan *runningTarget)
		orders <- order{t, command, started}
		return <-started
	}
	t.Cleanup(func() {
		close(orders)
		<-served
		unix.Close(device)
	})
	return s
}

func (s *fuseServer) serve(device int) {
	const (
		lookup, forget, getattr, open, release, flush, initialize, interruption = 1, 2, 3, 14, 18, 25, 26, 36
		header                                                                  = 40
	)
	buffer := make([]byte, 1<<17)
	for {
		n, err := unix.Read(device, buffer)
		if err == unix.EINTR || err == unix.ENOENT {
			continue
		}
		if err != nil || n < header {
			return
		}
		order := binary.NativeEndian
		operation, unique := order.Uint32(buffer[4:]), order.Uint64(buffer[8:])
		node := order.Uint64(buffer[16:])
		attributes := make([]byte, 88)
		order.PutUint64(attributes, node)
		order.PutUint32(attributes[60:], unix.S_IFDIR|0o755)
		order.PutUint32(attributes[64:], 1)
		reply := func(errno unix.Errno, parts ...[]byte) {
			answer := make([]byte, 16)
			for _, part := range parts {
				answer = append(answer, part...)
			}
			order.PutUint32(answer, uint32(len(answer)))
			order.PutUint32(answer[4:], uint32(-int32(errno)))
			order.PutUint64(answer[8:], unique)
			unix.Write(device, answer)
		}
		if node == 2 {
			order.PutUint32(attributes[60:], unix.S_IFREG|0o644)
		}
		switch operation {
		case initialize:
			out := make([]byte, 64)
			order.PutUint32(out, 7)
			order.PutUint32(out[4:], 31)
			order.PutUint32(out[20:], 4096) // max_write
			reply(0, out)
		case lookup:
			entry := make([]byte, 40)
			order.PutUint64(entry, 2)
			order.PutUint64(attributes, 2)
			order.PutUint32(attributes[60:], unix.S_IFREG|0o644)
			reply(0, entry, attributes)
		case getattr:
			reply(0, make([]byte, 16), attributes)
		case open:
			reply(0, make([]byte, 16))
		case flush:
			go func() {
				<-s.answer
				reply(0)
			}()
		case release:
			reply(0)
		case forget, interruption: // want no answer
		default:
			reply(unix.ENOSYS)
		}
	}
}
