package tracee

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"
)

// mostImportant are, of too many threads to stop, some that wait in a system
// call and could make ours, and all that wait on the descriptors to be acted on.
func (e *engine) mostImportant(members []member) []member {
	const candidates = 3
	var waiting, idle, first []member
	for _, m := range members {
		line, err := m.callLine()
		switch {
		case err != nil:
		case line.inProgress && e.actedOn(line.number, line.arguments[0]):
			waiting = append(waiting, m)
		case line.inProgress && len(idle) < candidates:
			idle = append(idle, m)
		case !line.inProgress && len(first) < candidates:
			first = append(first, m)
		}
	}
	if len(idle) == 0 && len(waiting) == 0 {
		return first
	}
	return append(idle, waiting...)
}

// actedOn reports whether a call waits on a descriptor that is to be acted on.
func (e *engine) actedOn(number int, firstArgument uint64) bool {
	return slices.Contains(e.opt.FDs, int(int32(firstArgument))) && slices.Contains(callsOnDescriptor, number)
}

// choose picks the thread that is to make the calls: best one that waits in a
// system call, on none of the descriptors to be acted on; then one that waits
// on them; then one that runs the program's own code.
func (e *engine) choose() *Refusal {
	if len(e.threads) == 0 {
		return e.processes[0].moved("has lost the threads that were found")
	}
	best := slices.Clone(e.threads)
	slices.SortStableFunc(best, func(a, b *thread) int { return cmp.Compare(e.rank(a), e.rank(b)) })
	refusal := &Refusal{Reason: NoThread, PID: e.target.PID, Detail: "has no thread that could make a call"}
	for _, t := range best {
		// Only the target's own threads: the others' credentials may differ.
		if t.pid != e.target.PID || !e.hasTable(t.tid) {
			continue
		}
		if t.at != atStop {
			refusal = e.processes[0].moved("has lost a thread")
			continue
		}
		if !t.saved.native() {
			refusal = &Refusal{Reason: Wide32, PID: t.pid, TID: t.tid, Detail: "runs 32-bit code, or is a worker of the kernel"}
			continue
		}
		site, why := e.findSite(t)
		if why == nil {
			why = e.suspendSeccomp(t)
		}
		if why != nil {
			refusal = why
			continue
		}
		e.carrier, e.site = t, site
		e.report.Carrier = t.tid
		return nil
	}
	return refusal
}

func (e *engine) rank(t *thread) int {
	switch number, argument, ok := t.call(); {
	case !ok:
		return 2
	case e.actedOn(number, argument):
		return 1
	}
	return 0
}

// suspendSeccomp sees to it that no seccomp filter judges the calls, or that
// there is none.
func (e *engine) suspendSeccomp(t *thread) *Refusal {
	if setOptions(t.tid, seizeOptions|unix.PTRACE_O_SUSPEND_SECCOMP) == nil {
		setOptions(t.tid, seizeOptions) // until it is needed
		t.suspended = true
		return nil
	}
	status, err := e.processes[0].status(taskFile(t.tid, "status"))
	switch {
	case err != nil:
		return unreadable(t.pid, err)
	case status.seccomp != 0:
		r := seccompRefusal(t.pid, t.tid, status.seccomp)
		if r == nil {
			r = &Refusal{Reason: Seccomp, PID: t.pid, TID: t.tid, Detail: "has a seccomp filter, and this kernel cannot suspend it"}
		}
		return r
	}
	return nil
}
