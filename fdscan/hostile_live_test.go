package fdscan_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

// Where kcmp is refused the tables of threads are read, to see whether they
// differ.
func TestTableOfAThreadWithoutKcmp(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		listen tcp4 127.0.0.1:0 name=other
		thread own=1 { close other ; serve sleep }
		close web
		serve accept other
	`)
	for _, name := range []string{"web", "other"} {
		s := role.Socket(name)
		snap := elsewhere{NoKcmp: true, Targets: []string{port(s)}}.ask(t)
		wantHolders(t, holdersOf(t, snap, s.Inode), table(role, s.Inode)...)
		wantWhole(t, snap)
	}
}

// A busy program opens and closes between two reads of its one table. That makes
// no tables of its threads, and what a thread has by itself is found all the same.
func TestSurveyWithoutKcmp(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web ; thread own=1 { serve sleep } ; close web`)
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, w, err := os.Pipe()
				if err != nil {
					t.Error(err)
					return
				}
				r.Close()
				w.Close()
			}
		})
	}
	for range 5 {
		snap := elsewhere{NoKcmp: true, Survey: true}.ask(t)
		if tables := tablesOf(snap, os.Getpid()); len(tables) != 1 || tables[0].TID != 0 {
			t.Errorf("of one table it makes %d", len(tables))
		}
		web := role.Socket("web")
		wantHolders(t, holdersOf(t, snap, web.Inode), table(role, web.Inode)...)
	}
	close(stop)
	busy.Wait()
}

// A process that has ended and a kernel thread hold nothing: not to be allowed
// to look into them is no gap.
func TestNobodyMissesNothingInWhatHoldsNothing(t *testing.T) {
	testenv.NeedRoot(t)
	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer zombie.Wait()
	for state := ""; state != "Z"; state = stateOf(zombie.Process.Pid) {
		time.Sleep(time.Millisecond)
	}
	role := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web`)
	snap := elsewhere{UID: nobody, Targets: []string{port(role.Socket("web"))}}.ask(t)
	for _, g := range snap.Gaps {
		if g.PID == zombie.Process.Pid {
			t.Errorf("the zombie is a gap: %+v", g)
		}
		if isKernelThread(g.PID) {
			t.Errorf("a kernel thread is a gap: %+v", g)
		}
	}
}

// stateOf returns the state of a process in /proc/PID/stat; "" when it is gone.
func stateOf(pid int) string {
	if fields := statFields(pid); len(fields) > 0 {
		return fields[0]
	}
	return ""
}

// statFields returns what follows the command in /proc/PID/stat.
func statFields(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

// Memory that nobody provides cannot hold an answer up: here the set that a
// thread polls, which has gone to a userfaultfd since.
func TestMemoryThatHangs(t *testing.T) {
	testenv.NeedRoot(t)
	fd, inode, port := listener(t)
	memory, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	set := (*unix.PollFd)(unsafe.Pointer(&memory[0]))
	*set = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	tids, over := make(chan int), make(chan bool)
	go func() {
		runtime.LockOSThread()
		tids <- unix.Gettid()
		unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(set)), 1, 0, 0, 0, 0)
		close(over)
	}()
	tid := <-tids
	for !inCall(tid, unix.SYS_PPOLL) {
		time.Sleep(time.Millisecond)
	}
	release := withhold(t, memory)
	start := time.Now()
	snap := look(t, &fdscan.Scanner{}, fdscan.Question{}, itoa(port))
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	wantHolders(t, holdersOf(t, snap, inode), fmt.Sprintf("pid %d fd %d", os.Getpid(), fd))
	if !slices.ContainsFunc(snap.Gaps, func(g fdscan.Gap) bool { return g.PID == os.Getpid() && g.Scope == fdscan.ScopeDetail }) {
		t.Errorf("no gap tells of it: %+v", snap.Gaps)
	}
	release()
	unix.Shutdown(fd, unix.SHUT_RDWR) // which ends the poll
	<-over
	unix.Close(fd)
}

// withhold makes every access to memory wait until release.
func withhold(t *testing.T, memory []byte) (release func()) {
	t.Helper()
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		testenv.NeedWorking(t, "userfaultfd", errno)
	}
	const (
		apiCall      = 0xc018aa3f // UFFDIO_API
		registerCall = 0xc020aa00 // UFFDIO_REGISTER
		missing      = 1
	)
	api := [3]uint64{0xaa}
	register := [4]uint64{uint64(uintptr(unsafe.Pointer(&memory[0]))), uint64(len(memory)), missing}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, apiCall, uintptr(unsafe.Pointer(&api))); errno != 0 {
		t.Fatal(errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, registerCall, uintptr(unsafe.Pointer(&register))); errno != 0 {
		t.Fatal(errno)
	}
	if err := unix.Madvise(memory, unix.MADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	return func() { unix.Close(int(fd)) }
}

// A library that its owner has replaced by something that blocks is not opened.
func TestLibrariesThatAreNone(t *testing.T) {
	testenv.NeedRoot(t)
	library, err := filepath.Glob("/lib/*/libm.so.6")
	if err == nil && len(library) == 0 {
		err = fs.ErrNotExist
	}
	testenv.NeedWorking(t, "the library libm.so.6, to copy", err)
	code, err := os.ReadFile(library[0])
	if err != nil {
		t.Fatal(err)
	}
	// Everybody may enter it, since nobody asks.
	directory, err := os.MkdirTemp("", "fdscan")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(directory)
	if err := os.Chmod(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	replaced := filepath.Join(directory, "libreplaced.so")
	if err := os.WriteFile(replaced, code, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+replaced)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	fd, inode, port := listener(t)
	listening := os.NewFile(uintptr(fd), "listener")
	defer listening.Close()
	cmd.ExtraFiles = []*os.File{listening}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	for !inProcessCall(cmd.Process.Pid, unix.SYS_CLOCK_NANOSLEEP) {
		time.Sleep(time.Millisecond)
	}
	imports := func(snap *fdscan.Snapshot) *fdscan.Imports {
		for _, h := range holdersOf(t, snap, inode) {
			if h.Process.PID == cmd.Process.Pid {
				return h.Process.Evidence.Imports
			}
		}
		t.Fatalf("sleep (pid %d) is no holder: %v; gaps %+v", cmd.Process.Pid, holders(holdersOf(t, snap, inode)), snap.Gaps)
		return nil
	}
	if i := imports(ask(t, itoa(port))); i == nil || i.Accept || i.Listen {
		t.Fatalf("imports of sleep %+v", i)
	}
	os.Remove(replaced)
	if err := unix.Mkfifo(replaced, 0o644); err != nil {
		t.Fatal(err)
	}
	// Root looks at what is mapped, and nobody at what has that name now.
	if i := imports(ask(t, itoa(port))); i == nil || i.Accept {
		t.Errorf("imports of sleep %+v", i)
	}
	start := time.Now()
	if i := imports(elsewhere{UID: nobody, Targets: []string{itoa(port)}}.ask(t)); i != nil {
		t.Errorf("of a FIFO imports are known: %+v", i)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestMappingOnOverlayFS(t *testing.T) {
	testenv.NeedRoot(t)
	directory := t.TempDir()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(directory, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(directory, "lower/file"), make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	merged := filepath.Join(directory, "merged")
	options := fmt.Sprintf("lowerdir=%s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", directory)
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		testenv.NeedWorking(t, "overlayfs", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(merged, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	path := filepath.Join(merged, "file")
	role := proctest.Start(t, fmt.Sprintf("fork { } ; open %s name=f ; map f ; close f ; serve sleep", path))
	wantHolders(t, ask(t, path).Objects[0].Holders, fmt.Sprintf("pid %d fd -1 memory", role.PID))
}

func TestVeryManyThreads(t *testing.T) {
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		exec { `+strings.Repeat("thread { serve sleep } ; ", 300)+` thread own=1 { serve sleep } ; serve accept web }
	`)
	web := role.Socket("web")
	s := socket(t, ask(t, port(web)), web.Inode)
	wantHolders(t, s.Holders, table(role, web.Inode)...)
	for _, h := range s.Holders {
		if waits := h.Process.Evidence.Waits; h.Process.PID != role.PID && len(waits) < 300 {
			t.Errorf("%d waits of more than 300 threads", len(waits))
		}
	}
}
