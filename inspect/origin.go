package inspect

import (
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

// judge finds the origin of every holder of s; connections are those at its
// place.
func judge(snap *fdscan.Snapshot, s *Socket, connections []*fdscan.Socket) {
	parties := s.parties(snap)
	s.Served = Unknown
	if len(parties) > 0 {
		s.Served = Idle
	}
	j := &jury{snap: snap, socket: s, connections: connections, parties: parties}
	j.findBusy()
	for _, p := range parties {
		s.Served = s.Served.more(p.serving)
		if p.parent == nil {
			// Last, since who opened it shows in what became of its heirs.
			j.heirs(p)
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

// jury judges the parties of one socket.
type jury struct {
	snap        *fdscan.Snapshot
	socket      *Socket
	connections []*fdscan.Socket // that it may have accepted
	parties     []*party
}

// heirs judges the heirs of p, each after its own.
func (j *jury) heirs(p *party) {
	for _, h := range p.heirs {
		j.heirs(h)
		h.origin = j.heir(h)
	}
}

// isServed reports a socket that somebody can wait on: a listener, or a bound
// datagram socket. For others idleness means nothing.
func (j *jury) isServed() bool {
	return j.socket.State == fdscan.Listen || j.socket.State == fdscan.Bound && !j.socket.Protocol.Stream()
}

// say adds to the evidence.
func (o *Origin) say(format string, args ...any) {
	o.Evidence = append(o.Evidence, fmt.Sprintf(format, args...))
}

// handedOver finds what names one of p's descriptors, or the place where it was
// put for the program to find.
func handedOver(p *party) (o Origin, ok bool) {
	for _, h := range p.holders {
		e := h.Process.Evidence
		if h.Via != fdscan.ViaTable || e == nil || h.Process.Unexeced {
			continue // a copy has the words of what it was copied from
		}
		switch words := e.HandOvers[h.FD]; {
		case e.Activated > 0 && h.FD >= 3 && h.FD < 3+e.Activated:
			return Origin{Kind: Intended, Certain: true, Evidence: []string{
				fmt.Sprintf("socket activation: LISTEN_FDS=%d and LISTEN_PID name this process, and fd %d is among them", e.Activated, h.FD),
			}}, true
		case words != "":
			return Origin{Kind: Intended, Evidence: []string{fmt.Sprintf("fd %d is named in %s", h.FD, words)}}, true
		case h.FD <= 2:
			return Origin{Kind: Intended, Evidence: []string{
				fmt.Sprintf("it is fd %d, where inetd and FastCGI put it for a program: nothing comes there by accident", h.FD),
			}}, true
		}
	}
	return Origin{}, false
}

// listener is the origin of what SO_PEERCRED proves to have called listen(2).
func (j *jury) listener(p *party) (Origin, bool) {
	if !slices.ContainsFunc(p.processes, func(q *fdscan.Process) bool { return q.PID == j.socket.ListenedBy }) {
		return Origin{}, false
	}
	return Origin{Kind: Opened, Certain: true, Evidence: []string{"it called listen(2): SO_PEERCRED of the socket"}}, true
}

// inFlight is the origin of what is held in messages alone.
func inFlight(p *party) (Origin, bool) {
	for _, h := range p.holders {
		if h.Via != fdscan.ViaMessage {
			return Origin{}, false
		}
	}
	return Origin{Kind: Received, Certain: true, Evidence: []string{"it is in an SCM_RIGHTS message on its way: " + p.holders[0].Note}}, true
}

// heir judges a party that has a living ancestor among the holders.
func (j *jury) heir(p *party) Origin {
	from := p.parent.process
	if o, ok := handedOver(p); ok {
		o.From = from
		return o
	}
	if o, ok := j.listener(p); ok {
		return o
	}
	if o, ok := inFlight(p); ok {
		return o
	}
	o := Origin{From: from}
	switch images := compareImages(p.process, from); images {
	case sameImage:
		j.forked(p, &o)
	case sameProgram, otherProgram:
		j.execed(p, &o, images)
	case imageUnknown:
		o.Kind = NoOrigin
		o.say("a descendant of pid %d, but its program may not be read", from.PID)
	}
	return o
}

// forked judges an heir of one image with its parent.
func (j *jury) forked(p *party, o *Origin) {
	o.Kind, o.Certain = Forked, p.process.StackStart != 0
	o.say("forked from pid %d, no exec since", o.From.PID)
	switch {
	case p.serving == Serves:
		o.Kind = Intended
		o.say("a worker: it serves the %s", j.socket.Noun())
	case p.busy:
		o.Kind = Intended
		o.say("a worker: it has a connection of the %s for itself, and is busy (%s)", j.socket.Noun(), waitText(p.process))
	case p.hasUse():
		o.Kind = Intended
		o.say("it keeps the %s for its children", j.socket.Noun())
	case p.serving == Idle && j.isServed():
		o.Leak = true
		j.sayIdle(p, o)
	default:
		if q := p.servingSibling(); q != nil {
			o.Kind, o.Certain = Intended, false
			o.say("a worker like pid %d, which serves it: it is busy, or waits for its turn", q.process.PID)
		}
	}
}

// execed judges an heir that has executed a program since.
func (j *jury) execed(p *party, o *Origin, images image) {
	closed, known := p.closedByExec()
	switch {
	case p.serving == Serves && known && closed:
		o.Kind = Intended
		o.say("another program than pid %d (%s), it serves the %s, and FD_CLOEXEC is set: it has taken the descriptor over, or received it", o.From.PID, o.From.Comm, j.socket.Noun())
	case p.serving == Serves:
		o.Kind = Intended
		o.say("it came by exec from pid %d (%s), and it serves the %s", o.From.PID, o.From.Comm, j.socket.Noun())
	case p.busy:
		o.Kind = Intended
		o.say("it came by exec from pid %d (%s), has a connection of the %s for itself, and is busy (%s)", o.From.PID, o.From.Comm, j.socket.Noun(), waitText(p.process))
	case p.hasUse():
		o.Kind = Intended
		o.say("it came by exec from pid %d (%s), and this process keeps it for its children", o.From.PID, o.From.Comm)
	case known && closed:
		// exec would have closed it: it has set the flag afterwards, which
		// takes knowing the descriptor, or received it.
		o.Kind = Intended
		o.say("another program than pid %d (%s), and FD_CLOEXEC is set: it has taken the descriptor over, or received it", o.From.PID, o.From.Comm)
	case !known:
		o.Kind = NoOrigin
		o.say("another program than pid %d (%s), and whether FD_CLOEXEC is set may not be read", o.From.PID, o.From.Comm)
	default:
		o.Kind, o.Certain = Execed, p.sameNumber(p.parent)
		if images == otherProgram {
			o.say("another program than pid %d (%s), which it descends from, and FD_CLOEXEC is clear", o.From.PID, o.From.Comm)
		} else {
			o.say("the program of pid %d (%s), which it descends from, executed anew, and FD_CLOEXEC is clear", o.From.PID, o.From.Comm)
		}
		if j.isExecLeak(p, images) {
			o.Leak = true
			j.sayIdle(p, o)
		}
	}
}

// isExecLeak reports that what crossed an exec is of no use there. A worker of
// the same program that waits for other descriptors may be about a request; of
// another program that is enough.
func (j *jury) isExecLeak(p *party, images image) bool {
	switch {
	case !j.socket.IsPort():
		return p.serving.No() && j.cannotUse(p)
	case j.isServed():
		return p.serving == Idle || p.serving == Elsewise && images == otherProgram
	}
	return p.serving.No() && images == otherProgram || j.cannotUse(p)
}

// cannotUse reports a program that has no call to use the socket with.
func (j *jury) cannotUse(p *party) bool {
	e := p.process.Evidence
	return e != nil && e.Imports != nil && !e.Ring && !e.Imports.Listen && !e.Imports.Accept && !e.Imports.Transfer
}

// cannotAccept reports a program without the call to accept(2).
func (j *jury) cannotAccept(p *party) bool {
	e := p.process.Evidence
	return e != nil && e.Imports != nil && !e.Ring && !e.Imports.Accept
}

func (j *jury) sayIdle(p *party, o *Origin) {
	switch {
	case j.cannotUse(p):
		o.say("it does not serve: the program has no call to use a socket with")
	case j.socket.State == fdscan.Listen && j.cannotAccept(p):
		o.say("it does not serve: the program has no call to accept(2)")
	case p.serving == Elsewise:
		o.say("it does not serve: it waits for other descriptors (%s)", waitText(p.process))
	default:
		o.say("it does not serve: every thread waits for something else (%s)", waitText(p.process))
	}
}
