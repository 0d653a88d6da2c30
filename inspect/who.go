package inspect

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"stray/fdscan"
)

// Verdict is the answer to whether a target is held.
type Verdict string

// The verdicts.
const (
	Held        Verdict = "held"
	Free        Verdict = "free"
	VerdictOpen Verdict = "unknown"
)

// Answer is what a snapshot means for the question who holds something.
type Answer struct {
	// Outcome.Shown are the sockets that can make a bind fail: listeners, bound
	// sockets, and the connections that no listener explains.
	Outcome
	Targets []fdscan.Target
	Verdict Verdict // of all targets: held when any is
	// PerTarget has the verdict of each target, in their order.
	PerTarget []Verdict
	// Binds says whether each port that was asked for can be bound.
	Binds []BindVerdict
	// Explained counts the connections left out, by state.
	Explained map[fdscan.State]int
}

// Judge gives every holder of a snapshot its origin.
func Judge(snap *fdscan.Snapshot) *View {
	v := &View{Snapshot: snap, Sight: SightSockets}
	connections := map[place][]*fdscan.Socket{}
	for _, s := range snap.Sockets {
		if s.State != fdscan.Listen && s.State != fdscan.Bound {
			p := placeOf(s)
			connections[p] = append(connections[p], s)
			if anywhere := p.anywhere(); anywhere != p {
				connections[anywhere] = append(connections[anywhere], s)
			}
		}
	}
	for _, s := range snap.Sockets {
		socket := &Socket{Socket: s, ephemeral: Ephemeral(snap.Host, s.Local.Port)}
		for _, h := range s.Holders {
			socket.Holders = append(socket.Holders, &Holder{Holder: h})
		}
		judge(snap, socket, connections[placeOf(s)])
		v.Sockets = append(v.Sockets, socket)
	}
	listeners := listenersOf(v.Sockets)
	for _, c := range v.Sockets {
		if !c.IsPort() && len(c.Holders) > 0 {
			inheritedWith(c, listeners.of(c))
		}
	}
	return v
}

// place is what a listener and the connections that it accepts have in common.
type place struct {
	netns  uint64
	stream bool
	port   uint16
	path   string     // of a unix socket
	addr   netip.Addr // the zero Addr for any
}

func placeOf(s *fdscan.Socket) place {
	p := place{netns: s.NetNS, stream: s.Protocol.Stream(), port: s.Local.Port, path: s.Local.Path}
	if addr := s.Local.Addr.Unmap(); !addr.IsUnspecified() {
		p.addr = addr
	}
	return p
}

// anywhere is the place without its address.
func (p place) anywhere() place {
	p.addr = netip.Addr{}
	return p
}

// listeners are listeners by their places.
type listeners map[place][]*Socket

func listenersOf(sockets []*Socket) listeners {
	at := listeners{}
	for _, s := range sockets {
		if s.State == fdscan.Listen {
			at[placeOf(s.Socket)] = append(at[placeOf(s.Socket)], s)
		}
	}
	return at
}

// of returns those that may have accepted c.
func (l listeners) of(c *Socket) []*Socket {
	p := placeOf(c.Socket)
	if p == p.anywhere() {
		return l[p]
	}
	return slices.Concat(l[p], l[p.anywhere()])
}

// inheritedWith corrects the origin of a connection whose only holder keeps
// the listener that accepted it by inheritance: it never accepts, and so has
// inherited the connection too.
func inheritedWith(c *Socket, listeners []*Socket) {
	for _, s := range listeners {
		if !s.Accepts(c.Socket) {
			continue
		}
		for _, h := range s.Holders {
			if !h.Origin.Leak || slices.ContainsFunc(c.Holders, func(o *Holder) bool { return o.Process != h.Process }) {
				continue
			}
			for _, o := range c.Holders {
				o.Origin = Origin{Kind: h.Origin.Kind, Leak: true, OpenerExited: h.Origin.OpenerExited, Evidence: []string{
					"it keeps the listener " + s.Address() + " in the same way, and does not accept",
				}}
			}
		}
	}
}

// Who answers who holds targets, from a snapshot that was taken for them. With
// all, connections that a listener explains are shown too. It is about processes
// with these pids, about everybody if there are none; see Only.
func Who(snap *fdscan.Snapshot, targets []fdscan.Target, rules []*Rule, all bool, pids ...int) *Answer {
	a := &Answer{Outcome: Outcome{View: Judge(snap)}, Targets: targets, Explained: map[fdscan.State]int{}}
	a.Asked = Scope{Targets: targetTexts(targets), All: all}
	a.foremost(pids)
	listeners := listenersOf(a.Sockets)
	for _, s := range a.Sockets {
		if !asked(s, targets) {
			continue // at another address: only the bind verdicts need it
		}
		if all || s.IsPort() || !explained(s, listeners.of(s)) {
			a.Shown = append(a.Shown, s)
		} else {
			a.Explained[s.State]++
		}
	}
	a.Verdict = Free
	for _, t := range targets {
		v := a.verdict(t)
		a.PerTarget = append(a.PerTarget, v)
		switch {
		case v == Held:
			a.Verdict = Held
		case v == VerdictOpen && a.Verdict == Free:
			a.Verdict = VerdictOpen
		}
	}
	a.Complete = snap.TablesComplete && (a.Verdict == Free || snap.HoldersComplete)
	for _, t := range targets {
		for _, b := range binds(snap, t) {
			// Targets may overlap, as 18080 and 127.0.0.1:18080 do.
			if !slices.ContainsFunc(a.Binds, func(o BindVerdict) bool {
				return o.Protocol == b.Protocol && o.Address == b.Address && o.Port == b.Port
			}) {
				a.Binds = append(a.Binds, b)
			}
		}
	}
	a.judgeShown(rules)
	for i := range a.Findings {
		// What that tells is told already.
		a.Findings[i].Next = slices.DeleteFunc(a.Findings[i].Next, func(command string) bool { return strings.HasPrefix(command, "stray who ") })
	}
	return a
}

// asked reports whether any target names s.
func asked(s *Socket, targets []fdscan.Target) bool {
	return slices.ContainsFunc(targets, func(t fdscan.Target) bool { return names(t, s, targets) })
}

// names reports whether t, of all targets, names s. A unix socket that has none
// of their names was bound to the file of one of them by another.
func names(t fdscan.Target, s *Socket, targets []fdscan.Target) bool {
	switch t.Kind {
	case fdscan.PortTarget:
		return t.Matches(s.Socket)
	case fdscan.InodeTarget:
		return s.Inode == t.Inode
	case fdscan.UnixTarget, fdscan.FileTarget:
		return s.Protocol == fdscan.Unix && (s.Local.Path == t.Path || !slices.ContainsFunc(targets, func(o fdscan.Target) bool {
			return o.Path == s.Local.Path || o.Kind == fdscan.InodeTarget && o.Inode == s.Inode
		}))
	}
	return false
}

// Only leaves what processes with these pids hold. It is judged already, with
// everybody in sight: what others hold is left out of the report only.
func (a *Answer) Only(pids []int) {
	a.Asked.PIDs, a.PIDs = pids, pids
	theirs := func(p *fdscan.Process) bool { return p != nil && slices.Contains(pids, p.PID) }
	a.Shown = slices.DeleteFunc(a.Shown, func(s *Socket) bool {
		s.Holders = slices.DeleteFunc(s.Holders, func(h *Holder) bool { return !theirs(h.Process) })
		return len(s.Holders) == 0
	})
	for _, o := range a.Objects {
		o.Holders = slices.DeleteFunc(o.Holders, func(h *fdscan.Holder) bool { return !theirs(h.Process) })
	}
	a.Findings = slices.DeleteFunc(a.Findings, func(f Finding) bool { return !theirs(f.Process) })
}

// judgeShown runs rules over what is shown.
func (a *Answer) judgeShown(rules []*Rule) {
	all := a.View
	a.View = &View{Snapshot: all.Snapshot, Sight: all.Sight, Sockets: a.Shown}
	a.Evaluate(rules)
	a.View = all
}

// explained reports a connection that a listener of its own namespace accounts
// for, and that no stray copy of that listener's holder keeps.
func explained(c *Socket, listeners []*Socket) bool {
	for _, s := range listeners {
		if !s.Accepts(c.Socket) {
			continue
		}
		for _, h := range c.Holders {
			if keepsByInheritance(s, h.Process) {
				return false
			}
		}
		return true
	}
	return false
}

// keepsByInheritance reports that p holds s without serving it.
func keepsByInheritance(s *Socket, p *fdscan.Process) bool {
	return slices.ContainsFunc(s.Holders, func(h *Holder) bool { return h.Process == p && h.Origin.Leak })
}

// verdict says whether one target is held. Sockets of other namespaces are
// shown, but do not hold anything here.
func (a *Answer) verdict(t fdscan.Target) Verdict {
	whole := a.TablesComplete
	for _, s := range a.Sockets {
		// An inode is one for the whole machine, and so is a file.
		if names(t, s, a.Targets) && (s.NetNSMine || t.Kind == fdscan.InodeTarget || s.FileAsked) {
			return Held
		}
	}
	if t.Kind == fdscan.FileTarget || t.Kind == fdscan.InodeTarget {
		// No table lists files: only their holders tell.
		whole = whole && a.HoldersComplete
		for _, o := range a.Objects {
			if len(o.Holders) > 0 && (o.Inode == t.Inode || o.Path == t.Path) {
				return Held
			}
		}
	}
	if !whole {
		return VerdictOpen
	}
	return Free
}

// maxBindRange is the number of ports of a range for which bind verdicts are
// given: for more of them nobody reads that.
const maxBindRange = 16

// binds judges every port of t that could be wanted: those asked for with a
// single number, and those of a short range.
func binds(snap *fdscan.Snapshot, t fdscan.Target) (verdicts []BindVerdict) {
	if t.Kind != fdscan.PortTarget || int(t.PortHigh)-int(t.PortLow) >= maxBindRange {
		return nil
	}
	for port := int(t.PortLow); port <= int(t.PortHigh); port++ {
		for _, p := range bindProtocols(snap, t, uint16(port)) {
			verdicts = append(verdicts, CanBind(snap, p, uint16(port), t.Addr)...)
		}
	}
	return verdicts
}

// bindProtocols are those that were asked for, or TCP and whatever else has a
// socket on the port.
func bindProtocols(snap *fdscan.Snapshot, t fdscan.Target, port uint16) (protocols []fdscan.Protocol) {
	for _, p := range []fdscan.Protocol{fdscan.TCP, fdscan.UDP, fdscan.UDPLite} {
		asked := slices.Contains(t.Protocols, p) || p == fdscan.TCP && slices.Contains(t.Protocols, fdscan.MPTCP)
		has := slices.ContainsFunc(snap.Sockets, func(s *fdscan.Socket) bool {
			return s.NetNSMine && s.Local.Port == port && s.Protocol == p
		})
		if asked || t.Protocols == nil && (p == fdscan.TCP || has) {
			protocols = append(protocols, p)
		}
	}
	return protocols
}

// Bindable reports that every bind that was judged would succeed, if not
// plainly then with SO_REUSEADDR, which servers set.
func (a *Answer) Bindable() bool {
	return len(a.Binds) > 0 && !slices.ContainsFunc(a.Binds, func(b BindVerdict) bool { return b.Plain != BindYes && b.ReuseAddr != BindYes })
}

// Ephemeral reports whether a port lies in the range that the kernel gives to
// outgoing connections (net.ipv4.ip_local_port_range).
func Ephemeral(h fdscan.Host, port uint16) bool {
	return port >= h.Bind.EphemeralLow && port <= h.Bind.EphemeralHigh && h.Bind.EphemeralLow > 0
}

// UnreadHolders says which process, or how many, could not be read, or that some
// could not even be seen, and what would make them readable; "" when all were.
func UnreadHolders(snap *fdscan.Snapshot) string {
	pids, hidden, needs := map[int]bool{}, false, ""
	one := ""
	for _, g := range snap.Gaps {
		if g.Scope != fdscan.ScopeHolders {
			continue
		}
		needs = cmp.Or(needs, g.Needs)
		if g.PID == 0 {
			hidden = true
			continue
		}
		pids[g.PID] = true
		one = fmt.Sprintf("pid %d", g.PID)
		if p := snap.Processes[g.PID]; p != nil {
			one = fmt.Sprintf("pid %d (%s)", p.PID, p.Comm)
		}
	}
	text := fmt.Sprintf("the descriptors of %d processes could not be read", len(pids))
	switch {
	case len(pids) == 0 && !hidden:
		return ""
	case len(pids) == 0:
		text = "not every process could be seen"
	case len(pids) == 1:
		text = "the descriptors of " + one + " could not be read"
	}
	if needs != "" {
		text += " (needs " + needs + ")"
	}
	return text
}
