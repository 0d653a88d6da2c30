package fdscan

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// pidfdThread is PIDFD_THREAD (Linux 6.9): a pidfd of one thread, through which
// pidfd_getfd takes from that thread's own table.
const pidfdThread = unix.O_EXCL

// copyFD returns a copy of another process's descriptor: pidfd_getfd(2), Linux
// 5.6, with PTRACE_MODE_ATTACH access. The copy refers to the same open file
// description; nothing may be asked of it that changes that (reading SO_ERROR
// clears it). The caller closes it at once.
func copyFD(r Ref) (int, error) {
	pid, flags := r.PID, 0
	if r.TID != 0 {
		pid, flags = r.TID, pidfdThread
	}
	pidfd, err := unix.PidfdOpen(pid, flags)
	if err != nil {
		return -1, fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, r.FD, 0)
	if err != nil {
		return -1, fmt.Errorf("pidfd_getfd: %w", err)
	}
	return fd, nil
}

// copySocket is copyFD for a socket whose inode must be inode: a number that
// has been reused meanwhile is ESTALE.
func copySocket(r Ref, inode uint64) (int, error) {
	fd, err := copyFD(r)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != inode || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		unix.Close(fd)
		return -1, unix.ESTALE
	}
	return fd, nil
}

// askOptions asks s, through its descriptor r, for the options that bind(2)
// depends on; whether it is an MPTCP socket that is bound and nothing else, which
// only shows as the TCP socket beneath; and who listens on a unix socket.
func (s *Socket) askOptions(r Ref) error {
	fd, err := copySocket(r, s.Inode)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	s.ReuseAddr, s.ReusePort = boolOption(fd, unix.SO_REUSEADDR), boolOption(fd, unix.SO_REUSEPORT)
	if s.Protocol == Unix && s.State == Listen {
		if peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			s.ListenedBy = int(peer.Pid)
		}
	}
	if s.State != Bound {
		return nil
	}
	s.askUse(fd)
	if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err == nil && protocol == unix.IPPROTO_MPTCP {
		s.Protocol = MPTCP
		if cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE); err == nil {
			s.Cookie = cookie
		}
	}
	return nil
}

// askUse asks a TCP socket in CLOSE whether it has ever been connected, or has
// tried to be (tcp_info; the counts are of Linux 4.2).
func (s *Socket) askUse(fd int) {
	if !s.Protocol.Stream() {
		return
	}
	const tcpClose = 7 // TCP_CLOSE
	if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil && info.State == tcpClose {
		s.Segments = new(info.Segs_out + info.Segs_in)
		s.Answered = info.Bytes_acked > 0 || info.Bytes_received > 0
	}
}

func boolOption(fd, option int) *bool {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
	if err != nil {
		return nil
	}
	on := v != 0
	return &on
}

// identify asks a socket itself what it is: getsockname, getpeername, SO_TYPE
// and the like. It returns the namespace it belongs to when the kernel tells
// (SIOCGSKNS needs CAP_NET_ADMIN there); the caller closes its descriptor.
func identify(r Ref) (*Socket, *openNamespace, error) {
	fd, err := copySocket(r, r.Inode)
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(fd)
	s := &Socket{Inode: r.Inode, State: Close}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil {
		s.UID = &st.Uid
	}
	domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	protocol, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	switch domain {
	case unix.AF_INET:
		s.Family = Inet
	case unix.AF_INET6:
		s.Family = Inet6
		if v, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err == nil {
			only := v != 0
			s.V6Only = &only
		}
	case unix.AF_UNIX:
		s.Family, s.Protocol = UnixPath, Unix
	default:
		return nil, namespaceOf(fd), nil
	}
	for _, t := range inetTables {
		if s.Family != UnixPath && t.number == uint32(protocol) {
			s.Protocol = t.protocol
		}
	}
	if v, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE); err == nil {
		s.Cookie = v
	}
	if name, err := unix.Getsockname(fd); err == nil {
		s.Local = endpoint(name)
	}
	if name, err := unix.Getpeername(fd); err == nil {
		s.Remote = endpoint(name)
	}
	s.askUse(fd)
	listening, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	switch {
	case s.Dead():
	case listening != 0:
		s.State = Listen
		// Of a listener, tcpi_unacked is the length of the accept queue and
		// tcpi_sacked its limit.
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			s.Backlog = &Backlog{Queued: info.Unacked, Limit: info.Sacked}
		}
	case s.Remote.Port != 0 || s.Remote.Path != "":
		s.State = Established
	case s.Local.Port != 0 || s.Local.Path != "":
		s.State = Bound
	}
	s.ReuseAddr, s.ReusePort = boolOption(fd, unix.SO_REUSEADDR), boolOption(fd, unix.SO_REUSEPORT)
	return s, namespaceOf(fd), nil
}

func endpoint(name unix.Sockaddr) Endpoint {
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return Endpoint{Addr: netip.AddrFrom4(a.Addr), Port: uint16(a.Port)}
	case *unix.SockaddrInet6:
		return Endpoint{Addr: netip.AddrFrom16(a.Addr), Port: uint16(a.Port)}
	case *unix.SockaddrUnix:
		return Endpoint{Path: a.Name}
	}
	return Endpoint{}
}

// openNamespace is a network namespace with an open descriptor.
type openNamespace struct {
	inode uint64
	fd    int
}

// namespaceOf asks for the namespace of a socket (ioctl SIOCGSKNS, Linux 4.10);
// nil when that is not permitted.
func namespaceOf(fd int) *openNamespace {
	ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(ns, &st); err != nil {
		unix.Close(ns)
		return nil
	}
	return &openNamespace{inode: st.Ino, fd: ns}
}

// unidentified describes a socket that a walk found by its inode and that no
// table shows; what cannot be asked of it stays empty.
func (l *lookup) unidentified(r Ref) *Socket {
	s := &Socket{Inode: r.Inode, State: Close}
	if l.Detached {
		return s
	}
	found, ns, err := identify(r)
	if err != nil {
		l.unidentifiedGap(r, err)
	}
	if found != nil {
		s = found
	}
	if ns != nil {
		s.NetNS, s.NetNSMine = ns.inode, ns.inode == l.snap.Host.NetNS
		unix.Close(ns.fd)
	}
	return s
}

// fileID returns the identity and the kind of a file.
func fileID(info os.FileInfo) (FileID, string) {
	st := info.Sys().(*syscall.Stat_t)
	id := FileID{uint64(st.Dev), st.Ino}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return id, "socket"
	case unix.S_IFDIR:
		return id, "directory"
	case unix.S_IFIFO:
		return id, "fifo"
	case unix.S_IFCHR:
		return id, "character"
	case unix.S_IFBLK:
		return id, "block"
	}
	return id, "regular"
}
