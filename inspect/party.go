package inspect

import (
	"slices"

	"stray/fdscan"
)

// party is one descriptor table among the holders of a socket: a process, or
// several that share theirs.
type party struct {
	process   *fdscan.Process   // the eldest
	processes []*fdscan.Process // all that share the table
	holders   []*Holder
	serving   Serving
	parent    *party // nearest living ancestor that holds the socket
	heirs     []*party
	// busy: it holds a connection of the listener that no other process has,
	// and so may have accepted it, and be about a request.
	busy   bool
	origin Origin
}

// parties groups the holders by table, eldest first, and finds whose heirs
// they are.
func (s *Socket) parties(snap *fdscan.Snapshot) []*party {
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
			p = &party{}
			parties = append(parties, p)
		}
		byPID[h.Process.PID] = p
		p.holders = append(p.holders, h)
		if !slices.Contains(p.processes, h.Process) {
			p.processes = append(p.processes, h.Process)
		}
	}
	for _, p := range parties {
		slices.SortFunc(p.processes, fdscan.CompareAge)
		p.process = p.processes[0]
		p.serving = Idle
		for _, q := range p.processes {
			p.serving = p.serving.more(serving(s.Socket, q))
		}
		// A signal may tell it what there is to do, or a ring do it.
		untold := func(h *Holder) bool { return h.SignalDriven || h.Via == fdscan.ViaRing }
		if p.serving != Serves && slices.ContainsFunc(p.holders, untold) {
			p.serving = Unknown
		}
	}
	slices.SortFunc(parties, func(a, b *party) int { return fdscan.CompareAge(a.process, b.process) })
	for _, p := range parties {
		for q := snap.Parent(p.process); q != nil && p.parent == nil; q = snap.Parent(q) {
			if a := byPID[q.PID]; a != nil && a != p {
				p.parent = a
				a.heirs = append(a.heirs, p)
			}
		}
	}
	return parties
}

// closedByExec reports that every descriptor of p has FD_CLOEXEC, so that none
// of them can have come through an exec of p. known is false when that cannot
// be told of one.
func (p *party) closedByExec() (closed, known bool) {
	closed = true
	for _, h := range p.holders {
		if h.CloseOnExec == nil {
			return false, false
		}
		closed = closed && *h.CloseOnExec
	}
	return closed, true
}

// survivesExec reports that one of the descriptors lacks FD_CLOEXEC.
func (p *party) survivesExec() bool {
	return slices.ContainsFunc(p.holders, func(h *Holder) bool { return h.CloseOnExec != nil && !*h.CloseOnExec })
}

// sameNumber reports that p and q hold the socket by descriptors of one number.
func (p *party) sameNumber(q *party) bool {
	return slices.ContainsFunc(p.holders, func(h *Holder) bool {
		return slices.ContainsFunc(q.holders, func(o *Holder) bool {
			return o.FD == h.FD && o.Via == fdscan.ViaTable && h.Via == fdscan.ViaTable
		})
	})
}

// hasUse reports that p's heirs serve the socket, or were meant to have it, or
// may do: then p keeps it for them.
func (p *party) hasUse() bool {
	return slices.ContainsFunc(p.heirs, func(q *party) bool {
		return q.serving == Serves || q.serving == Unknown || q.origin.Kind == Intended || q.hasUse()
	})
}

// heirServes reports that an heir of p serves the socket.
func (p *party) heirServes() bool {
	return slices.ContainsFunc(p.heirs, func(q *party) bool { return q.serving == Serves || q.heirServes() })
}

// findBusy finds those that wait for nothing that shows them to serve, and have
// a connection of the listener for themselves. A child of a server has inherited
// it, and so has what a server has left behind, once the peer has closed.
func (j *jury) findBusy() {
	if j.socket.State != fdscan.Listen {
		return
	}
	for _, c := range j.connections {
		if len(c.Holders) == 0 || c.State != fdscan.Established && c.State != fdscan.CloseWait || !j.socket.Accepts(c) {
			continue
		}
		for _, p := range j.parties {
			switch {
			case slices.ContainsFunc(c.Holders, func(h *fdscan.Holder) bool { return !slices.Contains(p.processes, h.Process) }):
			case !p.serving.No() || j.cannotAccept(p):
			case p.parent != nil && !p.parent.serving.No(): // it serves, or may
			case p.parent == nil && c.State != fdscan.Established:
			default:
				p.busy, p.serving = true, Unknown
			}
		}
	}
}

// servingSibling returns another heir of p's parent, of p's image, that serves
// the socket; nil when there is none.
func (p *party) servingSibling() *party {
	for _, q := range p.parent.heirs {
		if q != p && q.serving == Serves && compareImages(q.process, p.process) == sameImage {
			return q
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

// compareImages tells fork from exec between p and q, which is its ancestor or
// of the same descent. exec places the stack at random and fork keeps it there,
// so that equal places mean one image (fdscan.Process).
func compareImages(p, q *fdscan.Process) image {
	same := p.ExeInode == q.ExeInode && p.ExeDevice == q.ExeDevice
	if p.ExeInode == 0 || q.ExeInode == 0 {
		if p.Exe == "" || q.Exe == "" {
			return imageUnknown
		}
		same = p.Exe == q.Exe
	}
	switch {
	case !same:
		return otherProgram
	case !p.Unexeced && !q.Unexeced:
		return sameProgram // of two of one image, one at least is a bare copy
	case p.StackStart != 0 && q.StackStart != 0:
		if p.StackStart != q.StackStart {
			return sameProgram
		}
		return sameImage
	case p.Unexeced && p.PPID == q.PID:
		return sameImage
	case !p.Unexeced:
		return sameProgram
	}
	return imageUnknown
}
