package fdscan

import (
	"cmp"
	"slices"
)

// finish sorts everything and says which connections wait in which backlog.
func (l *lookup) finish() {
	slices.SortStableFunc(l.snap.Sockets, compareSockets)
	for _, s := range l.snap.Sockets {
		s.InBacklogOf = l.backlogOf(s)
		sortHolders(s.Holders)
	}
	for _, o := range l.snap.Objects {
		sortHolders(o.Holders)
	}
	for pid, p := range l.snap.Processes {
		if p == nil {
			delete(l.snap.Processes, pid)
		}
	}
	slices.SortStableFunc(l.snap.Gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(b.Scope, a.Scope), cmp.Compare(a.Op, b.Op), cmp.Compare(a.PID, b.PID), cmp.Compare(a.FD, b.FD))
	})
}

// backlogOf returns the inode of the listener in whose accept queue c waits. A
// connection that nobody has accepted has no inode; an orphan has none either,
// but is past ESTABLISHED and CLOSE_WAIT. Of several listeners that would take
// it, the one with a specific address comes before a wildcard, as in the
// kernel's own choice; in a group of equals (SO_REUSEPORT) any may be it, and
// the first with a queue is named.
func (l *lookup) backlogOf(c *Socket) (inode uint64) {
	if c.Inode != 0 || c.Protocol == Unix || c.State != Established && c.State != CloseWait {
		return 0
	}
	if s := acceptorOf(c, l.snap.Sockets); s != nil {
		return s.Inode
	}
	return 0
}

// acceptorOf returns the listener that would take c; nil when there is none.
func acceptorOf(c *Socket, sockets []*Socket) *Socket {
	if all := acceptorsOf(c, sockets); len(all) > 0 {
		return all[0]
	}
	return nil
}

// acceptorsOf returns the listeners each of which may be the one that would take
// c: several of a group of equals, of which those with a queue come before those
// without.
func acceptorsOf(c *Socket, sockets []*Socket) (acceptors []*Socket) {
	best := 0
	for _, s := range sockets {
		if !s.Accepts(c) {
			continue
		}
		fit := 1
		if !s.Local.Addr.IsUnspecified() {
			fit += 2
		}
		if s.Backlog != nil && s.Backlog.Queued > 0 {
			fit++
		}
		switch {
		case fit > best:
			best, acceptors = fit, []*Socket{s}
		case fit == best:
			acceptors = append(acceptors, s)
		}
	}
	return acceptors
}

// Accepts reports whether a connection to c's local address would reach the
// listener s: same namespace and transport, and an address that covers it.
func (s *Socket) Accepts(c *Socket) bool {
	switch {
	case s.State != Listen || s.NetNS != c.NetNS || s.Local.Port != c.Local.Port || s.Protocol.Stream() != c.Protocol.Stream():
		return false
	case s.Protocol == Unix || c.Protocol == Unix:
		// What a listener accepts has its name.
		return s.Protocol == c.Protocol && s.Local.Path == c.Local.Path && s.Local.Path != ""
	}
	local := c.Local.Addr.Unmap()
	switch addr := s.Local.Addr; {
	case addr.Unmap() == local:
		return true
	case !addr.IsUnspecified():
		return false
	case addr.Is4():
		return local.Is4()
	default:
		return local.Is6() || s.V6Only == nil || !*s.V6Only
	}
}

var viaOrder = map[Via]int{ViaTable: 0, ViaThread: 1, ViaRing: 2, ViaMessage: 3, ViaMemory: 4}

func sortHolders(holders []*Holder) {
	slices.SortStableFunc(holders, func(a, b *Holder) int {
		return cmp.Or(cmp.Compare(a.Process.PID, b.Process.PID), cmp.Compare(a.TID, b.TID),
			cmp.Compare(viaOrder[a.Via], viaOrder[b.Via]), cmp.Compare(a.FD, b.FD), cmp.Compare(a.Slot, b.Slot))
	})
}

// stateOrder puts first what people ask for first.
var stateOrder = map[State]int{
	Listen: 0, Bound: 1, Established: 2, SynRecv: 3, SynSent: 4, CloseWait: 5, FinWait1: 6, FinWait2: 7, Closing: 8, LastAck: 9, TimeWait: 10, Close: 11,
}

func compareSockets(a, b *Socket) int {
	mine := func(s *Socket) int {
		if s.NetNSMine {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(mine(a), mine(b)), cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.Local.Port, b.Local.Port),
		cmp.Compare(stateOrder[a.State], stateOrder[b.State]), cmp.Compare(a.Protocol, b.Protocol), a.Local.Addr.Compare(b.Local.Addr),
		cmp.Compare(a.Local.Path, b.Local.Path), a.Remote.Addr.Compare(b.Remote.Addr), cmp.Compare(a.Remote.Port, b.Remote.Port), cmp.Compare(a.Inode, b.Inode))
}
