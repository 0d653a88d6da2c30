package fdscan

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"stray/internal/sockdiag"
)

// table is one dump: a protocol in one family.
type table struct {
	protocol Protocol
	number   uint32 // IPPROTO_*
	family   uint8
}

// inetTables are the tables that have ports. MPTCP follows TCP: each of its
// sockets has a TCP twin, so that without TCP rows there is nothing to ask.
var inetTables = []table{
	{TCP, unix.IPPROTO_TCP, unix.AF_INET},
	{TCP, unix.IPPROTO_TCP, unix.AF_INET6},
	{MPTCP, unix.IPPROTO_MPTCP, unix.AF_INET},
	{MPTCP, unix.IPPROTO_MPTCP, unix.AF_INET6},
	{UDP, unix.IPPROTO_UDP, unix.AF_INET},
	{UDP, unix.IPPROTO_UDP, unix.AF_INET6},
	{UDPLite, unix.IPPROTO_UDPLITE, unix.AF_INET},
	{UDPLite, unix.IPPROTO_UDPLITE, unix.AF_INET6},
}

// tables dumps what the targets ask for: first in the caller's network
// namespace, then in every other one that can be found. whole is false when
// some table was not read whole: then a socket may exist that is not returned.
func (l *lookup) tables(ctx context.Context) (sockets []*Socket, whole bool) {
	_, _, all := l.portRange()
	if !all && !l.hasPorts() && !l.wantsUnix() {
		return nil, true
	}
	if !l.survey.concerns(l.snap.Host.NetNS) {
		whole = true
	} else if conn, err := l.dial(); err != nil {
		l.gap(Gap{Op: "sock_diag", FD: -1, Err: reason(err), Scope: ScopeTables})
	} else {
		sockets, whole = l.namespace(conn, l.snap.Host.NetNS, true)
		conn.Close()
	}
	for _, ns := range l.namespaces() {
		if ctx.Err() != nil {
			return sockets, false
		}
		if !l.survey.concerns(ns.inode) {
			continue
		}
		more, ok := l.foreign(ns)
		sockets, whole = append(sockets, more...), whole && ok
	}
	return sockets, whole
}

// foreign dumps another namespace: through a sock_diag socket made inside it
// or, where entering it is not permitted, from the text of /proc/PID/net.
func (l *lookup) foreign(ns namespace) (sockets []*Socket, whole bool) {
	if len(ns.paths) == 0 {
		return l.procNet(ns), false
	}
	conn, err := l.enter(ns)
	if err == nil {
		defer conn.Close()
		return l.namespace(conn, ns.inode, false)
	}
	if gone(err) {
		return nil, true
	}
	if ns.pid == 0 {
		l.gap(Gap{Op: "setns " + ns.paths[0], FD: -1, Err: reason(err), Needs: "CAP_SYS_ADMIN", Scope: ScopeElsewhere})
		return nil, false
	}
	return l.procNet(ns), false
}

// enter opens sock_diag in another namespace, by the first way that still leads
// there. ESRCH says that none does: what was in it has ended.
func (l *lookup) enter(ns namespace) (*sockdiag.Conn, error) {
	var err error = unix.ESRCH
	for _, path := range ns.paths {
		conn, failed := l.enterBy(path, ns.inode)
		if failed == nil {
			return conn, nil
		}
		if !gone(failed) {
			err = failed
		}
	}
	return nil, err
}

// enterBy enters a namespace by one path. The process that led to it may have
// ended, or moved, meanwhile: that is ESRCH.
func (l *lookup) enterBy(path string, inode uint64) (*sockdiag.Conn, error) {
	// Whatever else has come to stand at the path must not block.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != inode {
		return nil, unix.ESRCH
	}
	return l.dialIn(fd)
}

// namespace dumps the tables of one namespace through conn.
func (l *lookup) namespace(conn *sockdiag.Conn, netns uint64, mine bool) (sockets []*Socket, whole bool) {
	scope := ScopeElsewhere
	if mine {
		scope = ScopeTables
	}
	whole = true
	missing := func(table string, err error) {
		whole = false
		l.gap(Gap{Op: "sock_diag " + table, FD: -1, Err: reason(err), Scope: scope})
	}
	add := func(s *Socket) {
		s.NetNS, s.NetNSMine = netns, mine
		sockets = append(sockets, s)
	}
	low, high, all := l.portRange()
	var tcp []*Socket
	anyTCP, twins := false, twinSet{}
	lacksMPTCP := sync.OnceValue(func() bool { return l.lacksMPTCP(netns) })
	for _, t := range inetTables {
		switch {
		case !all && (high == 0 || !l.asksProtocol(t.protocol)), t.protocol == MPTCP && (!anyTCP || lacksMPTCP()):
			continue
		}
		request := sockdiag.InetRequest{Family: t.family, Protocol: t.number, States: l.states()}
		if t.protocol == TCP {
			// One walk over the largest of the tables brings both families.
			if t.family == unix.AF_INET6 {
				continue
			}
			request.Family = unix.AF_UNSPEC
		}
		if !all {
			request.PortLow, request.PortHigh = low, high
		}
		if !l.survey.narrow(&request, t.protocol, netns, lacksMPTCP) {
			continue
		}
		found, err := l.inetRows(conn, t, request, netns)
		// A kernel without UDP-Lite or MPTCP has no such sockets.
		if err != nil && (t.protocol == TCP || !errors.Is(err, sockdiag.ErrUnsupported)) {
			missing(t.name(), err)
		}
		for _, s := range found.sockets {
			switch {
			case t.protocol == TCP:
				tcp = append(tcp, s)
			case l.wantsInet(s):
				add(s)
				fallthrough
			default:
				twins.add(s)
			}
		}
		anyTCP = anyTCP || t.protocol == TCP && found.any
	}
	for _, s := range tcp {
		if !twins.has(s) {
			add(s)
		}
	}
	if l.wantsUnix() {
		found, err := l.unixRows(conn, netns)
		if err != nil {
			missing("unix", err)
		}
		for _, s := range found {
			add(s)
		}
	}
	return sockets, whole
}

// foundRows are the rows of a table that matter.
type foundRows struct {
	// sockets are those that are wanted, and all of MPTCP.
	sockets []*Socket
	any     bool // the table has rows
}

// inetRows dumps one inet table.
func (l *lookup) inetRows(conn *sockdiag.Conn, t table, request sockdiag.InetRequest, netns uint64) (found foundRows, err error) {
	undo := l.survey.mark()
	err = conn.EachInet(request, sockdiag.Rows[sockdiag.Inet]{
		Begin: func() { found = foundRows{}; undo() },
		Row: func(row *sockdiag.Inet) {
			found.any = true
			if l.survey.passesInet(t.protocol, row, netns) && t.protocol != MPTCP {
				return
			}
			if s := inetSocket(t.protocol, row); t.protocol == MPTCP || l.wantsInet(s) {
				found.sockets = append(found.sockets, s)
			}
		},
	})
	return found, err
}

// unixRows dumps the unix table.
func (l *lookup) unixRows(conn *sockdiag.Conn, netns uint64) (found []*Socket, err error) {
	undo := l.survey.mark()
	err = conn.EachUnix(sockdiag.Rows[sockdiag.Unix]{
		Begin: func() { found = nil; undo() },
		Row: func(row *sockdiag.Unix) {
			if l.survey.passesUnix(row, netns) {
				return
			}
			if s := unixSocket(row); l.wantsUnixSocket(s, row) {
				found = append(found, s)
			}
		},
	})
	return found, err
}

// states are those that this kernel can be asked for.
func (l *lookup) states() uint32 {
	if l.listsBound() {
		return sockdiag.AllStates
	}
	return sockdiag.AllStates &^ (1 << sockdiag.BoundInactive)
}

func (t table) name() string {
	if t.family == unix.AF_INET6 {
		return string(t.protocol) + "6"
	}
	return string(t.protocol)
}

// twinSet knows the TCP sockets beneath MPTCP ones: the first subflow shares
// inode and local address (others, joined at another address, only the inode);
// a connection not accepted yet shares both ends.
type twinSet map[any]bool

type (
	inodeAt struct {
		inode uint64
		local netip.AddrPort
	}
	ends struct{ local, remote netip.AddrPort }
)

func (t twinSet) add(s *Socket) {
	if s.Protocol != MPTCP {
		return
	}
	if s.Inode != 0 {
		t[inodeAt{s.Inode, s.Local.addrPort()}] = true
	}
	if s.Remote.Port != 0 {
		t[ends{s.Local.addrPort(), s.Remote.addrPort()}] = true
	}
}

func (t twinSet) has(s *Socket) bool {
	return s.Inode != 0 && t[inodeAt{s.Inode, s.Local.addrPort()}] || s.Remote.Port != 0 && t[ends{s.Local.addrPort(), s.Remote.addrPort()}]
}

func (e Endpoint) addrPort() netip.AddrPort { return netip.AddrPortFrom(e.Addr, e.Port) }

// portRange is the least range that covers all port targets; all means that
// every socket has to be looked at, for a survey or since an inode was asked for.
func (l *lookup) portRange() (low, high uint16, all bool) {
	if l.survey != nil || l.everySocket {
		return 0, 0, true
	}
	for _, t := range l.question.Targets {
		switch {
		case t.Kind == InodeTarget:
			all = true
		case t.Kind == PortTarget:
			if low == 0 || t.PortLow < low {
				low = t.PortLow
			}
			high = max(high, t.PortHigh)
		}
	}
	return low, high, all
}

func (l *lookup) asksProtocol(p Protocol) bool {
	for _, t := range l.question.Targets {
		// MPTCP is dumped with TCP, to tell the twins apart.
		if t.Kind == PortTarget && (t.asks(p) || p == MPTCP && t.asks(TCP) || p == TCP && t.asks(MPTCP)) {
			return true
		}
	}
	return false
}

func (l *lookup) wantsInet(s *Socket) bool {
	if l.everySocket {
		return true
	}
	if l.survey != nil {
		return l.survey.wants(s)
	}
	for _, t := range l.question.Targets {
		if t.concerns(s) || t.Kind == InodeTarget && s.Inode != 0 && t.Inode == s.Inode {
			return true
		}
	}
	return false
}

func (l *lookup) wantsUnix() bool {
	if l.everySocket {
		return true
	}
	if l.survey != nil {
		return l.survey.ports // connections of unix sockets are never selected
	}
	for _, t := range l.question.Targets {
		if t.Kind == UnixTarget || t.Kind == InodeTarget {
			return true
		}
	}
	// A file may be the name of a unix socket.
	for _, o := range l.snap.Objects {
		if o.Kind == "socket" {
			return true
		}
	}
	return false
}

// wantsUnixName reports whether the name or inode of a socket was asked for.
func (l *lookup) wantsUnixName(s *Socket) bool {
	if l.everySocket {
		return true
	}
	if l.survey != nil {
		return l.survey.wants(s)
	}
	for _, t := range l.question.Targets {
		switch t.Kind {
		case UnixTarget, FileTarget:
			if s.Local.Path == t.Path {
				return true
			}
		case InodeTarget:
			if s.Inode == t.Inode {
				return true
			}
		}
	}
	return false
}

// wantsUnixSocket also compares the file that a socket was bound to.
func (l *lookup) wantsUnixSocket(s *Socket, row *sockdiag.Unix) bool {
	// The kernel's device number is major<<20 | minor, and it tells the lower
	// half of an inode's number.
	device := unix.Mkdev(row.FileDevice>>20, row.FileDevice&0xfffff)
	same := func(id FileID) bool {
		return row.FileInode != 0 && id.Device == device && uint32(id.Inode) == row.FileInode
	}
	for id := range l.unixFiles {
		s.FileAsked = s.FileAsked || same(id)
	}
	for id, o := range l.files {
		s.FileAsked = s.FileAsked || o.Kind == "socket" && same(id)
	}
	return s.FileAsked || l.wantsUnixName(s)
}

// socketID tells sockets apart: by cookie, or by inode where none is reported.
type socketID struct{ netns, cookie, inode uint64 }

func (s *Socket) id() socketID { return socketID{s.NetNS, s.Cookie, s.Inode} }

// add makes a socket part of the answer. A dump may show one twice, when its
// table changes meanwhile.
func (l *lookup) add(s *Socket) {
	if s.Cookie != 0 && l.known[s.id()] {
		return
	}
	if l.known == nil {
		l.sockets, l.known = map[uint64][]*Socket{}, map[socketID]bool{}
	}
	l.known[s.id()] = true
	if s.Inode != 0 {
		l.sockets[s.Inode] = append(l.sockets[s.Inode], s)
	}
	l.snap.Sockets = append(l.snap.Sockets, s)
}
