package fdscan

import (
	"net/netip"
	"time"
)

// Protocol is the transport of a socket, as stray writes it.
type Protocol string

// The protocols that stray knows.
const (
	TCP     Protocol = "tcp"
	UDP     Protocol = "udp"
	UDPLite Protocol = "udplite"
	MPTCP   Protocol = "mptcp"
	Unix    Protocol = "unix"
)

// Stream reports whether the protocol shares TCP's ports: an MPTCP listener is
// bound through a TCP socket of the same port.
func (p Protocol) Stream() bool { return p == TCP || p == MPTCP }

// Family is the address family of a socket.
type Family string

// The families that stray knows.
const (
	Inet     Family = "inet"
	Inet6    Family = "inet6"
	UnixPath Family = "unix"
)

// State is the state of a socket. The TCP names are those of tcp(7) and
// include/net/tcp_states.h; BOUND is a socket that has a port and neither
// listens nor is connected.
type State string

// The states.
const (
	Listen      State = "LISTEN"
	Bound       State = "BOUND"
	Established State = "ESTABLISHED"
	SynSent     State = "SYN_SENT"
	SynRecv     State = "SYN_RECV"
	FinWait1    State = "FIN_WAIT1"
	FinWait2    State = "FIN_WAIT2"
	TimeWait    State = "TIME_WAIT"
	CloseWait   State = "CLOSE_WAIT"
	LastAck     State = "LAST_ACK"
	Closing     State = "CLOSING"
	Close       State = "CLOSE"
)

// Endpoint is one end of a socket.
type Endpoint struct {
	// Addr is the address; the zero Addr for unix sockets.
	Addr netip.Addr
	// Port is 0 for unix sockets and for a peer that does not exist.
	Port uint16
	// Path is the name a unix socket is bound to, as raw bytes; an abstract
	// name begins with '@' in place of its NUL. It may contain any byte.
	Path string
}

// Socket is one kernel socket.
type Socket struct {
	Protocol Protocol
	Family   Family
	// Type is "stream", "dgram" or "seqpacket" for unix sockets, else empty.
	Type   string
	State  State
	Local  Endpoint
	Remote Endpoint // zero when not connected
	// Peer is the inode of the other end of a unix socket; 0 when it is not
	// connected, or that is not reported.
	Peer uint64
	// peerClosed reports a unix socket whose other end has been closed.
	peerClosed bool
	// Inode is the socket's inode in sockfs; 0 when no descriptor was ever
	// made for it (TIME_WAIT, an orphan, a connection not yet accepted).
	Inode uint64
	// Cookie is SO_COOKIE, unique until the next boot; 0 when the source of
	// this row does not report it (/proc/net).
	Cookie uint64
	// NetNS is the inode of the socket's network namespace.
	NetNS     uint64
	NetNSMine bool // it is the caller's
	// UID is the owner recorded at creation; nil when the kernel reports none.
	UID *uint32
	// CgroupID is the inode of the cgroup (version 2) that created the
	// socket, and Cgroup its path below the mount; 0 and "" when unknown.
	// It names the creator, not who holds the socket now.
	CgroupID uint64
	Cgroup   string
	// V6Only is IPV6_V6ONLY; nil for other families, or when not reported.
	V6Only *bool
	// ReuseAddr and ReusePort are the socket options of these names, read
	// through a holder's descriptor; nil when that was not possible.
	ReuseAddr, ReusePort *bool
	// ListenedBy is the process that called listen(2) on a unix socket
	// (SO_PEERCRED of the listener); 0 when that is not known.
	ListenedBy int
	// FileAsked reports a unix socket that was bound to the very file that was
	// asked for, which has one meaning in every network namespace.
	FileAsked bool
	// Interface is the index of the device the socket is bound to, 0 for any.
	Interface uint32
	// Backlog is the accept queue of a listener, else nil.
	Backlog *Backlog
	// RecvQueue and SendQueue are bytes; nil for listeners.
	RecvQueue, SendQueue *uint32
	Timer                *Timer
	// InBacklogOf is the inode of the listener in whose accept queue this
	// connection waits, else 0.
	InBacklogOf uint64
	// Health is what tells whether it is well; nil unless that was asked for.
	Health *Health
	// Segments is how many segments a TCP socket in CLOSE has sent and received
	// in its life; nil for others, and when it could not be asked.
	Segments *uint32
	// Answered reports that the peer of such a socket has acknowledged or sent
	// anything, its SYN included: without that a connect may have been refused.
	Answered bool
	// KernelOwned reports an inode without any holder in a complete view: a
	// socket made by the kernel for itself.
	KernelOwned bool
	// Holders are sorted by pid, tid, way and descriptor.
	Holders []*Holder
}

// Unread is how many bytes have arrived and were not read. Once the peer has
// closed, the receive queue of TCP counts its FIN too, until that is read.
func (s *Socket) Unread() uint32 {
	if s.RecvQueue == nil || *s.RecvQueue == 0 {
		return 0
	}
	if s.Protocol.Stream() && (s.State == CloseWait || s.State == LastAck || s.State == Closing) {
		return *s.RecvQueue - 1
	}
	return *s.RecvQueue
}

// Dead reports a TCP socket that has been connected, or has tried to be, and is no
// more: it was refused, reset, or closed at both ends, and can be of no use.
func (s *Socket) Dead() bool { return s.Segments != nil && *s.Segments > 0 }

// Backlog is the accept queue of a listener, in connections.
type Backlog struct{ Queued, Limit uint32 }

// Timer is what the kernel will do next with a socket (idiag_timer).
type Timer struct {
	// Kind is "retransmit", "keepalive", "time_wait" or "probe".
	Kind    string
	Expires time.Duration
}

// Object is a file that was asked for by path.
type Object struct {
	Path    string
	Inode   uint64
	Device  uint64 // st_dev
	Kind    string // "regular", "directory", "fifo", "character", "block"
	Holders []*Holder
}
