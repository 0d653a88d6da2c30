package fdscan

import (
	"net/netip"
	"testing"
)

// The far end of a connection is found in its own network namespace first, and in
// another where there is no doubt.
func TestFarEnds(t *testing.T) {
	socket := func(netns, inode uint64, protocol Protocol, local, remote string) *Socket {
		end := func(text string) Endpoint {
			a := netip.MustParseAddrPort(text)
			return Endpoint{Addr: a.Addr(), Port: a.Port()}
		}
		return &Socket{NetNS: netns, Inode: inode, Protocol: protocol, Local: end(local), Remote: end(remote)}
	}
	const a, b = "10.0.0.1:80", "10.0.0.2:40000"
	const here, there = "127.0.0.1:80", "127.0.0.1:40000"
	for name, tt := range map[string]struct {
		rows []*Socket // the other end of the first is looked for
		want uint64    // its inode; 0 for none
	}{
		"nobody":                          {[]*Socket{socket(1, 1, TCP, a, b)}, 0},
		"here":                            {[]*Socket{socket(1, 1, TCP, a, b), socket(1, 2, TCP, b, a)}, 2},
		"elsewhere":                       {[]*Socket{socket(1, 1, TCP, a, b), socket(2, 2, TCP, b, a)}, 2},
		"here and elsewhere":              {[]*Socket{socket(1, 1, TCP, a, b), socket(2, 3, TCP, b, a), socket(1, 2, TCP, b, a)}, 2},
		"as IPv6":                         {[]*Socket{socket(1, 1, TCP, a, b), socket(2, 2, TCP, "[::ffff:10.0.0.2]:40000", "[::ffff:10.0.0.1]:80")}, 2},
		"two elsewhere":                   {[]*Socket{socket(1, 1, TCP, a, b), socket(2, 2, TCP, b, a), socket(3, 3, TCP, b, a)}, 0},
		"that of a twin":                  {[]*Socket{socket(1, 1, TCP, a, b), socket(2, 2, TCP, b, a), socket(3, 3, TCP, a, b)}, 0},
		"loopback, elsewhere":             {[]*Socket{socket(1, 1, TCP, here, there), socket(2, 2, TCP, there, here)}, 0},
		"another protocol":                {[]*Socket{socket(1, 1, TCP, a, b), socket(1, 2, UDP, b, a)}, 0},
		"a connection and its subflow":    {[]*Socket{socket(1, 1, MPTCP, a, b), socket(1, 1, TCP, a, b), socket(2, 2, MPTCP, b, a), socket(2, 2, TCP, b, a)}, 2},
		"a connection of nobody any more": {[]*Socket{socket(1, 1, TCP, a, b), socket(1, 0, TCP, b, a)}, 0},
	} {
		listed := &Descriptor{}
		new(lister).connectionEnds(tt.rows, map[uint64][]*Descriptor{1: {listed}})
		if listed.otherEnd != tt.want {
			t.Errorf("%s: %d, want %d", name, listed.otherEnd, tt.want)
		}
	}
}
