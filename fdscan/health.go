package fdscan

import (
	"time"

	"stray/internal/sockdiag"
)

// TCPInfo is what TCP knows of one connection: struct tcp_info, under the
// kernel's names (tcp(7), TCP_INFO).
type TCPInfo = sockdiag.TCPInfo

// MPTCPInfo is struct mptcp_info of linux/mptcp.h.
type MPTCPInfo = sockdiag.MPTCPInfo

// SocketMemory is the memory of a socket, and what was thrown away for want of
// it (SK_MEMINFO).
type SocketMemory = sockdiag.Memory

// Health is what tells whether a connection is well, or a listener keeps up. It
// is there for questions about that only (Scanner.Connections).
type Health struct {
	// TCP is nil for what is no TCP, and for what has no tcp_info any more or
	// yet (TIME_WAIT, FIN_WAIT2 without a process, a handshake).
	TCP   *TCPInfo
	MPTCP *MPTCPInfo
	// Memory is nil before Linux 4.7, and for unix sockets.
	Memory     *SocketMemory
	Congestion string // the congestion control, such as "cubic"
	// ShutRead and ShutWrite say in which way the socket is shut down. The
	// peer's end of sending shuts a socket down for reading.
	ShutRead, ShutWrite bool
	// PeerClosed reports a unix socket whose other end has been closed.
	PeerClosed bool
	// Subflows are the TCP connections of an MPTCP connection.
	Subflows []*Socket
	// Options are asked of suspects only; nil when they were not, or could not
	// be.
	Options *ConnectionOptions
	// Peer is the other end, when that is on this machine; nil when it is not,
	// or was not looked for.
	Peer *Socket
	// Waiting is what waits for a listener; nil for other sockets.
	Waiting *Waiting
	// Trend is how it has changed since an earlier look; nil without one.
	Trend *Trend
}

// Waiting is what waits for a listener to accept it.
type Waiting struct {
	// Connections are those whose handshake is complete, as the table shows
	// them; Closed those of them, at least, that the peer has closed meanwhile.
	Connections, Closed int
	// Oldest is how long the one has waited, at least, that has waited longest.
	Oldest time.Duration
	// HalfOpen are those whose handshake is not complete (SYN_RECV); in a group
	// an equal share of them.
	HalfOpen int
	// Unanswered are those of them to which the kernel has answered more than
	// once, so that they have lasted for a second at least.
	Unanswered int
	// Group is how many listeners of one address (SO_REUSEPORT) it may wait for,
	// this one among them. With more than one, what waits for which is known by
	// number only.
	Group int
	// GroupOldest is how long the one has waited that has waited longest for any
	// of the group, and GroupTold the longest Oldest of its members: when that is
	// less, it cannot be told who has kept the other waiting.
	GroupOldest, GroupTold time.Duration
	group                  *acceptGroup
}

// ConnectionOptions are the socket options that say how long a connection lasts
// without an answer. They are read from a copy of the descriptor.
type ConnectionOptions struct {
	// Keepalive is SO_KEEPALIVE; Idle, Interval and Count are TCP_KEEPIDLE,
	// TCP_KEEPINTVL and TCP_KEEPCNT, whether it is on or not.
	Keepalive      bool
	Idle, Interval time.Duration
	Count          int
	// UserTimeout is TCP_USER_TIMEOUT; 0 for the kernel's own patience.
	UserTimeout time.Duration
}

// Network is what TCP goes by in one network namespace, and what it has counted
// there.
type Network struct {
	NetNS uint64
	// Known reports that the fields of the first group were read.
	Known bool
	// Retries2, SynRetries and OrphanRetries are net.ipv4.tcp_retries2,
	// tcp_syn_retries and tcp_orphan_retries.
	Retries2, SynRetries, OrphanRetries int
	// SynLinear is how many of a connect's first timeouts do not double
	// (tcp_syn_linear_timeouts, Linux 6.5): these come on top of SynRetries.
	SynLinear int
	// RTOMin and RTOMax bound the retransmission timer (tcp_rto_min_us, Linux
	// 6.11, and tcp_rto_max_ms, 6.15; 200 ms and 2 min before).
	RTOMin, RTOMax time.Duration
	// KeepaliveInterval and KeepaliveProbes are what SO_KEEPALIVE goes by unless
	// the socket says otherwise (tcp_keepalive_intvl, tcp_keepalive_probes).
	KeepaliveInterval time.Duration
	KeepaliveProbes   int
	// ListenOverflows and ListenDrops count the connections that a full accept
	// queue, or anything, has kept from a listener of this namespace (netstat);
	// nil when they could not be read.
	ListenOverflows, ListenDrops *uint64
}

// Looked counts what a question about connections has looked at, whether it is
// in the answer or not.
type Looked struct {
	// Connections are those of TCP, MPTCP and unix stream sockets; Listeners
	// likewise. Datagrams are sockets of UDP and UDP-Lite.
	Connections, Listeners, Datagrams int
	Namespaces                        int
}

func (n *Looked) add(o Looked) {
	n.Connections += o.Connections
	n.Listeners += o.Listeners
	n.Datagrams += o.Datagrams
	n.Namespaces += o.Namespaces
}

// Trend is how a socket has changed between two looks.
type Trend struct {
	Over time.Duration // between the looks
	// SendQueue and RecvQueue are by how many bytes the queues have grown.
	SendQueue, RecvQueue int64
	// Acked and Received are the bytes that the peer has acknowledged and sent.
	Acked, Received uint64
	// Retransmissions are segments sent again, Dropped what was thrown away
	// for want of room.
	Retransmissions, Dropped uint32
	// Heard reports that any segment of the peer has arrived in between.
	Heard bool
}

// Follow tells, of each socket that an earlier look has seen too, what has
// changed since.
func (s *Snapshot) Follow(before *Snapshot) {
	earlier := make(map[socketID]*Socket, len(before.Sockets))
	note := func(k *Socket) {
		if k.Cookie != 0 && k.Health != nil {
			earlier[k.id()] = k
		}
	}
	for _, k := range before.Sockets {
		note(k)
		if k.Health != nil {
			for _, sub := range k.Health.Subflows {
				note(sub)
			}
		}
	}
	over := s.TakenAt.Sub(before.TakenAt)
	followed := map[*acceptGroup]bool{}
	compare := func(k *Socket) {
		if o := earlier[k.id()]; o != nil && k.Health != nil && k.State == o.State {
			k.Health.Trend = trendOf(o, k, over)
			if w, then := k.Health.Waiting, o.Health.Waiting; w != nil && w.Group > 1 && then.group != nil && !followed[w.group] {
				followed[w.group] = true
				w.group.follow(then.group)
			}
		}
	}
	for _, k := range s.Sockets {
		compare(k)
		if k.Health != nil {
			for _, sub := range k.Health.Subflows {
				compare(sub)
			}
		}
	}
}

func trendOf(before, now *Socket, over time.Duration) *Trend {
	value := func(n *uint32) int64 {
		if n == nil {
			return 0
		}
		return int64(*n)
	}
	t := &Trend{
		Over:      over,
		SendQueue: value(now.SendQueue) - value(before.SendQueue),
		RecvQueue: value(now.RecvQueue) - value(before.RecvQueue),
	}
	if a, b := before.Health.TCP, now.Health.TCP; a != nil && b != nil {
		t.Acked, t.Received, t.Retransmissions = b.BytesAcked-a.BytesAcked, b.BytesReceived-a.BytesReceived, b.TotalRetrans-a.TotalRetrans
		// Without a word from the peer its age advances as time does; a quarter
		// leaves room for how long the looks themselves take, and the rest for the
		// kernel's clock, which ticks each 10 ms at worst.
		const tick = 10 * time.Millisecond
		t.Heard = b.LastAckRecv+over/4+2*tick < a.LastAckRecv+over
	}
	if a, b := before.Health.Memory, now.Health.Memory; a != nil && b != nil {
		t.Dropped = b.Drops - a.Drops
	}
	return t
}
