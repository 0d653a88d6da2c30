package fdscan

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"stray/internal/sockdiag"
)

// mostPeers bounds how many peers are looked for: each costs a question to the
// kernel, some ten microseconds, in each namespace where it may be.
const mostPeers = 8192

// peers finds the other ends of suspects that are on this machine: reached over
// loopback, through an address of this host, or in another network namespace.
func (c *connections) peers() {
	byNamespace := map[uint64][]*Socket{}
	count := 0
	look := func(s *Socket) {
		if s.Protocol != TCP || s.Remote.Port == 0 {
			return
		}
		if count++; count > mostPeers {
			return
		}
		for _, netns := range c.at.of(s.Remote.Addr, s.NetNS) {
			byNamespace[netns] = append(byNamespace[netns], s)
		}
	}
	for _, s := range c.snap.Sockets {
		if c.suspects[s] || c.ask.All {
			look(s)
			for _, sub := range s.Health.Subflows {
				look(sub)
			}
		}
	}
	if more := count - mostPeers; more > 0 {
		c.gap(Gap{Op: "find the other ends", FD: -1, Err: fmt.Sprintf("those of %d more connections were not looked for", more), Scope: ScopeDetail})
	}
	for _, netns := range slices.Sorted(maps.Keys(byNamespace)) {
		c.inConn(netns, func(conn *sockdiag.Conn) {
			for _, s := range byNamespace[netns] {
				if s.Health.Peer != nil {
					continue
				}
				row := new(sockdiag.Connection)
				id := sockdiag.InetID{Family: familyOf(s), Protocol: unix.IPPROTO_TCP, Local: s.Remote.addrPort(), Remote: s.Local.addrPort()}
				if conn.FindConnection(id, row) == nil {
					peer := new(connectionRow).read(TCP, row)
					peer.NetNS, peer.NetNSMine = netns, netns == c.snap.Host.NetNS
					s.Health.Peer = peer
				}
			}
		})
	}
}

// findEach asks for each socket whether it is still there.
func (c *connections) findEach(sockets []*Socket, tell func(s *Socket, found bool)) {
	byNamespace := map[uint64][]*Socket{}
	for _, s := range sockets {
		byNamespace[s.NetNS] = append(byNamespace[s.NetNS], s)
	}
	for netns, sockets := range byNamespace {
		c.inConn(netns, func(conn *sockdiag.Conn) {
			for _, s := range sockets {
				number := uint32(unix.IPPROTO_TCP)
				var row sockdiag.Connection
				id := sockdiag.InetID{Family: familyOf(s), Protocol: number, Local: s.Local.addrPort(), Remote: s.Remote.addrPort(), Interface: s.Interface, Cookie: s.Cookie}
				if s.Protocol == MPTCP {
					id.Cookie = 0 // that of a subflow is its own
				}
				err := conn.FindConnection(id, &row)
				tell(s, !errors.Is(err, sockdiag.ErrNotFound))
			}
		})
	}
}

// inConn calls f with a sock_diag connection to a namespace, if it can be had.
func (c *connections) inConn(netns uint64, f func(*sockdiag.Conn)) {
	var conn *sockdiag.Conn
	err := error(unix.ESRCH)
	if netns == c.snap.Host.NetNS {
		conn, err = c.dial()
	} else {
		for _, ns := range c.namespaces() {
			if ns.inode == netns {
				conn, err = c.enter(ns)
			}
		}
	}
	if err == nil {
		f(conn)
		conn.Close()
	}
}

// familyOf is the address family by which the kernel finds a connection: that of
// an IPv4 connection of an IPv6 socket is found by either.
func familyOf(s *Socket) uint8 {
	if s.Family == Inet6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
