package fdscan

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/sockdiag"
)

var inetStates = map[uint8]State{
	sockdiag.Established: Established, sockdiag.SynSent: SynSent, sockdiag.SynRecv: SynRecv, sockdiag.NewSynRecv: SynRecv,
	sockdiag.FinWait1: FinWait1, sockdiag.FinWait2: FinWait2, sockdiag.TimeWait: TimeWait, sockdiag.CloseWait: CloseWait,
	sockdiag.LastAck: LastAck, sockdiag.Listen: Listen, sockdiag.Closing: Closing,
	// A socket in CLOSE that the tables list has a port: it is bound only
	// (asked for as state 13, answered as 7), or a datagram socket.
	sockdiag.Close: Bound, sockdiag.BoundInactive: Bound,
}

var timers = map[uint8]string{1: "retransmit", 2: "keepalive", 3: "time_wait", 4: "probe"}

// inetRow is a Socket with all that a row of an inet table has it point to.
type inetRow struct {
	Socket
	v6only     bool
	uid        uint32
	recv, send uint32
	backlog    Backlog
	timer      Timer
}

// inetSocket makes a socket of a row, of which it keeps nothing.
func inetSocket(p Protocol, row *sockdiag.Inet) *Socket {
	r := new(inetRow)
	r.read(p, row)
	return &r.Socket
}

// read makes r the socket that row describes.
func (r *inetRow) read(p Protocol, row *sockdiag.Inet) {
	s := &r.Socket
	*s = Socket{
		Protocol: p, Family: Inet, State: inetStates[row.State],
		Local:  Endpoint{Addr: row.Local.Addr(), Port: row.Local.Port()},
		Inode:  uint64(row.Inode),
		Cookie: row.Cookie, CgroupID: row.CgroupID, Interface: row.Interface,
	}
	if row.Family == unix.AF_INET6 {
		s.Family = Inet6
	}
	if row.Remote.Port() != 0 {
		s.Remote = Endpoint{Addr: row.Remote.Addr(), Port: row.Remote.Port()}
	}
	if row.HasV6Only {
		r.v6only = row.V6Only
		s.V6Only = &r.v6only
	}
	if r.uid = row.UID; hasUID(s.Inode, r.uid) {
		s.UID = &r.uid
	}
	if s.State == Listen {
		r.backlog = Backlog{Queued: row.RecvQueue, Limit: row.SendQueue}
		s.Backlog = &r.backlog
	} else {
		r.recv, r.send = row.RecvQueue, row.SendQueue
		if s.State == Bound && p.Stream() {
			// What tcp_diag counts after a connect that failed are sequence
			// numbers: nothing is queued.
			r.send = 0
		}
		s.RecvQueue, s.SendQueue = &r.recv, &r.send
	}
	if kind := timers[row.Timer]; kind != "" {
		// Some kernels let the time of an overdue timer wrap around.
		r.timer = Timer{Kind: kind, Expires: time.Duration(max(0, int32(row.Expires))) * time.Millisecond}
		s.Timer = &r.timer
	}
}

// setUID notes the owner that a table reports. What has no owner any more
// (TIME_WAIT, an orphan), or not yet (a connection in a backlog), is said to
// have uid 0, which means nothing.
func (s *Socket) setUID(uid uint32) {
	if hasUID(s.Inode, uid) {
		s.UID = &uid
	}
}

func hasUID(inode uint64, uid uint32) bool { return inode != 0 || uid != 0 }

var unixTypes = map[uint8]string{unix.SOCK_STREAM: "stream", unix.SOCK_DGRAM: "dgram", unix.SOCK_SEQPACKET: "seqpacket"}

// unixRow is a Socket with all that a row of the unix table has it point to.
type unixRow struct {
	Socket
	uid, recv, send uint32
	backlog         Backlog
}

// unixSocket makes a socket of a row, of which it keeps nothing.
func unixSocket(row *sockdiag.Unix) *Socket {
	r := new(unixRow)
	r.read(row)
	return &r.Socket
}

// read makes r the socket that row describes.
func (r *unixRow) read(row *sockdiag.Unix) {
	s := &r.Socket
	*s = Socket{
		Protocol: Unix, Family: UnixPath, Type: unixTypes[row.Type], State: inetStates[row.State],
		Local: Endpoint{Path: unixName(row.Name)}, Inode: uint64(row.Inode), Cookie: row.Cookie, Peer: uint64(row.Peer),
	}
	if s.State == Bound && s.Local.Path == "" {
		s.State = Close
	}
	s.peerClosed = isPeerClosed(s, row)
	if row.HasUID {
		r.uid = row.UID
		s.UID = &r.uid
	}
	if s.State == Listen {
		r.backlog = Backlog{Queued: row.RecvQueue, Limit: row.SendQueue}
		s.Backlog = &r.backlog
	} else {
		r.recv, r.send = row.RecvQueue, row.SendQueue
		s.RecvQueue, s.SendQueue = &r.recv, &r.send
	}
}

// isPeerClosed reports a connection whose other end has been closed: that of one
// which waits to be accepted has no inode either, and is not shut down.
func isPeerClosed(s *Socket, row *sockdiag.Unix) bool {
	return s.State == Established && row.PeerGone && row.Shutdown != 0
}

// unixName writes an abstract name with '@' for its first NUL, and drops the
// NUL that some programs count into the length of a path.
func unixName(name string) string {
	if strings.HasPrefix(name, "\x00") {
		return "@" + name[1:]
	}
	return strings.TrimRight(name, "\x00")
}
