package tracee

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The order of things in this file is what keeps the target whole.
//
// A call begins and ends with the carrier at PTRACE_EVENT_STOP, inside the
// kernel's signal handling, with everything its own. In between:
//
//	block its signals, set its registers to the call    ← from here
//	PTRACE_SYSCALL → the stop at the entry: is it ours?
//	PTRACE_SYSCALL → the stop at the return: the result
//	PTRACE_INTERRUPT, put registers and signals back    ← to here it is not its own
//	PTRACE_CONT → PTRACE_EVENT_STOP
//
// Stops at the system call, not single steps: a single step ends in a forced
// SIGTRAP, and a program that blocks SIGTRAP at that moment loses its handler.
//
// The interrupt comes before the registers, because the kernel looks at them
// again on its way to the last stop and after it: a system call that the first
// stop interrupted (-ERESTARTSYS and its kind) starts again from there, or
// gives way to a signal's handler, as it would have without us. Were the thread
// let go at the return, the program would see the kernel's own error number.
// And from there on nothing more is needed of the helper: if it died, the
// kernel would let the thread go in good order.

// attempts is how often a call is begun anew because a signal that cannot be
// blocked came before its entry.
const attempts = 10

// grace is how long after its interruption a call is expected to come back,
// before the caller is told not to wait.
const grace = 2 * time.Second

const problemEnded = "the thread has ended, or the process has become another program"

// callResult is what became of a call.
type callResult struct {
	Value   int64 // what it has returned, or -errno
	Aborted bool  // it was interrupted at the deadline
	// Problem says why there is no value; empty otherwise.
	Problem string
}

// call makes the call in the carrier.
func (e *engine) call(o op, arguments []uint64) callResult {
	number, ok := o.number()
	if !ok || len(arguments) > 6 {
		return callResult{Problem: fmt.Sprintf("no such call: %q", o)}
	}
	e.calling.Lock()
	defer e.calling.Unlock()
	switch {
	case e.stuck:
		return callResult{Problem: "an earlier call did not come back in time, and all was let go"}
	case e.waiter.hungUp():
		return callResult{Problem: "the caller has given up"}
	}
	var args [6]uint64
	copy(args[:], arguments)
	t := e.carrier
	for range attempts {
		switch t.at {
		case atStop:
		case running:
			return callResult{Aborted: true, Problem: "the thread has not come to rest after the last call"}
		default:
			return callResult{Problem: problemEnded}
		}
		result, done := e.try(t, number, args)
		if done {
			return result
		}
		site, refusal := e.findSite(t)
		if refusal != nil {
			return callResult{Problem: refusal.Detail}
		}
		e.site = site
	}
	return callResult{Problem: "signals keep coming in between"}
}

// try makes one attempt. Not done means that nothing has been called. However
// it returns, by a panic too, the thread has its own back.
func (e *engine) try(t *thread, number uint64, args [6]uint64) (result callResult, done bool) {
	defer e.unwind(t)
	if err := e.borrow(t); err != nil {
		return callResult{Problem: err.Error()}, true
	}
	testPoint("borrowed")
	if err := t.begin(e.site, number, args); err != nil {
		return callResult{Problem: err.Error()}, true
	}
	testPoint("begun")
	for t.at == atStop { // a second stop may be due, from job control
		if err := t.contToCall(); err != nil {
			return callResult{Problem: err.Error()}, true
		}
		e.await(t, e.opt.CallTimeout)
	}
	testPoint("entry")
	switch t.at {
	case running:
		return callResult{Problem: "the thread did not get to run", Aborted: true}, true
	case atSignal:
		return callResult{}, false
	case gone, atExec:
		return callResult{Problem: problemEnded}, true
	}
	if err := t.enter(number, args); err != nil {
		return callResult{Problem: err.Error()}, true
	}
	if err := t.contToCall(); err != nil {
		return callResult{Problem: err.Error()}, true
	}
	testPoint("inside")
	if e.await(t, e.opt.CallTimeout); t.at == running {
		result.Aborted = true
		interrupt(t.tid)
		e.awaitLong(t)
	}
	testPoint("exit")
	if t.at != atExit {
		return callResult{Problem: "in the middle of the call " + problemEnded, Aborted: result.Aborted}, true
	}
	var err error
	if result.Value, err = t.result(); err != nil {
		return callResult{Problem: err.Error(), Aborted: result.Aborted}, true
	}
	return result, true
}

// errNotOurs must never be seen: the thread was about to make another call.
var errNotOurs = errors.New("the thread came to another system call than the one that was meant")

// testPoint is called at the points between which a test wants things to go
// wrong.
var testPoint = func(string) {}

// borrow takes what has to be out of the way while a thread makes a call that
// is not its own, and notes it.
func (e *engine) borrow(t *thread) error {
	var err error
	if t.mask, err = getSignalMask(t.tid); err != nil {
		return fmt.Errorf("read the signal mask: %w", err)
	}
	// Before Linux 6.4 this cannot be told (EIO), and is taken to be off.
	t.dispatch, _ = getUserDispatch(t.tid)
	t.borrowed, t.taken = true, time.Now()
	// Signals that come now stay queued, in order and with all they carry.
	if err := setSignalMask(t.tid, allSignals); err != nil {
		return fmt.Errorf("block the signals: %w", err)
	}
	if t.dispatch.Mode != 0 {
		if err := setUserDispatch(t.tid, userDispatch{}); err != nil {
			return fmt.Errorf("switch syscall user dispatch off: %w", err)
		}
	}
	if t.suspended {
		if err := setOptions(t.tid, seizeOptions|unix.PTRACE_O_SUSPEND_SECCOMP); err != nil {
			return fmt.Errorf("suspend seccomp: %w", err)
		}
	}
	return nil
}

// giveBack is the inverse of borrow and of begin. The registers come first: all
// else can wait. It fails only for a thread that SIGKILL has reached.
func (e *engine) giveBack(t *thread) {
	if err := t.restore(); err != nil && err != unix.ESRCH {
		e.fault = fmt.Errorf("thread %d has not got its registers back: %w", t.tid, err)
	}
	setSignalMask(t.tid, t.mask)
	if t.dispatch.Mode != 0 {
		setUserDispatch(t.tid, t.dispatch)
	}
	if t.suspended {
		setOptions(t.tid, seizeOptions)
	}
	t.borrowed = t.unfinished()
	testPoint("restored")
	e.report.Window = max(e.report.Window, time.Since(t.taken))
}

// unwind takes the thread, wherever it stands, back to where it was found, with
// everything its own. It waits for as long as that takes.
func (e *engine) unwind(t *thread) {
	if !t.borrowed {
		return
	}
	for t.borrowed {
		switch t.at {
		case gone, atExec: // nothing is left of what it had
			t.borrowed = false
		case running:
			interrupt(t.tid)
			e.awaitLong(t)
		case atEntry:
			t.skip()
			t.contToCall()
			e.awaitLong(t)
		case atSignal, atStop:
			e.giveBack(t)
		case atExit:
			interrupt(t.tid)
			e.giveBack(t)
			t.cont()
		}
	}
	switch t.at {
	case atSignal:
		// The signal came before the call. Delivering it is the kernel's
		// work, on registers that are the thread's own again.
		interrupt(t.tid)
		t.cont()
		fallthrough
	case running:
		// What the call closed last may be put to rest on the way to this stop,
		// which can take its time (a network file system's). All is in order
		// whether or not the helper is there to see it arrive.
		e.halt(t, time.Now().Add(e.opt.CallTimeout), false)
	}
	t.repair()
}

// rearm has the thread come to its own call and back without making it, where
// that is the only way to tell the kernel how it is to start again.
func (e *engine) rearm(t *thread) {
	if t.at != atStop || !t.needsRearming() {
		return
	}
	defer e.unwind(t)
	if e.borrow(t) == nil {
		t.contToCall()
		e.awaitLong(t)
	}
}

// await waits for the thread's next report. Where none comes in time, or the
// caller hangs up, the thread is still running.
func (e *engine) await(t *thread, limit time.Duration) {
	t.note(e.waiter.next(t.tid, time.Now().Add(limit), true))
}

// awaitLong waits until the thread reports. After the grace it lets the other
// threads go and tells the caller not to wait.
func (e *engine) awaitLong(t *thread) {
	t.note(e.waiter.next(t.tid, time.Now().Add(grace), false))
	if t.at != running {
		return
	}
	if !e.stuck {
		e.stuck = true
		for _, other := range e.threads {
			if other != t {
				e.letGo(other)
			}
		}
		e.conn.send(reply{Stuck: &StuckError{PID: t.pid, TID: t.tid, Helper: os.Getpid()}})
	}
	t.note(e.waiter.next(t.tid, time.Time{}, false))
}
