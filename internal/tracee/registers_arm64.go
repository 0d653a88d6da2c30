package tracee

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// implemented: this architecture's registers are known.
const implemented = true

// needsCallLine: the registers of a thread whose call said -EINTR do not tell
// its first argument.
const needsCallLine = true

// syscallInstruction is SVC #0, little-endian as all instructions.
var syscallInstruction = []byte{0x01, 0x00, 0x00, 0xd4}

const instructionAlignment = 4

// registers are struct user_pt_regs, read and written as the register set
// NT_PRSTATUS.
type registers struct {
	unix.PtraceRegs
	size uint64 // of the set: a thread in 32-bit code has a smaller one
}

// architecture is what has to be noted of a thread besides.
//
// Here the kernel prepares the restart of an interrupted call before the stop: a
// thread that will call again stands on its SVC instruction already, all its
// arguments in place, and what kind of restart it is only the kernel remembers,
// for as long as the thread does not leave the stop to run. So a call of ours
// takes the place of the thread's own, at the latter's entry. At the return the
// thread gets the error number that makes the kernel prepare the restart once
// more; and at the stop after that its first argument, for which the kernel
// may have taken ours.
type architecture struct {
	onInstruction bool // it stands on SVC, about to make a call
	sawEINTR      bool // it was made to by repair
	noted         bool // entry and entryCall hold its own call at the entry
	entry         registers
	entryCall     int32
	unsettled     bool // its first argument is to be put back at the next stop
}

func (t *thread) readRegisters(r *registers) error {
	vector := unix.Iovec{Base: (*byte)(unsafe.Pointer(&r.PtraceRegs)), Len: uint64(unsafe.Sizeof(r.PtraceRegs))}
	err := ptracePointer(unix.PTRACE_GETREGSET, t.tid, unix.NT_PRSTATUS, unsafe.Pointer(&vector))
	r.size = vector.Len
	return err
}

func (t *thread) writeRegisters(r *registers) error {
	vector := unix.Iovec{Base: (*byte)(unsafe.Pointer(&r.PtraceRegs)), Len: uint64(unsafe.Sizeof(r.PtraceRegs))}
	return ptracePointer(unix.PTRACE_SETREGSET, t.tid, unix.NT_PRSTATUS, unsafe.Pointer(&vector))
}

// noCall is the number that stands for no system call.
const noCall = -1

// readCall and writeCall are the number of the system call in which the thread
// is, apart from x8: the kernel goes by this one.
func (t *thread) readCall() (number int32, err error) {
	vector := unix.Iovec{Base: (*byte)(unsafe.Pointer(&number)), Len: uint64(unsafe.Sizeof(number))}
	err = ptracePointer(unix.PTRACE_GETREGSET, t.tid, unix.NT_ARM_SYSTEM_CALL, unsafe.Pointer(&vector))
	return number, err
}

func (t *thread) writeCall(number int32) error {
	vector := unix.Iovec{Base: (*byte)(unsafe.Pointer(&number)), Len: uint64(unsafe.Sizeof(number))}
	return ptracePointer(unix.PTRACE_SETREGSET, t.tid, unix.NT_ARM_SYSTEM_CALL, unsafe.Pointer(&vector))
}

// native reports whether the thread runs 64-bit code. A kernel worker that is
// listed among a process's threads has no code at all.
func (r *registers) native() bool {
	const mode32 = 0x10 // PSR_MODE32_BIT
	return r.size == uint64(unsafe.Sizeof(r.PtraceRegs)) && r.Pstate&mode32 == 0 && r.Pc != 0
}

// counter and setCounter are the program counter.
func (r *registers) counter() uint64           { return r.Pc }
func (r *registers) setCounter(address uint64) { r.Pc = address }

// call returns the system call that the thread waits in or is about to make,
// and its first argument; not ok when it stands elsewhere.
func (t *thread) call() (number int, first uint64, ok bool) {
	if !t.saved.native() || !t.onInstruction {
		return 0, 0, false
	}
	return int(int32(t.saved.Regs[8])), t.saved.Regs[0], true
}

// instruction returns where the instruction stands that the thread is about to
// execute, if that is SVC.
func (t *thread) instruction() (uint64, bool) { return t.saved.Pc, t.onInstruction }

// repair reads the registers of a thread that has stopped and, if the stop made
// its call fail with EINTR, sees to it that the call starts again: with what
// /proc has told of its arguments before, provided that nothing else has
// changed since.
func (t *thread) repair() {
	if t.at != atStop {
		return
	}
	r := &t.saved
	t.onInstruction = false
	t.sawEINTR = t.sawEINTR && t.noted // a call of ours came in between
	if t.readRegisters(r) != nil {
		t.at = running // on its way to its end
		return
	}
	if !r.native() {
		return
	}
	t.onInstruction = isInstruction(t.tid, r.Pc)
	b := &t.before
	if t.grouped || t.onInstruction || r.Regs[0] != errnoResult(unix.EINTR) ||
		!b.inProgress || uint64(b.number) != r.Regs[8] || b.pc != r.Pc || b.stack != r.Sp ||
		!slices.Equal(b.arguments[1:], r.Regs[1:6]) ||
		!slices.Contains(restartable, b.number) || !isInstruction(t.tid, r.Pc-4) {
		return
	}
	r.Regs[0] = b.arguments[0]
	r.Pc -= 4
	if t.writeRegisters(r) == nil {
		t.onInstruction, t.sawEINTR = true, true
	}
}

// needsRearming reports whether the kernel has yet to be told that the call is
// to start again: it would do so by itself, but after a signal's handler too.
func (t *thread) needsRearming() bool { return t.sawEINTR && !t.noted }

func errnoResult(errno unix.Errno) uint64 { return -uint64(errno) }

// begin sets the registers so that the thread makes the call when it runs. One
// that is about to make a call of its own is left to go as far as its entry.
func (t *thread) begin(site, number uint64, args [6]uint64) error {
	t.noted = false
	if t.onInstruction {
		return nil
	}
	r := t.saved
	r.Pc = site
	r.Regs[8] = number
	copy(r.Regs[:], args[:])
	return t.writeRegisters(&r)
}

// enter makes sure, at the entry, that the call is the one that was meant, or
// puts it in the place of the thread's own.
func (t *thread) enter(number uint64, args [6]uint64) error {
	if !t.onInstruction {
		got, err := t.readCall()
		if err == nil && got != int32(number) {
			err = errNotOurs
		}
		return err
	}
	if err := t.noteEntry(); err != nil {
		return err
	}
	r := t.entry
	r.Regs[8] = number
	copy(r.Regs[:], args[:])
	if err := t.writeRegisters(&r); err != nil {
		return err
	}
	return t.writeCall(int32(number))
}

// noteEntry notes the thread's own call at its entry.
func (t *thread) noteEntry() (err error) {
	if t.noted {
		return nil
	}
	if err = t.readRegisters(&t.entry); err != nil {
		return err
	}
	if t.entry.Pc != t.saved.Pc+4 || t.entry.Sp != t.saved.Sp {
		return errNotOurs
	}
	t.entryCall, err = t.readCall()
	t.noted = err == nil
	return err
}

// skip has the kernel make no call at the entry.
func (t *thread) skip() {
	if t.onInstruction {
		t.noteEntry()
	}
	t.writeCall(noCall)
}

// result is what the call has returned.
func (t *thread) result() (int64, error) {
	var r registers
	err := t.readRegisters(&r)
	return int64(r.Regs[0]), err
}

// restore gives the thread its registers back.
func (t *thread) restore() error {
	switch {
	case t.at != atExit: // it has not called yet, or is back where it was
		t.unsettled = false
		return t.writeRegisters(&t.saved)
	case !t.noted: // the thread was in no call, and is to be in none
		return firstError(t.writeRegisters(&t.saved), t.writeCall(noCall))
	}
	// x7 tells the two system-call stops apart, and writing it has no effect.
	r := t.entry
	r.Regs[0] = errnoResult(t.restartKind())
	t.unsettled = true
	return firstError(t.writeRegisters(&r), t.writeCall(t.entryCall))
}

// unfinished reports whether registers have to be given back once more, at the
// next stop.
func (t *thread) unfinished() bool { return t.unsettled }

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// The kernel's own error numbers for a call that a stop has interrupted, of
// <linux/errno.h>.
const (
	errRestartSys   = 512 // ERESTARTSYS: again, if no handler runs or it says SA_RESTART
	errRestartNoInt = 513 // ERESTARTNOINTR: again
	errRestartNoHan = 514 // ERESTARTNOHAND: again, if no handler runs
	errRestartBlock = 516 // ERESTART_RESTARTBLOCK: by restart_syscall(2)
)

// restartKind is how the thread's own call is to start again.
func (t *thread) restartKind() unix.Errno {
	switch number := int(t.entryCall); {
	case number == unix.SYS_RESTART_SYSCALL:
		return errRestartBlock
	case t.sawEINTR, slices.Contains(notAfterHandler, number):
		return errRestartNoHan
	case slices.Contains(always, number):
		return errRestartNoInt
	}
	return errRestartSys
}

// notAfterHandler are the calls that start again unless a handler runs.
var notAfterHandler = []int{
	unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_RT_SIGSUSPEND, unix.SYS_MSGRCV, unix.SYS_MSGSND, unix.SYS_IO_PGETEVENTS,
}

// always are the calls that start again whatever runs in between.
var always = []int{unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_RT_SIGRETURN}

// restartable are the calls that answer EINTR to any interruption, and can be
// made again as they stand: nothing has been done yet, what is left of a time
// limit excepted, which begins anew. close(2) is not among them.
var restartable = []int{
	unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2,
	unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP, unix.SYS_RT_SIGTIMEDWAIT,
	// Sockets with SO_RCVTIMEO or SO_SNDTIMEO.
	unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG,
	unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG,
	unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_CONNECT,
	unix.SYS_IO_GETEVENTS, unix.SYS_IO_PGETEVENTS, unix.SYS_IO_URING_ENTER,
}
