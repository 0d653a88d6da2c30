package fdscan

import (
	"golang.org/x/sys/unix"

	"stray/internal/sockdiag"
)

// Examine asks the kernel about the health of connections that are known, one by
// one; what cannot be asked stays without.
func (s *Scanner) Examine(sockets []*Socket) {
	for _, k := range sockets {
		if k.Protocol != TCP || k.Remote.Port == 0 || k.Health != nil {
			continue
		}
		conn, err := s.dialOf(k)
		if err != nil {
			continue
		}
		row := new(sockdiag.Connection)
		id := sockdiag.InetID{Family: familyOf(k), Protocol: unix.IPPROTO_TCP, Local: k.Local.addrPort(), Remote: k.Remote.addrPort(), Interface: k.Interface, Cookie: k.Cookie}
		if conn.FindConnection(id, row) == nil {
			k.Health = new(connectionRow).read(TCP, row).Health
		}
		conn.Close()
	}
}
