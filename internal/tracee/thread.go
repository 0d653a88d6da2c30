package tracee

import (
	"time"

	"golang.org/x/sys/unix"
)

// place is where a seized thread stands.
type place int

const (
	running  place = iota
	atStop         // stopped as asked, or in a group stop: signals come after it
	atEntry        // about to make the system call of its registers
	atExit         // back from it
	atSignal       // about to have a signal delivered
	atExec         // it is another program now
	gone           // it has ended
)

// thread is one that was seized.
type thread struct {
	pid, tid int
	at       place
	signal   unix.Signal // at atSignal
	entered  bool        // the next system-call stop is a return
	// grouped: a signal has stopped the process (state T), and it stays so.
	grouped bool
	// before is what /proc says it waited in, where registers do not tell.
	before callLine

	// What it had when it was stopped. saved is what it gets back.
	saved    registers
	mask     signalMask
	dispatch userDispatch
	// borrowed: something of it is not its own at the moment.
	borrowed bool
	// suspended: it was granted that its seccomp filter be suspended.
	suspended    bool
	architecture //lint:ignore U1000 arm64 notes something
	// taken is when it got registers that are not its own.
	taken time.Time
}

// cont lets the thread run, and delivers the signal at which it stands.
func (t *thread) cont() error {
	signal := t.signal
	if t.at != atSignal {
		signal = 0
	}
	return t.went(resume(t.tid, signal))
}

// contToCall lets the thread run as far as the next stop at a system call.
func (t *thread) contToCall() error { return t.went(resumeToCall(t.tid)) }

// went notes that the thread runs, unless it could not be made to, which means
// that SIGKILL has come.
func (t *thread) went(err error) error {
	switch err {
	case nil:
		t.at = running
	case unix.ESRCH:
		t.at = running // towards its end, which the next wait will report
		return nil
	}
	return err
}

// note takes over what the thread has reported.
func (t *thread) note(e event) {
	switch e.kind {
	case eventNone:
	case eventStop:
		t.at, t.entered, t.grouped = atStop, false, e.signal != 0
	case eventCall:
		t.at = atEntry
		if t.entered {
			t.at = atExit
		}
		t.entered = !t.entered
	case eventSignal:
		t.at, t.signal = atSignal, e.signal
	case eventExec:
		t.at = atExec
	case eventGone:
		t.at = gone
	case eventOther:
		t.at, t.signal = atSignal, 0
	}
}
