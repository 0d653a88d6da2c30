package inspect

import (
	"cmp"
	"fmt"
	"slices"

	"stray/fdscan"
)

// OriginKind is how a process came by a descriptor.
type OriginKind string

// The kinds of origins.
const (
	Opened   OriginKind = "opened"   // it made the socket, or serves it as the eldest holder
	Forked   OriginKind = "fork"     // a copy that fork(2) made; the program is the same
	Execed   OriginKind = "exec"     // carried into another program, FD_CLOEXEC being clear
	Intended OriginKind = "intended" // handed over on purpose
	Received OriginKind = "received" // over SCM_RIGHTS
	NoOrigin OriginKind = "unknown"
)

// Origin is the verdict on one holder.
type Origin struct {
	Kind OriginKind
	// From is the holder that it came from, when that is alive and known.
	From *fdscan.Process
	// OpenerAlive reports that the process which opened the socket is among
	// its holders; false too when that is not known.
	OpenerAlive bool
	// OpenerExited reports evidence that the opener has ended.
	OpenerExited bool
	// Certain is true only for proof.
	Certain bool
	// Leak reports that nobody wants this holder: it came by inheritance and
	// does not serve.
	Leak     bool
	Evidence []string
}

// party is one process among the holders of a socket, with all its
// descriptors, and the processes that share its table.
type party struct {
	process *fdscan.Process
	holders []*Holder
	serving Serving
	parent  *party // nearest living ancestor that holds the socket
	root    bool
	origin  Origin
}

// judge finds the origin of every holder of s.
func judge(snap *fdscan.Snapshot, s *Socket) {
	parties := s.parties()
	s.Served = Unknown
	for _, p := range parties {
		p.serving = serving(s.Socket, p.process, p.fds())
		p.parent = ancestor(snap, parties, p)
		p.root = p.parent == nil
	}
	s.Served = servedBy(parties)
	j := &jury{snap: snap, socket: s, parties: parties}
	// Roots last: who opened it shows in what became of its children.
	for _, p := range parties {
		if !p.root {
			p.origin = j.heir(p)
		}
	}
	for _, p := range parties {
		if p.root {
			p.origin = j.founder(p)
		}
	}
	alive := slices.ContainsFunc(parties, func(p *party) bool { return p.origin.Kind == Opened })
	for _, p := range parties {
		p.origin.OpenerAlive = alive
		for _, h := range p.holders {
			h.Serving, h.Origin = p.serving, p.origin
		}
	}
}

// servedBy sums up: somebody serves, or surely nobody does.
func servedBy(parties []*party) Serving {
	sum := Idle
	for _, p := range parties {
		switch p.serving {
		case Serves:
			return Serves
		case Unknown:
			sum = Unknown
		case Elsewise:
			if sum == Idle {
				sum = Elsewise
			}
		case Idle:
		}
	}
	if len(parties) == 0 {
		return Unknown
	}
	return sum
}

// parties groups the holders by process, eldest first.
func (s *Socket) parties() []*party {
	byPID := map[int]*party{}
	var parties []*party
	for _, h := range s.Holders {
		p := byPID[h.Process.PID]
		for _, pid := range h.SharesTableWith {
			if p == nil {
				p = byPID[pid]
			}
		}
		if p == nil {
			p = &party{process: h.Process}
			parties = append(parties, p)
		}
		byPID[h.Process.PID] = p
		p.holders = append(p.holders, h)
	}
	slices.SortStableFunc(parties, func(a, b *party) int {
		return cmp.Or(cmp.Compare(a.process.StartTicks, b.process.StartTicks), cmp.Compare(a.process.PID, b.process.PID))
	})
	return parties
}

func (p *party) fds() (fds []int) {
	for _, h := range p.holders {
		if h.Via == fdscan.ViaTable || h.Via == fdscan.ViaThread {
			fds = append(fds, h.FD)
		}
	}
	return fds
}

// survivesExec reports that one of the descriptors lacks FD_CLOEXEC.
func (p *party) survivesExec() bool {
	return slices.ContainsFunc(p.holders, func(h *Holder) bool { return h.CloseOnExec != nil && !*h.CloseOnExec })
}

// ancestor finds the nearest living ancestor of p among the parties.
func ancestor(snap *fdscan.Snapshot, parties []*party, p *party) *party {
	for q := snap.Processes[p.process.PPID]; q != nil; q = snap.Processes[q.PPID] {
		for _, other := range parties {
			if other != p && slices.ContainsFunc(other.holders, func(h *Holder) bool { return h.Process == q }) {
				return other
			}
		}
	}
	return nil
}

// image compares the programs that two processes run.
type image int

const (
	imageUnknown image = iota
	sameImage          // no exec lies between them
	sameProgram        // one program, executed anew
	otherProgram
)

// compareImages tells fork from exec. exec places the stack at random and fork
// keeps it there, so that equal places mean one image (fdscan.Process).
func compareImages(a, b *fdscan.Process) image {
	same := a.ExeInode == b.ExeInode && a.ExeDevice == b.ExeDevice
	if a.ExeInode == 0 || b.ExeInode == 0 {
		if a.Exe == "" || b.Exe == "" {
			return imageUnknown
		}
		same = a.Exe == b.Exe
	}
	switch {
	case !same:
		return otherProgram
	case a.StackStart != 0 && b.StackStart != 0 && a.StackStart != b.StackStart:
		return sameProgram
	}
	return sameImage
}

// jury judges the parties of one socket.
type jury struct {
	snap    *fdscan.Snapshot
	socket  *Socket
	parties []*party
}

// handedOver finds the words that name one of p's descriptors.
func handedOver(p *party) (o Origin, ok bool) {
	e := p.process.Evidence
	if e == nil {
		return Origin{}, false
	}
	for _, h := range p.holders {
		if h.Via != fdscan.ViaTable {
			continue
		}
		if e.Activated > 0 && h.FD >= 3 && h.FD < 3+e.Activated {
			return Origin{Kind: Intended, Certain: true, Evidence: []string{
				fmt.Sprintf("socket activation: LISTEN_FDS=%d and LISTEN_PID name this process, and fd %d is among them", e.Activated, h.FD),
			}}, true
		}
		if words := e.HandOvers[h.FD]; words != "" {
			return Origin{Kind: Intended, Evidence: []string{fmt.Sprintf("fd %d is named in %s", h.FD, words)}}, true
		}
	}
	return Origin{}, false
}

// heir judges a party that has a living ancestor among the holders.
func (j *jury) heir(p *party) Origin {
	from := p.parent.process
	if o, ok := handedOver(p); ok {
		o.From = from
		return o
	}
	if o, ok := j.inFlight(p); ok {
		return o
	}
	o := Origin{From: from}
	say := func(format string, args ...any) { o.Evidence = append(o.Evidence, fmt.Sprintf(format, args...)) }
	switch compareImages(p.process, from) {
	case sameImage:
		o.Kind, o.Certain = Forked, p.process.StackStart != 0
		say("forked from pid %d, no exec since", from.PID)
		switch {
		case p.serving == Serves:
			o.Kind = Intended
			say("a worker: it serves the %s", j.socket.Noun())
		case p.serving == Idle && j.socket.State == fdscan.Listen:
			o.Leak = true
			j.sayIdle(p, say)
		}
	case sameProgram, otherProgram:
		switch {
		case p.serving == Serves:
			o.Kind = Intended
			say("it came by exec from pid %d (%s), and it serves the %s", from.PID, from.Comm, j.socket.Noun())
		case !p.survivesExec():
			// exec would have closed it: it has set the flag afterwards,
			// which takes knowing the descriptor, or received it.
			o.Kind = Intended
			say("another program than pid %d (%s), and FD_CLOEXEC is set: it has taken the descriptor over", from.PID, from.Comm)
		default:
			o.Kind, o.Certain = Execed, true
			say("another program than pid %d (%s), which it descends from, and FD_CLOEXEC is clear", from.PID, from.Comm)
			if p.serving.No() || j.socket.State == fdscan.Bound && j.cannotUse(p) {
				o.Leak = true
				j.sayIdle(p, say)
			}
		}
	case imageUnknown:
		o.Kind = NoOrigin
		say("a descendant of pid %d, but the program may not be read", from.PID)
	}
	return o
}

// cannotUse reports a program that has no call to use the socket with.
func (j *jury) cannotUse(p *party) bool {
	e := p.process.Evidence
	return e != nil && e.Imports != nil && !e.Imports.Listen && !e.Imports.Accept && !e.Imports.Receive
}

func (j *jury) sayIdle(p *party, say func(string, ...any)) {
	e := p.process.Evidence
	switch {
	case j.cannotUse(p) || e != nil && e.Imports != nil && !e.Imports.Accept && j.socket.State == fdscan.Listen:
		say("it does not serve: the program has no call to accept(2)")
	case p.serving == Elsewise:
		say("it does not serve: it waits for other descriptors (%s)", waitText(p.process))
	default:
		say("it does not serve: every thread waits for something else (%s)", waitText(p.process))
	}
}

func (j *jury) inFlight(p *party) (Origin, bool) {
	for _, h := range p.holders {
		if h.Via != fdscan.ViaMessage {
			return Origin{}, false
		}
	}
	return Origin{Kind: Received, Certain: true, Evidence: []string{"it is in an SCM_RIGHTS message on its way: " + p.holders[0].Note}}, true
}

// founder judges a party without a living ancestor among the holders: who
// opened the socket, or what is left after the opener's end.
func (j *jury) founder(p *party) Origin {
	if o, ok := handedOver(p); ok {
		return o
	}
	if o, ok := j.inFlight(p); ok {
		return o
	}
	o := Origin{}
	say := func(format string, args ...any) { o.Evidence = append(o.Evidence, fmt.Sprintf(format, args...)) }
	eldest := j.eldestServer()
	lost := j.lostParent(p)
	switch {
	case eldest == p:
		o.Kind = Opened
		say("the eldest holder that serves it")
	case p.serving == Serves:
		o = j.serves(p, eldest)
	case j.hasHeirsInUse(p):
		o.Kind = Opened
		say("its children serve it")
	case eldest != nil && compareImages(p.process, eldest.process) == sameImage && p.process.StackStart != 0:
		o.Kind, o.Certain = Forked, true
		say("one image with pid %d: both were forked from one process", eldest.process.PID)
		if p.serving == Idle && j.socket.State == fdscan.Listen {
			o.Leak = true
			j.sayIdle(p, say)
		}
	case eldest != nil && p.survivesExec() && compareImages(p.process, eldest.process) != sameImage && p.serving.No():
		o.Kind, o.Leak = Execed, true
		say("another program than pid %d (%s), which serves it, and FD_CLOEXEC is clear", eldest.process.PID, eldest.process.Comm)
		j.sayIdle(p, say)
	case j.socket.IsPort() && p.survivesExec() && j.cannotHaveOpened(p):
		o.Kind, o.Leak = Execed, true
		o.OpenerExited = lost != ""
		say("FD_CLOEXEC is clear, and the program has no call to %s: it cannot have opened it", j.openingCall())
		if lost != "" {
			say("%s", lost)
		} else if parent := j.snap.Processes[p.process.PPID]; parent != nil && parent.PID != 1 {
			say("its parent, pid %d (%s), does not hold it now", parent.PID, parent.Comm)
		}
	case j.socket.State == fdscan.Listen && p.serving == Idle && lost != "":
		o.Kind, o.Leak, o.OpenerExited = Forked, true, true
		say("%s", lost)
		j.sayIdle(p, say)
	case j.socket.State == fdscan.Bound && lost == "", j.socket.State == fdscan.Listen && p.serving == Elsewise && lost == "":
		// Nothing points to another opener, and nothing proves this one.
		o.Kind = Opened
		say("the eldest holder, and nothing points to another opener")
	case !j.socket.IsPort() && j.parties[0] == p:
		o.Kind = Opened
		say("the eldest holder")
	default:
		o.Kind = NoOrigin
		if lost != "" {
			say("%s", lost)
		}
		switch p.serving {
		case Unknown:
			say("whether it serves cannot be told (%s)", cmp.Or(waitText(p.process), "its threads may not be read"))
		case Serves, Idle, Elsewise:
			say("no thread waits on it (%s); it may have opened it itself", waitText(p.process))
		}
	}
	return o
}

// serves judges a root that serves, beside an elder one.
func (j *jury) serves(p, eldest *party) Origin {
	if compareImages(p.process, eldest.process) == sameImage {
		return Origin{Kind: Intended, From: nil, Certain: p.process.StackStart != 0, Evidence: []string{
			fmt.Sprintf("a worker of the same program as pid %d: it serves the %s, and the process that forked both has exited or let go of it", eldest.process.PID, j.socket.Noun()),
		}}
	}
	return Origin{Kind: Received, From: eldest.process, Evidence: []string{
		fmt.Sprintf("it serves, and neither it nor pid %d (%s) descends from the other", eldest.process.PID, eldest.process.Comm),
	}}
}

// eldestServer is the eldest root that serves; nil when none does.
func (j *jury) eldestServer() *party {
	for _, p := range j.parties {
		if p.root && p.serving == Serves {
			return p
		}
	}
	return nil
}

// hasHeirsInUse reports that a descendant of p serves, is busy, or was meant
// to have the socket: then p opened it for them.
func (j *jury) hasHeirsInUse(p *party) bool {
	return slices.ContainsFunc(j.parties, func(q *party) bool {
		for a := q.parent; a != nil; a = a.parent {
			if a == p {
				return q.serving == Serves || q.origin.Kind == Intended || q.origin.Kind == Forked && !q.origin.Leak
			}
		}
		return false
	})
}

// lostParent says what shows that p's parent, which may have opened the
// socket, has ended; "" when nothing does.
func (j *jury) lostParent(p *party) string {
	q := p.process
	alive := func(pid int) bool { return j.snap.Processes[pid] != nil }
	hidden := slices.ContainsFunc(j.snap.Gaps, func(g fdscan.Gap) bool { return g.PID == 0 && g.Scope == fdscan.ScopeHolders })
	switch {
	case hidden:
		return "" // an absent process may only be hidden
	case q.Group != q.PID && q.Group > 0 && !alive(q.Group):
		return fmt.Sprintf("the leader of its process group, pid %d, has exited", q.Group)
	case q.Session != q.PID && q.Session > 0 && !alive(q.Session):
		return fmt.Sprintf("the leader of its session, pid %d, has exited", q.Session)
	case q.PPID == 1 && q.Group != q.PID && q.Group > 0:
		return "its parent has exited: it was adopted by pid 1"
	}
	return ""
}

func (j *jury) openingCall() string {
	if j.socket.State == fdscan.Listen {
		return "listen(2)"
	}
	return "receive from it"
}

// cannotHaveOpened reports a program without the call that made the socket
// what it is.
func (j *jury) cannotHaveOpened(p *party) bool {
	e := p.process.Evidence
	if e == nil || e.Imports == nil {
		return false
	}
	if j.socket.State == fdscan.Listen {
		return !e.Imports.Listen
	}
	return j.cannotUse(p)
}
