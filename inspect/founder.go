package inspect

import (
	"cmp"
	"fmt"
	"slices"

	"stray/fdscan"
)

// founder judges a party without a living ancestor among the holders: who
// opened the socket, or what is left after the opener's end.
func (j *jury) founder(p *party) Origin {
	if o, ok := handedOver(p); ok {
		return o
	}
	if o, ok := j.listener(p); ok {
		return o
	}
	if o, ok := inFlight(p); ok {
		return o
	}
	if p.wasSeenOpening() && !j.otherListener(p) {
		return opened("it was followed, and got it by no fork and by no exec")
	}
	eldest := j.eldestServer()
	switch {
	case eldest == p:
		return opened("the eldest holder that serves it")
	case p.serving == Serves:
		return j.serves(p, eldest)
	case p.heirServes() && !j.cannotHaveOpened(p):
		return opened("its children serve it")
	case p.hasUse() && !j.cannotHaveOpened(p):
		return opened("its children have it from it")
	case eldest != nil:
		return j.besides(p, eldest)
	}
	return j.remains(p)
}

func opened(because string) Origin { return Origin{Kind: Opened, Evidence: []string{because}} }

// wasSeenOpening reports that a descriptor of p's is known to be of its own making.
func (p *party) wasSeenOpening() bool {
	return slices.ContainsFunc(p.holders, func(h *Holder) bool { return h.Opened })
}

// eldestServer is the eldest root that serves, if possible one of the user who
// made the socket; nil when none does.
func (j *jury) eldestServer() (eldest *party) {
	for _, p := range j.parties {
		switch {
		case p.parent != nil || p.serving != Serves:
		case j.socket.UID != nil && *j.socket.UID == p.process.UID:
			return p
		case eldest == nil:
			eldest = p
		}
	}
	return eldest
}

// serves judges a root that serves, beside an elder one.
func (j *jury) serves(p, eldest *party) Origin {
	if compareImages(p.process, eldest.process) == sameImage {
		return Origin{Kind: Intended, Certain: p.process.StackStart != 0, Evidence: []string{
			fmt.Sprintf("a worker of the same program as pid %d: it serves the %s, and the process that forked both has exited or let go of it", eldest.process.PID, j.socket.Noun()),
		}}
	}
	return Origin{Kind: Received, From: eldest.process, Evidence: []string{
		fmt.Sprintf("it serves, and neither it nor pid %d (%s) descends from the other", eldest.process.PID, eldest.process.Comm),
	}}
}

// besides judges a root that does not serve while another does.
func (j *jury) besides(p, server *party) Origin {
	o := Origin{}
	closed, known := p.closedByExec()
	switch images := compareImages(p.process, server.process); {
	case images == sameImage:
		o.Kind, o.Certain = Forked, p.process.StackStart != 0
		o.say("one image with pid %d: both were forked from one process", server.process.PID)
		if p.serving == Idle && j.isServed() {
			o.Leak = true
			j.sayIdle(p, &o)
		}
	case images == imageUnknown, !known:
		o.Kind = NoOrigin
		o.say("pid %d serves it; what this process has to do with it may not be read", server.process.PID)
	case closed && !p.process.Unexeced:
		o.Kind = Received
		o.say("pid %d (%s) serves it, and FD_CLOEXEC is set: it did not come through the exec of this program", server.process.PID, server.process.Comm)
	case j.isExecLeak(p, images):
		o.Kind, o.Leak = Execed, true
		o.say("another program than pid %d (%s), which serves it, and FD_CLOEXEC is clear", server.process.PID, server.process.Comm)
		j.sayIdle(p, &o)
	default:
		o.Kind = NoOrigin
		o.say("pid %d (%s) serves it, and neither descends from the other", server.process.PID, server.process.Comm)
	}
	return o
}

// remains judges a root when no root serves: either it opened the socket, or it
// is what an opener has left behind.
func (j *jury) remains(p *party) Origin {
	lost, other := j.lostParent(p), j.otherListener(p)
	o := Origin{OpenerExited: lost != ""}
	closed, known := p.closedByExec()
	copied := p.process.Unexeced
	switch {
	case j.socket.IsPort() && p.survivesExec() && !copied && j.cannotHaveOpened(p):
		o.Kind, o.Leak = Execed, !p.hasUse()
		o.say("FD_CLOEXEC is clear, and the program has no call to %s: it cannot have opened it", j.openingCall())
		if q := j.elder(p); q != nil {
			o.From, o.OpenerExited = q.process, false
			o.say("pid %d (%s) has it under the same number, is older, and may have opened it", q.process.PID, q.process.Comm)
		} else {
			j.sayOpener(p, &o, lost)
		}
		if p.hasUse() {
			o.say("its children have it from it, and may use it")
		}
	case j.isServed() && p.serving == Idle && copied && (lost != "" || other):
		o.Kind, o.Leak = Forked, true
		o.say("a copy that fork made: it has executed no program since")
		j.sayOpener(p, &o, lost)
		j.sayIdle(p, &o)
	case other && p.survivesExec() && !copied && p.serving.No() && !p.hasUse():
		o.Kind, o.Leak = Execed, true
		o.say("FD_CLOEXEC is clear, and another process called listen(2)")
		j.sayOpener(p, &o, lost)
		j.sayIdle(p, &o)
	case other && known && closed && !copied:
		o.Kind = Received
		o.say("FD_CLOEXEC is set, so that it did not come through exec, and another process called listen(2)")
		j.sayOpener(p, &o, lost)
	case known && closed && !copied:
		// It has not come through the exec that made this program, and
		// there is nobody that it could be from.
		return opened("FD_CLOEXEC is set, so that it did not come through exec, and nobody else has it who could have opened it")
	case len(p.heirs) > 0 && lost == "":
		return opened("the eldest holder, from which the others have it")
	case j.socket.State == fdscan.Bound && lost == "", j.socket.State == fdscan.Listen && p.serving == Elsewise && lost == "":
		return opened("the eldest holder, and nothing points to another opener")
	case !j.socket.IsPort() && j.parties[0] == p:
		return opened("the eldest holder")
	default:
		o.Kind, o.OpenerExited = NoOrigin, false
		if lost != "" {
			o.say("%s", lost)
		}
		if p.busy {
			o.say("it has a connection of the %s for itself, and is busy (%s)", j.socket.Noun(), waitText(p.process))
		} else if p.serving == Unknown {
			o.say("whether it serves cannot be told (%s)", cmp.Or(waitText(p.process), "its threads may not be read"))
		} else {
			o.say("no thread waits on it (%s); it may have opened it itself", waitText(p.process))
		}
	}
	return o
}

// elder is the holder from which p has the socket by processes that have ended
// since, as far as can be seen: an elder one with the same number, which may have
// opened it. It is nil when there is none.
func (j *jury) elder(p *party) *party {
	for _, q := range j.parties {
		if fdscan.CompareAge(q.process, p.process) < 0 && q.sameNumber(p) && !j.cannotHaveOpened(q) && j.lostParent(q) == "" {
			return q
		}
	}
	return nil
}

// otherListener reports that another process than p called listen(2).
func (j *jury) otherListener(p *party) bool {
	return j.socket.ListenedBy != 0 && !slices.ContainsFunc(p.processes, func(q *fdscan.Process) bool { return q.PID == j.socket.ListenedBy })
}

// sayOpener tells what is known of the opener.
func (j *jury) sayOpener(p *party, o *Origin, lost string) {
	opener := j.snap.Processes[j.socket.ListenedBy]
	switch {
	case lost != "":
		o.say("%s", lost)
		return
	case j.otherListener(p) && opener != nil && fdscan.CompareAge(opener, p.process) < 0:
		o.say("pid %d (%s), which called listen(2), does not hold it now", opener.PID, opener.Comm)
		return
	}
	if parent := j.snap.Parent(p.process); parent != nil && parent.PID != 1 {
		o.say("its parent, pid %d (%s), does not hold it now", parent.PID, parent.Comm)
	}
}

// lostParent says what shows that the process which may have opened the socket
// has ended; "" when nothing does.
func (j *jury) lostParent(p *party) string {
	q := p.process
	// An absent process may only be hidden.
	if slices.ContainsFunc(j.snap.Gaps, func(g fdscan.Gap) bool { return g.PID == 0 && g.Scope == fdscan.ScopeHolders }) {
		return ""
	}
	ended := func(pid int) bool {
		other := j.snap.Processes[pid]
		return pid > 0 && pid != q.PID && (other == nil || other.State == 'Z' && other.Threads <= 1)
	}
	parent := j.snap.Parent(q)
	switch {
	case j.otherListener(p) && ended(j.socket.ListenedBy):
		return fmt.Sprintf("pid %d, which called listen(2) (SO_PEERCRED of the socket), has exited", j.socket.ListenedBy)
	case ended(q.Group):
		return fmt.Sprintf("the leader of its process group, pid %d, has exited", q.Group)
	case ended(q.Session):
		return fmt.Sprintf("the leader of its session, pid %d, has exited", q.Session)
	case q.PPID == 1 && q.Group != q.PID && q.Group > 0:
		return "its parent has exited: it was adopted by pid 1"
	case q.Unexeced && parent != nil && q.Exe != "" && parent.Exe != "" && q.Exe != parent.Exe && q.Session != q.PID:
		return fmt.Sprintf("what forked it has exited: its parent, pid %d (%s), is another program", parent.PID, parent.Comm)
	}
	return ""
}

func (j *jury) openingCall() string {
	if j.socket.State == fdscan.Listen {
		return "listen(2)"
	}
	return "use a socket with"
}

// cannotHaveOpened reports a program without the call that made the socket
// what it is.
func (j *jury) cannotHaveOpened(p *party) bool {
	e := p.process.Evidence
	if e == nil || e.Imports == nil || e.Ring {
		return false
	}
	if j.socket.State == fdscan.Listen {
		return !e.Imports.Listen
	}
	return j.cannotUse(p)
}
