package tracee

import (
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

// A waiter waits for seized threads. wait4(2) has no deadline, and SIGCHLD
// belongs to the Go runtime, so it looks a few times, for the length of a quick
// stop, and then sleeps in short naps, which SIGCHLD cuts short: the kernel sends
// it to the tracing thread first. It does not yield the processor: on a busy
// machine it would get it back too late.
type waiter struct {
	// cancel is a socket: what arrives on it, its end included, means that
	// nobody wants the outcome any more.
	cancel    int
	cancelled bool
}

const (
	looks = 30
	nap   = 100 * time.Microsecond
)

// next returns what the thread reports, or eventNone once the deadline has
// passed or, when the wait is one that can be, it was cancelled. With the zero
// time it waits for ever.
func (w *waiter) next(tid int, deadline time.Time, cancellable bool) event {
	for turn := 0; ; turn++ {
		var status unix.WaitStatus
		got, _, errno := unix.RawSyscall6(unix.SYS_WAIT4, uintptr(tid), uintptr(unsafe.Pointer(&status)),
			unix.WALL|unix.WNOHANG|unix.WNOTHREAD, 0, 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0: // ECHILD: it went in another thread's exec(2)
			return event{kind: eventGone}
		case got != 0:
			return parseStatus(status)
		case turn < looks:
			continue
		case cancellable && w.cancelled, !deadline.IsZero() && !time.Now().Before(deadline):
			return event{kind: eventNone}
		}
		w.nap()
	}
}

// nap sleeps until the nap is over, a SIGCHLD comes, or the wait is cancelled.
func (w *waiter) nap() { w.poll(nap) }

// hungUp reports whether nobody wants the outcome any more.
func (w *waiter) hungUp() bool {
	w.poll(0)
	return w.cancelled
}

func (w *waiter) poll(limit time.Duration) {
	watched := [1]unix.PollFd{{Fd: int32(w.cancel), Events: unix.POLLIN | unix.POLLRDHUP}}
	if w.cancelled {
		watched[0].Fd = -1 // poll(2) ignores it
	}
	length := unix.NsecToTimespec(limit.Nanoseconds())
	ready, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&watched)), 1,
		uintptr(unsafe.Pointer(&length)), 0, 0, 0)
	if errno == 0 && ready > 0 {
		w.cancelled = true
	}
}
