package fdscan

import "stray/internal/sockdiag"

// unixConnection is a unixRow with its health.
type unixConnection struct {
	unixRow
	health Health
}

// read makes c the socket that row describes.
func (c *unixConnection) read(row *sockdiag.Unix, n *namespaceTables) *Socket {
	c.unixRow.read(row)
	c.NetNS, c.NetNSMine = n.netns, n.mine
	c.health = Health{
		ShutRead: row.Shutdown&sockdiag.ShutRead != 0, ShutWrite: row.Shutdown&sockdiag.ShutWrite != 0,
		PeerClosed: isPeerClosed(&c.Socket, row),
	}
	c.Health = &c.health
	return &c.Socket
}

// unix reads the unix sockets.
func (n *namespaceTables) unix() {
	var found kept
	halves := map[uint32][]*Socket{} // those to be told of, by their peers
	err := n.conn.EachUnix(sockdiag.Rows[sockdiag.Unix]{
		Begin: func() { found = kept{}; clear(halves) },
		Row: func(row *sockdiag.Unix) {
			s := n.currentUnix.read(row, n)
			switch {
			case !n.isAsked(s):
				return
			case s.State == Listen:
				found.looked.Listeners++
			case s.State == Established:
				found.looked.Connections++
			}
			suspect := n.isSuspect(s)
			if !suspect && !n.isWanted(s) {
				return
			}
			s = new(unixConnection).read(row, n)
			if row.Peer != 0 {
				halves[row.Peer] = append(halves[row.Peer], s)
			}
			found.add(s, suspect)
		},
	})
	if err != nil {
		n.missing("unix", err)
	}
	n.otherHalves(halves)
	n.take(&found)
}

// otherHalves finds the peers of sockets, which are in the same table.
func (n *namespaceTables) otherHalves(halves map[uint32][]*Socket) {
	if len(halves) == 0 {
		return
	}
	err := n.conn.EachUnix(sockdiag.Rows[sockdiag.Unix]{
		Begin: func() {},
		Row: func(row *sockdiag.Unix) {
			for _, s := range halves[row.Inode] {
				s.Health.Peer = new(unixConnection).read(row, n)
			}
		},
	})
	if err != nil {
		n.missing("unix", err)
	}
}
