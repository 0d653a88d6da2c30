package bench

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// script is a list of system calls for a forked child to make. A child made by
// a bare clone(2) of a Go process may use nothing of the runtime, whose other
// threads it lacks: no allocation, no growth of the stack, no write of a
// pointer, no race detector. So all thinking is done before the fork, down to
// the numbers that descriptors will get, and the child only calls.
type script []step

// step is one system call. What its arguments point to must be a package
// variable or otherwise kept from the garbage collector until the fork.
type step struct {
	number uintptr
	args   [5]uintptr
}

func (s *script) call(number uintptr, args ...uintptr) {
	next := step{number: number}
	copy(next.args[:], args)
	*s = append(*s, next)
}

// report is memory that children share with their parent.
type report struct {
	begun  unix.Timespec // CLOCK_MONOTONIC just before execve(2)
	failed failure
}

func newReport() (*report, error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return (*report)(unsafe.Pointer(&page[0])), nil
}

// error returns the failure of a child, nil when there is none.
func (r *report) error() error {
	if r.failed == 0 {
		return nil
	}
	return r.failed
}

// failure is a system call's number in the upper half and its errno; 0 is none.
type failure uint32

func (f failure) Error() string {
	return fmt.Sprintf("system call %d: %v", f>>16, unix.Errno(f&0xffff))
}

// run makes the calls in this process.
func (s script) run() error {
	for _, next := range s {
		a := next.args
		if _, _, errno := unix.Syscall6(next.number, a[0], a[1], a[2], a[3], a[4], 0); errno != 0 {
			return failure(next.number)<<16 | failure(errno)
		}
	}
	return nil
}

// fork makes a child that makes the calls, of which the last must not return,
// and returns its pid. Unlike the vfork(2) of os/exec it makes a copy, so that
// the ru_maxrss of a command does not start at the resident set of this
// process. Signals are blocked in the child, where no handler of the Go runtime
// could run.
func (s script) fork(r *report) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, os.NewSyscallError("sigprocmask", err)
	}
	pid, errno := s.clone(&r.failed)
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err != nil {
		return 0, os.NewSyscallError("sigprocmask", err)
	}
	if errno != 0 {
		return 0, os.NewSyscallError("clone", errno)
	}
	return int(pid), nil
}

// clone returns in the parent only.
//
//go:noinline
//go:nosplit
//go:norace
func (s script) clone(failed *failure) (uintptr, unix.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	for i := range s {
		a := &s[i].args
		if _, _, errno := unix.RawSyscall6(s[i].number, a[0], a[1], a[2], a[3], a[4], 0); errno != 0 {
			*failed = failure(s[i].number)<<16 | failure(errno)
			break
		}
	}
	for {
		unix.RawSyscall6(unix.SYS_EXIT_GROUP, 127, 0, 0, 0, 0, 0)
	}
}

// Memory that the calls of scripts point to.
var (
	noSignals  uint64
	pair       [2]int32
	readyBytes [1]byte
)

func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// place makes descriptors 0, 1, 2 and so on from others, which lie above them,
// and closes all that follow.
func (s *script) place(from ...uintptr) {
	for fd, source := range from {
		s.call(unix.SYS_DUP3, source, uintptr(fd), 0)
	}
	s.call(unix.SYS_CLOSE_RANGE, uintptr(len(from)), 1<<32-1, 0)
}

// become takes the user id, and the group id of that number as the only group.
func (s *script) become(uid int) {
	id := uintptr(uid)
	s.call(unix.SYS_SETGROUPS, 0, 0)
	s.call(unix.SYS_SETRESGID, id, id, id)
	s.call(unix.SYS_SETRESUID, id, id, id)
}

// execute notes the time and executes a command, of which the first word is
// the path.
func (s *script) execute(r *report, argv, env []string) error {
	words, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return err
	}
	variables, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return err
	}
	executed.words, executed.variables = words, variables
	s.call(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, address(&noSignals), 0, 8)
	s.call(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, address(&r.begun))
	s.call(unix.SYS_EXECVE, address(words[0]), address(&words[0]), address(&variables[0]))
	return nil
}

// executed keeps the words of the last command.
var executed struct{ words, variables []*byte }

// sayReady writes a byte to readyFD, to be counted, and closes it.
func (s *script) sayReady() {
	s.call(unix.SYS_WRITE, readyFD, address(&readyBytes), 1)
	s.call(unix.SYS_CLOSE, readyFD)
}

// stay waits for ever.
func (s *script) stay() { s.call(unix.SYS_PPOLL, 0, 0, 0, 0) }
