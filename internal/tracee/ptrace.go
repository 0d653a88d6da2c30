package tracee

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The requests below go to the kernel raw, without telling the Go scheduler:
// none of them waits, and in the window in which a thread of the target runs
// with registers that are not its own nothing shall come between two of them.
// All of them have to come from the thread that seized the target's.

// seizeOptions are set on every seized thread: system-call stops that cannot be
// mistaken for a SIGTRAP, and a stop when the process becomes another program.
// PTRACE_O_EXITKILL is not among them, ever.
const seizeOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACEEXEC

func ptrace(request, tid int, addr, data uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func ptracePointer(request, tid int, addr uintptr, data unsafe.Pointer) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, uintptr(data), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func seize(tid int) error     { return ptrace(unix.PTRACE_SEIZE, tid, 0, seizeOptions) }
func interrupt(tid int) error { return ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0) }

// resume lets a stopped thread run on, and delivers the signal unless it is 0;
// only at a signal-delivery stop does the kernel heed the signal.
func resume(tid int, signal unix.Signal) error {
	return ptrace(unix.PTRACE_CONT, tid, 0, uintptr(signal))
}

// resumeToCall is resume as far as the next entry into, or return from, a
// system call.
func resumeToCall(tid int) error { return ptrace(unix.PTRACE_SYSCALL, tid, 0, 0) }

// detach lets go of a stopped thread, with the signal of a signal-delivery stop.
func detach(tid int, signal unix.Signal) error {
	return ptrace(unix.PTRACE_DETACH, tid, 0, uintptr(signal))
}

func setOptions(tid, options int) error {
	return ptrace(unix.PTRACE_SETOPTIONS, tid, 0, uintptr(options))
}

// signalMask is the kernel's sigset_t: bit n-1 stands for signal n.
type signalMask uint64

// allSignals blocks everything that can be blocked; the kernel leaves out
// SIGKILL and SIGSTOP.
const allSignals = ^signalMask(0)

// getSignalMask reads the mask of a stopped thread: the one that will hold in
// its own code, not the one that ppoll(2) and its like lend for their duration.
func getSignalMask(tid int) (signalMask, error) {
	var mask signalMask
	err := ptracePointer(unix.PTRACE_GETSIGMASK, tid, unsafe.Sizeof(mask), unsafe.Pointer(&mask))
	return mask, err
}

func setSignalMask(tid int, mask signalMask) error {
	return ptracePointer(unix.PTRACE_SETSIGMASK, tid, unsafe.Sizeof(mask), unsafe.Pointer(&mask))
}

// peek reads a word of the target's memory, whether readable or only executable.
func peek(tid int, addr uintptr) (uintptr, error) {
	var word uintptr
	err := ptracePointer(unix.PTRACE_PEEKTEXT, tid, addr, unsafe.Pointer(&word))
	return word, err
}

// userDispatch is struct ptrace_sud_config (Linux 6.4): how prctl(2)
// PR_SET_SYSCALL_USER_DISPATCH turns a thread's system calls into SIGSYS. Wine
// uses it. A mode of 0 is off.
type userDispatch struct {
	Mode, Selector, Offset, Length uint64
}

func getUserDispatch(tid int) (userDispatch, error) {
	var dispatch userDispatch
	err := ptracePointer(unix.PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, tid,
		unsafe.Sizeof(dispatch), unsafe.Pointer(&dispatch))
	return dispatch, err
}

func setUserDispatch(tid int, dispatch userDispatch) error {
	return ptracePointer(unix.PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG, tid,
		unsafe.Sizeof(dispatch), unsafe.Pointer(&dispatch))
}

// rseqConfiguration is struct ptrace_rseq_configuration (Linux 5.13): where the
// thread has registered its struct rseq, 0 for nowhere.
type rseqConfiguration struct {
	Pointer                uint64
	Size, Signature, Flags uint32
	_                      uint32
}

func getRseqConfiguration(tid int) (rseqConfiguration, error) {
	var configuration rseqConfiguration
	err := ptracePointer(unix.PTRACE_GET_RSEQ_CONFIGURATION, tid,
		unsafe.Sizeof(configuration), unsafe.Pointer(&configuration))
	return configuration, err
}

// sharesTable reports whether two threads have one descriptor table, by
// kcmp(2). It needs PTRACE_MODE_READ on both, and Linux with CONFIG_KCMP.
func sharesTable(tid, other int) (bool, error) {
	const kcmpFiles = 2 // KCMP_FILES of <linux/kcmp.h>
	order, _, errno := unix.RawSyscall6(unix.SYS_KCMP, uintptr(tid), uintptr(other), kcmpFiles, 0, 0, 0)
	if errno != 0 {
		return false, errno
	}
	return order == 0, nil
}
