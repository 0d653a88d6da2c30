package fdscan

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/sockdiag"
)

// tables reads the tables of every namespace, and keeps of them what is asked
// for.
func (c *connections) tables(ctx context.Context) error {
	conn, err := c.dial()
	if err != nil {
		c.gap(Gap{Op: "sock_diag", FD: -1, Err: reason(err), Scope: ScopeTables})
	} else {
		c.namespace(conn, c.snap.Host.NetNS, true)
		conn.Close()
	}
	for _, ns := range c.namespaces() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.other(ns)
	}
	if c.Detached {
		return ctx.Err()
	}
	refs, err := c.unshown(ctx)
	for _, ns := range c.ownerless(refs) {
		c.other(ns)
	}
	return err
}

// other reads the tables of another namespace than the caller's.
func (c *connections) other(ns namespace) {
	conn, err := c.enter(ns)
	switch {
	case err == nil:
		c.namespace(conn, ns.inode, false)
		conn.Close()
	case !gone(err):
		// The text of /proc/PID/net tells nothing of health.
		c.gap(Gap{Op: "enter network namespace", PID: ns.pid, FD: -1, Err: reason(err), Needs: "CAP_SYS_ADMIN", Scope: ScopeElsewhere})
	}
}

// namespace reads the tables of one namespace.
func (c *connections) namespace(conn *sockdiag.Conn, netns uint64, mine bool) {
	n := &namespaceTables{connections: c, conn: conn, netns: netns, mine: mine, multipath: map[uint64]*Socket{}, unowned: map[ends]bool{}}
	c.snap.Looked.Namespaces++
	n.mptcp()
	n.tcp()
	n.parents()
	n.udp()
	n.unix()
}

// namespaceTables is the reading of one namespace. Tables are read row by row:
// one of 100,000 connections is never in memory whole.
type namespaceTables struct {
	*connections
	conn  *sockdiag.Conn
	netns uint64
	mine  bool
	// multipath has the inode of every MPTCP socket, and the socket where it is
	// kept. MPTCP listeners are told by their TCP twins, which know more.
	multipath map[uint64]*Socket
	// unowned are the MPTCP connections that no process has.
	unowned map[ends]bool
	// subflows are those to be told of, by the inode that they share with their
	// parent, which is not kept yet.
	subflows map[uint64][]*Socket
	// seen are the inodes of MPTCP connections of which a subflow was met.
	seen        map[uint32]bool
	current     connectionRow
	currentUnix unixConnection
}

// connectionRow is a Socket with all that a row and its health have it point to.
type connectionRow struct {
	inetRow
	health Health
	tcp    TCPInfo
	mptcp  MPTCPInfo
	memory SocketMemory
}

// read makes r the socket that row describes.
func (r *connectionRow) read(p Protocol, row *sockdiag.Connection) *Socket {
	r.inetRow.read(p, &row.Inet)
	r.health = Health{
		Congestion: row.Congestion, ShutRead: row.Shutdown&sockdiag.ShutRead != 0, ShutWrite: row.Shutdown&sockdiag.ShutWrite != 0,
	}
	if row.HasTCP {
		r.tcp = row.TCP
		r.health.TCP = &r.tcp
	}
	if row.HasMPTCP {
		r.mptcp = row.MPTCP
		r.health.MPTCP = &r.mptcp
		if r.SendQueue != nil {
			// The kernel's own number is of memory, and 0 while all of it is with
			// the subflows.
			r.send = uint32(min(row.MPTCP.Undelivered, math.MaxUint32))
		}
	}
	if row.HasMemory {
		r.memory = row.Memory
		r.health.Memory = &r.memory
	}
	r.Health = &r.health
	return &r.Socket
}

// dump reads one table. What it adds is forgotten when the table has to be read
// again: begin is called before each reading.
func (n *namespaceTables) dump(t table, begin func(), row func(*sockdiag.Connection)) {
	request := sockdiag.InetRequest{Family: t.family, Protocol: t.number, States: sockdiag.AllStates &^ (1<<sockdiag.BoundInactive | 1<<sockdiag.TimeWait)}
	err := n.conn.EachConnection(request, sockdiag.Rows[sockdiag.Connection]{Begin: begin, Row: row})
	// A kernel without UDP-Lite or MPTCP has no such sockets.
	if err != nil && (t.protocol == TCP || !errors.Is(err, sockdiag.ErrUnsupported)) {
		n.missing(t.name(), err)
	}
}

func (n *namespaceTables) missing(table string, err error) {
	scope := ScopeElsewhere
	if n.mine {
		scope = ScopeTables
	}
	n.gap(Gap{Op: "sock_diag " + table, FD: -1, Err: reason(err), Scope: scope})
}

// keep decides about the socket that a row describes, and returns a copy of it if
// it is kept. suspect is whether it is to be told of.
func (n *namespaceTables) keep(p Protocol, row *sockdiag.Connection) (s *Socket, suspect bool) {
	s = n.current.read(p, row)
	s.NetNS, s.NetNSMine = n.netns, n.mine
	if suspect = n.isSuspect(s); !suspect && !n.isWanted(s) {
		return nil, false
	}
	s = new(connectionRow).read(p, row)
	s.NetNS, s.NetNSMine = n.netns, n.mine
	return s, suspect
}

func (n *namespaceTables) isSuspect(s *Socket) bool {
	return n.isAsked(s) && n.ask.Suspect != nil && n.ask.Suspect(s)
}

// isWanted reports a socket that is kept in any case.
func (n *namespaceTables) isWanted(s *Socket) bool { return n.ask.All && n.isAsked(s) }

// isAsked reports whether the question is about s at all.
func (c *connections) isAsked(s *Socket) bool {
	if c.held != nil {
		switch shown, held := c.held[s.Inode]; {
		case !held:
			return false
		case !shown:
			c.held[s.Inode] = true
		}
	}
	return len(c.ask.Targets) == 0 || slices.ContainsFunc(c.ask.Targets, func(t Target) bool { return t.MatchesEnd(s) })
}

// counts reports whether a row is among those that were asked for.
func (n *namespaceTables) counts(p Protocol, row *sockdiag.Connection) bool {
	if n.held == nil && len(n.ask.Targets) == 0 {
		return true
	}
	s := n.current.read(p, row)
	s.NetNS, s.NetNSMine = n.netns, n.mine
	return n.isAsked(s)
}

// extra reports a subflow that is not the first of its MPTCP connection.
func (n *namespaceTables) extra(row *sockdiag.Connection) bool {
	if _, multipath := n.multipath[uint64(row.Inode)]; !multipath || row.Inode == 0 {
		return false
	}
	seen := n.seen[row.Inode]
	if n.seen == nil {
		n.seen = map[uint32]bool{}
	}
	n.seen[row.Inode] = true
	return seen
}

// kept is what one reading of a table adds to the answer.
type kept struct {
	sockets  []*Socket
	suspects []bool
	looked   Looked
}

func (k *kept) add(s *Socket, suspect bool) {
	if s != nil {
		k.sockets, k.suspects = append(k.sockets, s), append(k.suspects, suspect)
	}
}

// take makes k part of the answer.
func (c *connections) take(k *kept) {
	c.snap.Looked.add(k.looked)
	for i, s := range k.sockets {
		c.add(s)
		if k.suspects[i] {
			c.suspects[s] = true
		}
	}
}

// mptcp reads the MPTCP sockets. They come before their subflows, which are
// among the TCP sockets.
func (n *namespaceTables) mptcp() {
	if n.lacksMPTCP(n.netns) {
		return
	}
	for _, t := range inetTables {
		if t.protocol != MPTCP {
			continue
		}
		var found kept
		n.dump(t, func() { found = kept{} }, func(row *sockdiag.Connection) {
			if row.Inode == 0 {
				// Not accepted yet, of which TCP tells; or left to the kernel.
				n.unowned[ends{row.Local, row.Remote}] = true
				return
			}
			n.multipath[uint64(row.Inode)] = nil
			if row.State == sockdiag.Listen {
				return
			}
			if s, suspect := n.keep(MPTCP, row); s != nil {
				n.multipath[s.Inode] = s
				found.add(s, suspect)
			}
		})
		n.take(&found)
	}
}

// tcp reads the TCP sockets, of both families by one walk over the table.
func (n *namespaceTables) tcp() {
	var found kept
	var listeners []*Socket
	var queue acceptQueues
	begin := func() {
		found, listeners, queue = kept{}, nil, acceptQueues{}
		n.subflows, n.seen = nil, nil
		for _, parent := range n.multipath {
			if parent != nil {
				parent.Health.Subflows = nil
			}
		}
	}
	n.dump(table{TCP, unix.IPPROTO_TCP, unix.AF_UNSPEC}, begin, func(row *sockdiag.Connection) {
		n.at.add(row.Local.Addr(), n.netns)
		parent, multipath := n.multipath[uint64(row.Inode)]
		multipath = multipath && row.Inode != 0
		switch {
		case row.State == sockdiag.Listen:
			p := TCP
			if multipath {
				p = MPTCP
			}
			if n.counts(p, row) {
				found.looked.Listeners++
			}
			s := new(connectionRow).read(p, row)
			s.NetNS, s.NetNSMine = n.netns, n.mine
			listeners = append(listeners, s)
			return
		case row.Inode != 0 && n.unowned[ends{row.Local, row.Remote}]:
			// A subflow keeps the number of an inode that is gone. The kernel ends
			// it within net.mptcp.close_timeout, a minute.
		case multipath:
			if s := n.subflow(parent, row); s != nil && parent == nil {
				if n.subflows == nil {
					n.subflows = map[uint64][]*Socket{}
				}
				n.subflows[s.Inode] = append(n.subflows[s.Inode], s)
			} else if s != nil {
				parent.Health.Subflows = append(parent.Health.Subflows, s)
			}
		default:
			queue.add(row)
			found.add(n.keep(TCP, row))
		}
		if (row.Inode != 0 || row.State != sockdiag.NewSynRecv && row.State != sockdiag.SynRecv) && !n.extra(row) && n.counts(TCP, row) {
			found.looked.Connections++
		}
	})
	queue.assign(listeners, n.netns)
	for _, s := range listeners {
		if suspect := n.isSuspect(s); suspect || n.isWanted(s) {
			found.add(s, suspect)
		}
	}
	n.take(&found)
}

// subflow returns the TCP socket of a row beneath an MPTCP socket, if it is to
// be kept: with its parent, or since it is suspect itself.
func (n *namespaceTables) subflow(parent *Socket, row *sockdiag.Connection) *Socket {
	if parent == nil {
		s, suspect := n.keep(TCP, row)
		if !suspect {
			return nil
		}
		return s
	}
	s := new(connectionRow).read(TCP, row)
	s.NetNS, s.NetNSMine = n.netns, n.mine
	return s
}

// parents reads the MPTCP sockets again of which only a subflow is suspect.
func (n *namespaceTables) parents() {
	for _, t := range inetTables {
		if t.protocol != MPTCP || len(n.subflows) == 0 {
			continue
		}
		var found kept
		n.dump(t, func() { found = kept{} }, func(row *sockdiag.Connection) {
			subflows := n.subflows[uint64(row.Inode)]
			if subflows == nil {
				return
			}
			s := new(connectionRow).read(MPTCP, row)
			s.NetNS, s.NetNSMine = n.netns, n.mine
			s.Health.Subflows = subflows
			found.add(s, true)
		})
		n.take(&found)
	}
}

// udp reads the datagram sockets.
func (n *namespaceTables) udp() {
	for _, t := range inetTables {
		if t.protocol.Stream() {
			continue
		}
		var found kept
		n.dump(t, func() { found = kept{} }, func(row *sockdiag.Connection) {
			if n.counts(t.protocol, row) {
				found.looked.Datagrams++
			}
			found.add(n.keep(t.protocol, row))
		})
		n.take(&found)
	}
}

func seconds(n int) time.Duration { return time.Duration(max(0, n)) * time.Second }

func milliseconds(n int) time.Duration {
	return time.Duration(min(max(0, n), math.MaxInt32)) * time.Millisecond
}
