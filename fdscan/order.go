package fdscan

import (
	"cmp"
	"slices"
)

// finish sorts everything and says which connections wait in which backlog.
func (l *lookup) finish() {
	listeners := map[uint16][]*Socket{}
	for _, s := range l.snap.Sockets {
		if s.State == Listen && s.Local.Port != 0 {
			listeners[s.Local.Port] = append(listeners[s.Local.Port], s)
		}
	}
	for _, s := range l.snap.Sockets {
		// A connection that nobody has accepted has no inode. Orphans have
		// none either, but are past ESTABLISHED and CLOSE_WAIT.
		if s.Inode != 0 || s.State != Established && s.State != CloseWait {
			continue
		}
		for _, listener := range listeners[s.Local.Port] {
			if listener.Backlog.Queued > 0 && listener.Accepts(s) {
				s.InBacklogOf = listener.Inode
				break
			}
		}
	}
	for _, s := range l.snap.Sockets {
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
	slices.SortStableFunc(l.snap.Sockets, compareSockets)
	slices.SortStableFunc(l.snap.Gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(b.Scope, a.Scope), cmp.Compare(a.Op, b.Op), cmp.Compare(a.PID, b.PID), cmp.Compare(a.FD, b.FD))
	})
}

// Accepts reports whether a connection to c's local address would reach the
// listener s: same namespace and transport, and an address that covers it.
func (s *Socket) Accepts(c *Socket) bool {
	if s.State != Listen || s.NetNS != c.NetNS || s.Local.Port != c.Local.Port || s.Protocol.Stream() != c.Protocol.Stream() {
		return false
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

func sortHolders(holders []*Holder) {
	slices.SortStableFunc(holders, func(a, b *Holder) int {
		return cmp.Or(cmp.Compare(a.Process.PID, b.Process.PID), cmp.Compare(a.TID, b.TID),
			cmp.Compare(a.Via, b.Via), cmp.Compare(a.FD, b.FD), cmp.Compare(a.Slot, b.Slot))
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
