package tracee

import "fmt"

// Reason is why a process is not to be acted on.
type Reason string

// The reasons.
const (
	// Gone: no such process, or it has ended meanwhile.
	Gone Reason = "gone"
	// Replaced: the number belongs to another process now, or the process has
	// become another program meanwhile.
	Replaced Reason = "replaced"
	// Moved: its threads came and went faster than they could be stopped.
	Moved Reason = "moved"
	// Zombie: it has ended and waits for its parent; it holds nothing.
	Zombie Reason = "zombie"
	// KernelThread: it is a part of the kernel.
	KernelThread Reason = "kernel-thread"
	// Init: it is pid 1, with which the machine or the container would stop.
	Init Reason = "init"
	// Self: it is the caller, or its helper.
	Self Reason = "self"
	// Traced: a debugger or tracer is attached, and there can be but one.
	Traced Reason = "traced"
	// Seccomp: a filter could answer the call by killing the process, and may
	// not be suspended by this user.
	Seccomp Reason = "seccomp"
	// Uninterruptible: a thread sleeps where nothing reaches it (state D).
	Uninterruptible Reason = "uninterruptible"
	// NotPermitted: this user may not trace it.
	NotPermitted Reason = "not-permitted"
	// Wide32: it is a 32-bit program.
	Wide32 Reason = "32-bit"
	// Architecture: this processor's registers are not known here.
	Architecture Reason = "architecture"
	// SharedTable: other processes, which were not named, have the same
	// descriptor table.
	SharedTable Reason = "shared-table"
	// NoThread: no thread is in a state in which a call can be made.
	NoThread Reason = "no-thread"
	// Changed is for operations: what they were to act on is not what it was
	// when they were planned.
	Changed Reason = "changed"
	// Unreadable: something that has to be known first could not be read.
	Unreadable Reason = "unreadable"
)

// Refusal is the error for a process that must not, or cannot, be acted on.
// Nothing was changed in it.
type Refusal struct {
	Reason Reason
	PID    int
	TID    int // the thread that it is about, 0 for the process
	// Others are the processes that stand in the way: the tracer, or those
	// that share the descriptor table.
	Others []int
	// Detail is the reason in words, without the process.
	Detail string
	// Needs names what would help, such as "CAP_SYS_PTRACE" or "Linux 5.13";
	// empty when nothing would.
	Needs string
}

func (r *Refusal) Error() string {
	if r.TID != 0 && r.TID != r.PID {
		return fmt.Sprintf("process %d, thread %d: %s", r.PID, r.TID, r.Detail)
	}
	return fmt.Sprintf("process %d: %s", r.PID, r.Detail)
}
