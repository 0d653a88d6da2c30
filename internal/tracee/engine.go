package tracee

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// engine is the helper's side of one Do. All of it runs on one thread.
type engine struct {
	conn   conn
	waiter waiter
	target Target
	opt    Options

	processes []*process // the target first, then the sharers of its table
	owner     int        // the thread that stands for the descriptor table
	noKcmp    bool       // kcmp(2) is refused: whose table it is cannot be told
	aux       auxiliary
	vdso      uint64 // address of a system-call instruction, 0 when there is none

	threads []*thread
	carrier *thread
	site    uint64 // the system-call instruction that carrier uses
	began   time.Time
	stuck   bool  // the carrier does not come back from a call
	fault   error // what must not happen has
	report  Report

	calling  sync.Mutex // held while the carrier may have what is not its own
	released bool       // guarded by calling
}

// stop stops the threads of the target's table and chooses the one to make the
// calls. After a refusal some may be stopped; release lets them go.
func (e *engine) stop() *Refusal {
	const tries = 5
	for try := 1; ; try++ {
		refusal := e.stopOnce()
		if refusal == nil || refusal.Reason != Moved || try == tries {
			return refusal
		}
		e.letGoAll()
	}
}

func (e *engine) stopOnce() *Refusal {
	p, refusal := find(e.target)
	if refusal != nil {
		return refusal
	}
	e.processes = append(e.processes, p)
	owner, refusals := p.preflight(e.target, e.opt)
	for _, refusal := range refusals {
		switch {
		case refusal.Reason == Seccomp:
			// A filter may be on some threads only: the attempt will tell.
		case refusal.Reason == Traced && slices.Equal(refusal.Others, []int{os.Getpid()}):
			return e.becameAnother() // a thread seized before under another number
		default:
			return refusal
		}
	}
	e.owner = owner
	vector, err := p.read(taskFile(owner, "auxv"))
	if err != nil {
		return p.moved("cannot be read: %v", err)
	}
	e.aux = parseAuxiliary(vector)
	e.vdso = findInstruction(owner, e.aux.vdso)
	if refusal := e.findSharers(); refusal != nil {
		return refusal
	}
	// The others stand still for as long as the last one takes to stop: one
	// that sleeps deeply is waited for before.
	for _, p := range e.processes {
		if refusal := p.sleepsDeeply(e.opt.StopTimeout); refusal != nil {
			return refusal
		}
	}
	e.began = time.Now()
	if refusal := e.stopThreads(); refusal != nil {
		return refusal
	}
	return e.choose()
}

// findSharers opens the other processes that have the table.
func (e *engine) findSharers() *Refusal {
	p := e.processes[0]
	others, err := tableSharers(p.pid, e.owner)
	if err != nil && !p.lives(e.owner) {
		return p.moved("has lost a thread")
	}
	e.noKcmp = err != nil
	if refusal := p.shared(others, e.opt); refusal != nil {
		return refusal
	}
	for _, pid := range others {
		if sharer, err := openProcess(pid); err == nil { // else it has ended
			e.processes = append(e.processes, sharer)
		}
	}
	return nil
}

// moved is the refusal for a process that changed while it was looked at.
func (p *process) moved(format string, args ...any) *Refusal {
	if _, err := p.stat("stat"); err != nil {
		return unreadable(p.pid, err)
	}
	return &Refusal{Reason: Moved, PID: p.pid, Detail: fmt.Sprintf(format, args...)}
}

func (e *engine) weaken(format string, args ...any) {
	e.report.Exclusive = false
	if e.report.Weaker == "" {
		e.report.Weaker = fmt.Sprintf(format, args...)
	}
}

// member is a thread that has the table.
type member struct {
	process *process
	tid     int
}

func (m member) callLine() (callLine, error) {
	text, err := m.process.read(taskFile(m.tid, "syscall"))
	if err != nil {
		return callLine{}, err
	}
	return parseCallLine(text)
}

// members lists the threads that have the table and are not seized yet. The
// owner of the table comes first. The list is whole unless threads came or went
// while it was made.
func (e *engine) members() (members []member, whole bool, refusal *Refusal) {
	whole = true
	for i, p := range e.processes {
		threads, err := p.threads()
		switch {
		case err != nil && i == 0:
			return nil, false, unreadable(p.pid, err)
		case err != nil:
			continue // the sharer has ended
		}
		for _, tid := range threads {
			if !e.seized(tid) && e.hasTable(tid) {
				members = append(members, member{p, tid})
			}
		}
		if len(threads) != p.threadCount() {
			whole = false
		}
	}
	first := slices.IndexFunc(members, func(m member) bool { return m.tid == e.owner })
	if first > 0 {
		members[0], members[first] = members[first], members[0]
	}
	return members, whole, nil
}

func (e *engine) seized(tid int) bool {
	return slices.ContainsFunc(e.threads, func(t *thread) bool { return t.tid == tid })
}

// hasTable reports whether tid has the table. Where the kernel does not say,
// the threads of one process are taken to have one table, as nearly all do.
func (e *engine) hasTable(tid int) bool {
	if tid == e.owner || e.noKcmp {
		return true
	}
	same, err := sharesTable(e.owner, tid)
	return err == nil && same
}

// stopThreads stops the threads that have the table, those that they start
// meanwhile too, until a whole list shows no more. Of too many it stops some.
func (e *engine) stopThreads() *Refusal {
	deadline := e.began.Add(e.opt.StopTimeout)
	members, _, refusal := e.members()
	if refusal != nil {
		return refusal
	}
	all := len(members) <= e.opt.MaxThreads
	e.report.Exclusive = true
	if !all {
		e.weaken("it has %d threads, and only those that matter most were stopped", len(members))
		members = e.mostImportant(members)
	}
	if e.noKcmp {
		e.weaken("kcmp(2) is not permitted: other processes may have the same descriptor table")
	}
	for whole := false; len(members) > 0 || !whole; {
		already := len(e.threads)
		for _, m := range members {
			if refusal := e.seize(m); refusal != nil {
				return refusal
			}
		}
		for _, t := range e.threads[already:] {
			// What has been asked to stop is waited for, though nobody may want the
			// outcome any more: else its call would fail with EINTR.
			if !e.halt(t, deadline, true) && !(e.waiter.cancelled && e.halt(t, deadline, false)) {
				return e.doesNotStop(t)
			}
			t.repair()
			e.rearm(t)
		}
		if e.waiter.cancelled {
			return &Refusal{Reason: Uninterruptible, PID: e.target.PID, Detail: "is let go: nobody waits for the outcome any more"}
		}
		if !all || e.holdsAll() {
			break
		}
		if members, whole, refusal = e.members(); refusal != nil {
			return refusal
		}
		if time.Now().After(deadline) {
			return e.processes[0].moved("starts threads faster than they can be stopped")
		}
	}
	for _, t := range e.threads {
		if t.at == atExec {
			return e.becameAnother()
		}
	}
	e.threads = slices.DeleteFunc(e.threads, func(t *thread) bool { return t.at == gone })
	for _, t := range e.threads {
		if number, argument, ok := t.call(); ok && e.actedOn(number, argument) {
			e.report.Interrupted = append(e.report.Interrupted, t.tid)
		}
	}
	e.report.Threads = len(e.threads)
	return nil
}

// holdsAll reports whether the threads that were stopped are all that there are,
// whatever table they have. It is quicker than a list.
func (e *engine) holdsAll() bool {
	for _, p := range e.processes {
		held := 0
		for _, t := range e.threads {
			if t.pid == p.pid && t.at == atStop {
				held++
			}
		}
		if held != p.threadCount() {
			return false
		}
	}
	return true
}

func (e *engine) becameAnother() *Refusal {
	return &Refusal{Reason: Replaced, PID: e.target.PID, Detail: "has become another program just now"}
}

// seize seizes a thread and asks it to stop. One that has ended is left out.
func (e *engine) seize(m member) *Refusal {
	t := &thread{pid: m.process.pid, tid: m.tid, at: running}
	if needsCallLine {
		t.before, _ = m.callLine()
	}
	const tries = 3
	for try := 1; ; try++ {
		err := seize(m.tid)
		if err == nil {
			break
		}
		// EPERM is the answer also for a thread that has ended, or just takes
		// the number of its leader, in exec(2).
		if err == unix.ESRCH || !m.process.lives(m.tid) {
			return nil
		}
		status, _ := m.process.status(taskFile(m.tid, "status"))
		switch {
		case status.tracer == os.Getpid():
			return e.becameAnother() // as above
		case status.tracer != 0:
			return traced(m.process.pid, m.tid, status.tracer)
		case try == tries:
			return &Refusal{
				Reason: NotPermitted, PID: m.process.pid, TID: m.tid, Needs: "CAP_SYS_PTRACE",
				Detail: fmt.Sprintf("may not be traced, or is by a process that cannot be seen: %v", err),
			}
		}
	}
	// From here the number belongs to this thread and no other; but it may have
	// changed hands since it was listed.
	interrupt(m.tid)
	if m.process.has(m.tid) {
		e.threads = append(e.threads, t)
		return nil
	}
	e.halt(t, time.Now().Add(e.opt.StopTimeout), false)
	e.letGo(t)
	return nil
}

// halt waits until the thread, which was interrupted, has stopped, and delivers
// the signals that it reports before. It reports whether the thread stands
// still or is gone; it waits as waiter.next does.
func (e *engine) halt(t *thread, deadline time.Time, cancellable bool) bool {
	for {
		t.note(e.waiter.next(t.tid, deadline, cancellable))
		switch t.at {
		case running:
			return false
		case atStop, atExec, gone:
			return true
		}
		t.cont()
	}
}

func (e *engine) doesNotStop(t *thread) *Refusal {
	for _, p := range e.processes {
		if p.pid != t.pid {
			continue
		}
		stat, err := p.stat(taskFile(t.tid, "stat"))
		if err == nil && stat.state != 'D' {
			return &Refusal{
				Reason: Uninterruptible, PID: t.pid, TID: t.tid,
				Detail: fmt.Sprintf("did not stop within %v (state %c)", e.opt.StopTimeout, stat.state),
			}
		}
	}
	return uninterruptible(t.pid, t.tid)
}

// release lets go of every thread, in whatever state things are.
func (e *engine) release() {
	e.calling.Lock()
	defer e.calling.Unlock()
	e.letGoAll()
	e.released = true
}

// letGoAll lets go in the reverse order of the stop.
func (e *engine) letGoAll() {
	for _, t := range slices.Backward(e.threads) {
		e.unwind(t)
		e.letGo(t)
	}
	if e.threads != nil {
		e.report.Held = time.Since(e.began)
	}
	for _, p := range e.processes {
		p.close()
	}
	e.threads, e.processes, e.carrier = nil, nil, nil
}

// letGo detaches from a thread that stands still. One that runs cannot be let
// go: the kernel does it when the helper ends.
func (e *engine) letGo(t *thread) {
	switch t.at {
	case atSignal:
		detach(t.tid, t.signal)
	case atStop, atEntry, atExit, atExec:
		detach(t.tid, 0)
	}
	t.at = gone
}
