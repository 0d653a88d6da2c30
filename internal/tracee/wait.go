package tracee

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// event is one thing that a seized thread reported to its tracer.
type event struct {
	kind eventKind
	// signal is the one about to be delivered (eventSignal), or the one whose
	// group stop the thread takes part in (eventStop); 0 otherwise.
	signal unix.Signal
}

type eventKind int

const (
	eventNone   eventKind = iota // the deadline came first
	eventStop                    // stopped as asked, or in a group stop
	eventCall                    // at the entry into, or the return from, a system call
	eventSignal                  // about to have a signal delivered
	eventExec                    // the process has become another program
	eventGone                    // the thread has ended
	eventOther                   // a stop that nobody asked for and that means nothing here
)

// parseStatus reads a status of wait4(2) as ptrace(2) composes it for a thread
// that was seized with seizeOptions.
func parseStatus(status unix.WaitStatus) event {
	if !status.Stopped() {
		return event{kind: eventGone}
	}
	signal := status.StopSignal()
	switch trap := int(status >> 16); {
	case trap == unix.PTRACE_EVENT_STOP && signal == unix.SIGTRAP:
		return event{kind: eventStop}
	case trap == unix.PTRACE_EVENT_STOP:
		return event{kind: eventStop, signal: signal}
	case trap == unix.PTRACE_EVENT_EXEC:
		return event{kind: eventExec}
	case trap != 0:
		return event{kind: eventOther}
	case signal == unix.SIGTRAP|0x80: // PTRACE_O_TRACESYSGOOD
		return event{kind: eventCall}
	}
	return event{kind: eventSignal, signal: signal}
}

// A waiter waits for seized threads, on the thread that seized them.
//
// wait4(2) has no deadline. It is made to have one by a timer whose signal
// interrupts it again and again for as long as it waits. Polling instead, even
// for the first microseconds, takes longer: the target needs the processor.
type waiter struct {
	// cancel is a socket: what arrives on it, its end included, means that
	// nobody wants the outcome any more.
	cancel    int
	cancelled bool
	timer     int32 // of timer_create(2)
}

// tick is how exact deadlines are.
const tick = 10 * time.Millisecond

// newWaiter makes the calling thread's waiter, and prepares the process's
// signals for it.
func newWaiter(cancel int) (waiter, error) {
	w := waiter{cancel: cancel}
	const restart, withoutStops = 0x10000000, 1 // SA_RESTART, SA_NOCLDSTOP
	err := changeAction(unix.SIGALRM, func(flags uint64) uint64 { return flags &^ restart })
	if err == nil {
		// Stops are what wait4 is for: SIGCHLD would only take time.
		err = changeAction(unix.SIGCHLD, func(flags uint64) uint64 { return flags | withoutStops })
	}
	if err != nil {
		return w, fmt.Errorf("prepare to wait: sigaction: %w", err)
	}
	// struct sigevent, whose union begins with the thread for SIGEV_THREAD_ID.
	event := struct {
		value                  uint64
		signal, notify, thread int32
		_                      [44]byte
	}{signal: int32(unix.SIGALRM), notify: 4, thread: int32(unix.Gettid())}
	_, _, errno := unix.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC,
		uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&w.timer)))
	if errno != 0 {
		return w, fmt.Errorf("prepare to wait: timer_create: %w", errno)
	}
	return w, nil
}

// changeAction changes the flags of a signal's action, and leaves the handler,
// the runtime's, in place. For SIGALRM that one does nothing.
func changeAction(signal unix.Signal, change func(flags uint64) uint64) error {
	var action sigaction
	if err := rtSigaction(signal, nil, &action); err != nil {
		return err
	}
	action.flags = change(action.flags)
	return rtSigaction(signal, &action, nil)
}

// setTicking switches the timer on or off.
func (w *waiter) setTicking(on bool) {
	var setting struct{ every, first unix.Timespec }
	if on {
		setting.every = unix.NsecToTimespec(tick.Nanoseconds())
		setting.first = setting.every
	}
	unix.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(w.timer), 0, uintptr(unsafe.Pointer(&setting)), 0, 0, 0)
}

// next returns what the thread reports, or eventNone once the deadline has
// passed or, when the wait is one that can be, it was cancelled. With the zero
// time it waits for ever.
func (w *waiter) next(tid int, deadline time.Time, cancellable bool) event {
	w.setTicking(true)
	defer w.setTicking(false)
	for {
		var status unix.WaitStatus
		got, _, errno := unix.RawSyscall6(unix.SYS_WAIT4, uintptr(tid), uintptr(unsafe.Pointer(&status)),
			unix.WALL|unix.WNOTHREAD, 0, 0, 0)
		switch {
		case errno == unix.EINTR:
			if cancellable && w.hungUp() || !deadline.IsZero() && time.Now().After(deadline) {
				return event{kind: eventNone}
			}
		case errno != 0: // ECHILD: it went in another thread's exec(2)
			return event{kind: eventGone}
		case got != 0:
			return parseStatus(status)
		}
	}
}

// hungUp reports whether nobody wants the outcome any more.
func (w *waiter) hungUp() bool {
	watched := [1]unix.PollFd{{Fd: int32(w.cancel), Events: unix.POLLIN | unix.POLLRDHUP}}
	var now unix.Timespec
	if !w.cancelled {
		ready, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&watched)), 1,
			uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		w.cancelled = errno == 0 && ready > 0
	}
	return w.cancelled
}

// sigaction is the kernel's struct sigaction.
type sigaction struct{ handler, flags, restorer, mask uint64 }

// rtSigaction is rt_sigaction(2), around os/signal, which would start
// goroutines, and leaves some signals alone.
func rtSigaction(signal unix.Signal, set, get *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(set)),
		uintptr(unsafe.Pointer(get)), unsafe.Sizeof(sigaction{}.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
