package tracee

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// implemented: this architecture's registers are known.
const implemented = true

// needsCallLine: the registers of a thread that waits in a call tell which.
const needsCallLine = false

// syscallInstruction is SYSCALL; instructions may begin anywhere.
var syscallInstruction = []byte{0x0f, 0x05}

const instructionAlignment = 1

// registers are struct user_regs_struct. They are read and written with
// PTRACE_GETREGS and PTRACE_SETREGS, which always give this layout;
// PTRACE_GETREGSET gives a thread in 32-bit code another, smaller one.
type registers struct{ unix.PtraceRegs }

// architecture is what a thread needs noted here besides: nothing.
//
//lint:ignore U1000 arm64 notes something
type architecture struct{}

func (t *thread) readRegisters(r *registers) error {
	return ptracePointer(unix.PTRACE_GETREGS, t.tid, 0, unsafe.Pointer(r))
}

func (t *thread) writeRegisters(r *registers) error {
	return ptracePointer(unix.PTRACE_SETREGS, t.tid, 0, unsafe.Pointer(r))
}

// native reports whether the thread runs 64-bit code. A kernel worker that is
// listed among a process's threads (io_uring's, vhost's) has no code at all.
func (r *registers) native() bool {
	const userCS64 = 0x33 // __USER_CS
	return r.Cs == userCS64 && r.Rip != 0
}

// counter and setCounter are the program counter.
func (r *registers) counter() uint64           { return r.Rip }
func (r *registers) setCounter(address uint64) { r.Rip = address }

// noCall is what orig_rax holds in a thread that is in no system call.
const noCall = ^uint64(0)

// The kernel's own error numbers for a call that a stop has interrupted, of
// <linux/errno.h>. The signal handling replaces them before a program sees them.
const (
	errRestartNoHand = 514 // ERESTARTNOHAND: again, unless a handler runs
)

// call returns the system call in which the thread waits, and its first
// argument; not ok outside of any.
func (t *thread) call() (number int, first uint64, ok bool) {
	r := &t.saved
	if !r.native() || int64(r.Orig_rax) < 0 {
		return 0, 0, false
	}
	return int(r.Orig_rax), r.Rdi, true
}

// instruction returns where the instruction stands that brought the thread into
// the kernel, if that was a system call.
func (t *thread) instruction() (uint64, bool) {
	_, _, ok := t.call()
	return t.saved.Rip - uint64(len(syscallInstruction)), ok
}

// repair reads the registers of a thread that has stopped and, if the stop made
// its call fail with EINTR, sees to it that the call starts again.
//
// Most interrupted calls hold -ERESTARTSYS or one of its kind by now, and start
// again by themselves. Some say -EINTR, which a program would get to see.
// -ERESTARTNOHAND in its place means: again, but EINTR if a signal handler
// runs first. That is what would have happened without the stop, whether or
// not a signal has come too.
func (t *thread) repair() {
	if t.at != atStop {
		return
	}
	r := &t.saved
	if t.readRegisters(r) != nil {
		t.at = running // on its way to its end
		return
	}
	if t.grouped {
		return // a process that a signal has stopped has its EINTR from that
	}
	number, _, ok := t.call()
	if !ok || r.Rax != errnoResult(unix.EINTR) || !slices.Contains(restartable, number) {
		return
	}
	r.Rax = errnoResult(errRestartNoHand)
	t.writeRegisters(r)
}

// needsRearming reports whether the kernel has yet to be told that the call is
// to start again: it has been.
func (t *thread) needsRearming() bool { return false }

func errnoResult(errno unix.Errno) uint64 { return -uint64(errno) }

// begin sets the registers so that the thread makes the call when it runs. The
// stack pointer stays, and so does everything that the call does not use.
func (t *thread) begin(site, number uint64, args [6]uint64) error {
	r := t.saved
	r.Rip = site
	r.Rax = number
	r.Orig_rax = noCall // nothing for the kernel to start again
	r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9 = args[0], args[1], args[2], args[3], args[4], args[5]
	return t.writeRegisters(&r)
}

// enter makes sure, at the entry, that the call is the one that was meant.
func (t *thread) enter(number uint64, args [6]uint64) error {
	var r registers
	if err := t.readRegisters(&r); err != nil {
		return err
	}
	if r.Orig_rax != number || r.Rdi != args[0] || r.Rsi != args[1] || r.Rdx != args[2] {
		return errNotOurs
	}
	return nil
}

// skip has the kernel make no call at the entry.
func (t *thread) skip() {
	var r registers
	if t.readRegisters(&r) == nil {
		r.Orig_rax = noCall
		t.writeRegisters(&r)
	}
}

// result is what the call has returned.
func (t *thread) result() (int64, error) {
	var r registers
	err := t.readRegisters(&r)
	return int64(r.Rax), err
}

// restore gives the thread its registers back.
func (t *thread) restore() error { return t.writeRegisters(&t.saved) }

// unfinished reports whether registers have to be given back once more, at the
// next stop: never.
func (t *thread) unfinished() bool { return false }

// restartable are the calls that answer EINTR to any interruption, and can be
// made again as they stand: nothing has been done yet, what is left of a time
// limit excepted, which begins anew. close(2) is not among them.
var restartable = []int{
	unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2,
	unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP, unix.SYS_RT_SIGTIMEDWAIT,
	// Sockets with SO_RCVTIMEO or SO_SNDTIMEO.
	unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG,
	unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG,
	unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_CONNECT,
	unix.SYS_IO_GETEVENTS, unix.SYS_IO_PGETEVENTS, unix.SYS_IO_URING_ENTER,
}
