package tracee

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Creation is a system call that has made descriptors.
type Creation struct {
	// Call is its name: "socket", "openat".
	Call string
	// FDs are the descriptors: one, or the two of pipe(2) and socketpair(2).
	FDs []int
	// Of is the descriptor that this is a duplicate of; -1 for a new one.
	Of int
	// Registers are those of the thread, from which its stack can be unwound. They
	// are what they were when it called, but for the result.
	Registers Registers
}

// Registers are what it takes to unwind a stack: where the thread is, its stack
// pointer, its frame pointer, and on machines that have one the link register,
// which is 0 on the others.
type Registers struct{ PC, SP, FP, LR uint64 }

// creator is a system call that makes descriptors.
type creator struct {
	name   string
	number uint32
	makes  product
	// argument is one without which it makes none: by its position, with the
	// values that it has to have, of which the lower 32 bits count; no values for
	// a call that always makes one.
	argument int
	values   []uint32
}

// product is what a call gives back.
type product int

const (
	aDescriptor product = iota // the result
	aDuplicate                 // the result, of the first argument
	aPair                      // two int, where the argument after the last points
)

// creators are the calls that make descriptors on every architecture. Those that
// only a few programs make, and that do much else, are not among them: bpf(2),
// clone(2) with CLONE_PIDFD, ioctl(2) and prctl(2); nor are recvmsg(2), which
// servers of messages live by, io_uring, which makes no calls, and seccomp(2).
var creators = slices.Concat(legacyCreators, []creator{
	{name: "openat", number: unix.SYS_OPENAT},
	{name: "openat2", number: unix.SYS_OPENAT2},
	{name: "open_by_handle_at", number: unix.SYS_OPEN_BY_HANDLE_AT},
	{name: "socket", number: unix.SYS_SOCKET},
	{name: "socketpair", number: unix.SYS_SOCKETPAIR, makes: aPair, argument: 3},
	{name: "accept", number: unix.SYS_ACCEPT},
	{name: "accept4", number: unix.SYS_ACCEPT4},
	{name: "pipe2", number: unix.SYS_PIPE2, makes: aPair, argument: 0},
	{name: "dup", number: unix.SYS_DUP, makes: aDuplicate},
	{name: "dup3", number: unix.SYS_DUP3, makes: aDuplicate},
	{name: "fcntl", number: unix.SYS_FCNTL, makes: aDuplicate, argument: 1, values: []uint32{unix.F_DUPFD, unix.F_DUPFD_CLOEXEC}},
	{name: "epoll_create1", number: unix.SYS_EPOLL_CREATE1},
	{name: "eventfd2", number: unix.SYS_EVENTFD2},
	{name: "signalfd4", number: unix.SYS_SIGNALFD4, argument: 0, values: []uint32{none}},
	{name: "timerfd_create", number: unix.SYS_TIMERFD_CREATE},
	{name: "inotify_init1", number: unix.SYS_INOTIFY_INIT1},
	{name: "fanotify_init", number: unix.SYS_FANOTIFY_INIT},
	{name: "memfd_create", number: unix.SYS_MEMFD_CREATE},
	{name: "memfd_secret", number: unix.SYS_MEMFD_SECRET},
	{name: "mq_open", number: unix.SYS_MQ_OPEN},
	{name: "pidfd_open", number: unix.SYS_PIDFD_OPEN},
	{name: "pidfd_getfd", number: unix.SYS_PIDFD_GETFD},
	{name: "perf_event_open", number: unix.SYS_PERF_EVENT_OPEN},
	{name: "userfaultfd", number: unix.SYS_USERFAULTFD},
	{name: "io_uring_setup", number: unix.SYS_IO_URING_SETUP},
	{name: "fsopen", number: unix.SYS_FSOPEN},
	{name: "fspick", number: unix.SYS_FSPICK},
	{name: "fsmount", number: unix.SYS_FSMOUNT},
	{name: "open_tree", number: unix.SYS_OPEN_TREE},
})

// none is -1 as an argument of type int: signalfd(2) makes a descriptor of it, and
// changes any other.
const none = ^uint32(0)

// creatorOf returns the call that a thread is about to make; nil for one that
// makes no descriptor.
func creatorOf(number uint64, arguments [6]uint64) *creator {
	for i := range creators {
		c := &creators[i]
		if uint64(c.number) == number && (c.values == nil || slices.Contains(c.values, uint32(arguments[c.argument]))) {
			return c
		}
	}
	return nil
}

// calling is a call that makes descriptors, between its beginning and its end.
type calling struct {
	*creator
	arguments [6]uint64
}

// bySeccomp is the operation of a syscallInfo at a filter's stop.
const bySeccomp = 3 // PTRACE_SYSCALL_INFO_SECCOMP

// syscallInfo is struct ptrace_syscall_info of <linux/ptrace.h>, as it is for
// PTRACE_SYSCALL_INFO_SECCOMP.
type syscallInfo struct {
	operation          uint8
	_                  [3]byte
	architecture       uint32
	instruction, stack uint64
	number             uint64
	arguments          [6]uint64
	filterData, _      uint32
}

// callInfo is PTRACE_GET_SYSCALL_INFO of a stopped thread (Linux 5.3).
func callInfo(tid int) (info syscallInfo, err error) {
	err = ptracePointer(unix.PTRACE_GET_SYSCALL_INFO, tid, unsafe.Sizeof(info), unsafe.Pointer(&info))
	return info, err
}

// end returns what a call has made, at its end; not ok when it has failed.
func (c calling) end(tid int) (made Creation, ok bool) {
	t := thread{tid: tid}
	var r registers
	if err := t.readRegisters(&r); err != nil || !r.native() {
		return made, false
	}
	result := r.returned()
	if result < 0 {
		return made, false
	}
	made = Creation{Call: c.name, FDs: []int{int(result)}, Of: -1, Registers: r.unwinding()}
	switch c.makes {
	case aDescriptor:
	case aDuplicate:
		made.Of = int(int32(c.arguments[0]))
		ok = made.Of == made.FDs[0] // dup2(2) of a descriptor onto itself does nothing
		return made, !ok
	case aPair:
		// Two int are a word. By peek nobody is waited for who delivers memory.
		two, err := peek(tid, uintptr(c.arguments[c.argument]))
		if err != nil {
			return made, false
		}
		made.FDs = []int{int(int32(two)), int(int32(two >> 32))}
	}
	return made, true
}
