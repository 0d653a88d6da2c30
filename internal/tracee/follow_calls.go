package tracee

import (
	"time"

	"golang.org/x/sys/unix"
)

// called deals with a thread that a filter has stopped at the beginning of a call,
// and reports whether its end matters.
func (f *follower) called(tid int) bool {
	info, err := callInfo(tid)
	t := thread{tid: tid}
	switch {
	case err != nil || info.operation != bySeccomp: // killed
	case info.architecture == auditArchitecture && info.filterData == stopCreator:
		c := calling{creatorOf(info.number, info.arguments), info.arguments}
		if c.creator != nil && !f.quiet {
			f.calls[tid] = c
			return true
		}
	case info.architecture == auditArchitecture && info.filterData == stopUntraced && info.number == unix.SYS_CLONE:
		// What nobody follows could open nothing: it has the filter too.
		t.setFirstArgument(info.arguments[0] &^ unix.CLONE_UNTRACED)
	default:
		t.refuse() // the program's own filter wants a tracer, and there would be none
	}
	return false
}

// returned deals with a thread at the end of a call.
func (f *follower) returned(p *followed, tid int) {
	c, ok := f.calls[tid]
	delete(f.calls, tid)
	if !ok || f.quiet {
		return
	}
	if made, ok := c.end(tid); ok {
		f.watcher.Created(p.pid, tid, made)
	}
}

// accompany follows on, where nobody can be let go, and tells no more of it.
func (f *follower) accompany() {
	if !f.options.Calls {
		return
	}
	f.quiet, f.watcher = true, deaf{}
	for len(f.processes) > 0 {
		tid, status, err := f.waiter.any(time.Time{}, nil)
		if err != nil {
			return
		}
		f.handle(tid, status)
	}
}

// deaf is a Watcher that does not listen.
type deaf struct{}

func (deaf) Started(int)                       {}
func (deaf) Forked(int, int, bool)             {}
func (deaf) Execed(int)                        {}
func (deaf) Exiting(int, int, unix.WaitStatus) {}
func (deaf) Created(int, int, Creation)        {}
func (deaf) Ended(int)                         {}
