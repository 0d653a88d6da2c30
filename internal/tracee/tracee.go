// Package tracee makes system calls inside another, running process, and follows
// what a command and its descendants do.
//
// To act, it stops the threads that share a descriptor table, lets the caller's code
// look at the process while nothing in it moves, makes a few calls in one of
// the stopped threads by ptrace(2), puts everything back and lets go. The
// process notices nothing but the time: system calls that the stop interrupted
// start again, no signal is lost or reordered, a stopped process stays stopped.
//
// What is done with the target stopped is an [Operation], and it runs in a
// helper: a second run of the same program that lives for one Do. The helper is
// not hit by what befalls the caller (a panic, a signal, ^C, ^Z, SIGKILL), and
// waits for nobody while the target stands still. [HelperMain] has to be the
// first thing in main.
//
//	var closeFD = tracee.Register("close", func(s *tracee.Stopped, fd int) (struct{}, error) {
//		// Is it still the descriptor that was meant? Nobody can change it now.
//		return struct{}{}, s.Close(fd)
//	})
//
//	target, err := tracee.Identify(pid)
//	_, report, err := closeFD.Do(ctx, target, tracee.Options{FDs: []int{fd}}, fd)
//
// [Follow] is the other thing that a tracer can do: it starts a command, and tells
// of every fork, exec and exit of it and its descendants, without a helper and
// without changing anything in them.
//
// One risk of acting remains and cannot be removed: whoever kills the helper by
// SIGKILL in the microseconds (Report.Window) in which a thread runs the injected
// call leaves that thread with registers that are not its own. A lesser one
// concerns users without CAP_SYS_PTRACE: a program with the setuid bit that the
// target runs in the microseconds before it stops gets no privilege, as under any
// tracer.
package tracee

import (
	"errors"
	"slices"
	"time"
)

// Target names a descriptor table of a process.
type Target struct {
	// PID and StartTicks identify the process until the next boot. StartTicks
	// is field 22 of /proc/PID/stat, in USER_HZ since boot.
	PID        int
	StartTicks uint64
	// TID is the thread whose table is meant. 0 is the process's own table:
	// the leader's or, when it has exited, the first living thread's.
	TID int
}

// Identify returns the target that pid is now.
func Identify(pid int) (Target, error) {
	p, err := openProcess(pid)
	if err != nil {
		return Target{}, err
	}
	defer p.close()
	stat, err := p.stat("stat")
	if err != nil {
		return Target{}, err
	}
	return Target{PID: pid, StartTicks: stat.startTicks}, nil
}

// Options say how Do goes about it. The zero value is meant to be used.
type Options struct {
	// FDs are the descriptors that are to be acted on. A thread that waits in a
	// system call on one of them is interrupted even where not all threads are
	// stopped, so that its call starts again on what is there then.
	FDs []int
	// Sharers are other processes that may have the same descriptor table.
	// They are stopped too. Where others have it, Do refuses.
	Sharers []int
	// MaxThreads is up to how many threads of the table are all stopped;
	// 0 means 256. Above that, only the one that makes the calls and those
	// that wait on FDs are, and Report.Exclusive is false.
	MaxThreads int
	// Init permits to act on pid 1.
	Init bool
	// StopTimeout is how long to wait for the threads to stop; 0 means 500 ms.
	// Those that stop at once are held for so long when one does not.
	StopTimeout time.Duration
	// CallTimeout is how long a call may wait in the target before it is
	// interrupted; 0 means 500 ms.
	CallTimeout time.Duration
	// HoldTimeout is how long an operation may hold the target in all; 0 means
	// 2 s. Then the target is let go in the midst of it, though not in the midst
	// of a call: that ends by itself, or at its deadline.
	HoldTimeout time.Duration
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.StopTimeout, 500 * time.Millisecond},
		{&o.CallTimeout, 500 * time.Millisecond},
		{&o.HoldTimeout, 2 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	if o.MaxThreads <= 0 {
		o.MaxThreads = 256
	}
	return o
}

func (o Options) sharer(pid int) bool { return slices.Contains(o.Sharers, pid) }

// Report says what Do did to the target's threads.
type Report struct {
	// Carrier is the thread that makes the calls.
	Carrier int
	// Threads is how many were stopped.
	Threads int
	// Exclusive: every thread that has the table was stopped while the
	// operation ran, so that between its look and its act nothing changed.
	// When it is false, Weaker says why; what was checked before has to be
	// checked again afterwards.
	Exclusive bool
	Weaker    string
	// Interrupted are the threads that were waiting in a system call on one of
	// Options.FDs. Their calls have started again.
	Interrupted []int
	// Held is the time from the first thread's stop to the last one's release.
	Held time.Duration
	// Window is the longest time in which the carrier had registers that are
	// not its own.
	Window time.Duration
}

// ErrHeldTooLong is the error when an operation took longer than
// Options.HoldTimeout, and the target was let go in the midst of it.
var ErrHeldTooLong = errors.New("the target was let go: the operation held it for too long")
