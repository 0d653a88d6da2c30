package fdscan

import (
	"net/netip"
	"slices"
)

// addressSet tells in which network namespaces an address was met as that of a
// socket's own end.
type addressSet struct {
	namespaces map[netip.Addr][]uint64
	last       netip.Addr
	lastIn     uint64
}

func (a *addressSet) add(addr netip.Addr, netns uint64) {
	if addr == a.last && netns == a.lastIn {
		return
	}
	a.last, a.lastIn = addr, netns
	if a.namespaces == nil {
		a.namespaces = map[netip.Addr][]uint64{}
	}
	addr = addr.Unmap()
	if in := a.namespaces[addr]; !slices.Contains(in, netns) {
		a.namespaces[addr] = append(in, netns)
	}
}

// of returns the namespaces in which an address can be met that a socket of
// netns is connected to: its own first.
func (a *addressSet) of(addr netip.Addr, netns uint64) []uint64 {
	addr = addr.Unmap()
	if addr.IsLoopback() {
		return []uint64{netns}
	}
	in := slices.Clone(a.namespaces[addr])
	slices.SortStableFunc(in, func(x, y uint64) int {
		switch {
		case x == netns && y != netns:
			return -1
		case y == netns && x != netns:
			return 1
		}
		return 0
	})
	return in
}
