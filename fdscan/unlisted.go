package fdscan

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"stray/internal/sockdiag"
)

// unlisted looks at sockets that are in no table that was read: they may be
// bound only (before Linux 6.8), or belong to a namespace without a process.
func (l *lookup) unlisted(ctx context.Context, refs []Ref) {
	known, whole := l.listed()
	if !whole {
		l.gap(Gap{Op: "dump every socket table", FD: -1, Err: "incomplete", Scope: ScopeElsewhere})
	}
	entered := map[uint64]bool{l.snap.Host.NetNS: true}
	other := map[uint64]bool{} // sockets that were looked at, and not asked for
	for _, r := range refs {
		if ctx.Err() != nil {
			return
		}
		if known[r.Inode] || other[r.Inode] {
			continue
		}
		if len(l.sockets[r.Inode]) == 0 {
			s, ns, err := identify(r)
			if err != nil {
				l.unidentifiedGap(r, err)
				continue
			}
			l.enterFor(s, ns, entered)
		}
		if len(l.sockets[r.Inode]) == 0 {
			other[r.Inode] = true
			continue
		}
		l.hold(r)
	}
}

// unidentifiedGap notes a socket that could not be asked what it is.
func (l *lookup) unidentifiedGap(r Ref, err error) {
	if gone(err) {
		return
	}
	g := detailGap("pidfd_getfd", r.PID, err)
	g.TID, g.FD = r.TID, r.FD
	if !l.listsBound() && l.hasPorts() {
		g.Scope = ScopeTables
	}
	l.gap(g)
}

// enterFor adds s if it was asked for. When it is the first that was met of its
// namespace, the tables of that are dumped, which tell more.
func (l *lookup) enterFor(s *Socket, ns *openNamespace, entered map[uint64]bool) {
	if ns != nil {
		defer unix.Close(ns.fd)
		if !entered[ns.inode] {
			entered[ns.inode] = true
			if conn, err := l.dialIn(ns.fd); err == nil {
				found, _ := l.namespace(conn, ns.inode, false)
				conn.Close()
				for _, f := range found {
					l.add(f)
				}
			}
		}
	}
	if s == nil || len(l.sockets[s.Inode]) > 0 || !l.wantsInet(s) {
		return
	}
	switch {
	case ns != nil:
		s.NetNS, s.NetNSMine = ns.inode, ns.inode == l.snap.Host.NetNS
	case !l.listsBound():
		s.NetNS, s.NetNSMine = l.snap.Host.NetNS, true // most likely
	}
	l.add(s)
}

// listed returns the inodes of every inet and unix socket of every namespace
// that can be dumped.
func (l *lookup) listed() (inodes map[uint64]bool, whole bool) {
	inodes, whole = map[uint64]bool{}, true
	l.eachNamespace(func(conn *sockdiag.Conn, err error) {
		if err != nil {
			whole = false
			return
		}
		for _, t := range inetTables {
			rows, err := conn.Inet(sockdiag.InetRequest{Family: t.family, Protocol: t.number, States: l.states()})
			whole = whole && (err == nil || errors.Is(err, sockdiag.ErrUnsupported))
			for i := range rows {
				inodes[uint64(rows[i].Inode)] = true
			}
		}
		rows, err := conn.Unix()
		whole = whole && err == nil
		for i := range rows {
			inodes[uint64(rows[i].Inode)] = true
		}
	})
	return inodes, whole
}
