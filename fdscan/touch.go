package fdscan

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"stray/internal/sockdiag"
)

// Borrow returns a copy of the descriptor by which h holds the socket with the
// given inode (pidfd_getfd(2), Linux 5.6; PTRACE_MODE_ATTACH access). ESTALE
// says that the number means something else by now. While the copy is open the
// socket lives. The caller closes it.
func Borrow(h *Holder, inode uint64) (fd int, err error) {
	return copySocket(Ref{PID: h.Process.PID, TID: h.TID, FD: h.FD}, inode)
}

// BorrowFile is Borrow for any kind of file.
func BorrowFile(h *Holder) (fd int, err error) {
	return copyFD(Ref{PID: h.Process.PID, TID: h.TID, FD: h.FD})
}

// Destroy has the kernel abort the socket s, for all its holders (SOCK_DESTROY,
// Linux 4.5; CAP_NET_ADMIN in its network namespace).
func (s *Scanner) Destroy(socket *Socket) error {
	conn, err := s.dialOf(socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	id := sockdiag.InetID{
		Local: socket.Local.addrPort(), Remote: socket.Remote.addrPort(), Interface: socket.Interface, Cookie: socket.Cookie,
	}
	for _, t := range inetTables {
		if t.protocol == socket.Protocol {
			id.Protocol = t.number
		}
	}
	if id.Protocol == 0 {
		return fmt.Errorf("destroy socket: %w", unix.EOPNOTSUPP)
	}
	id.Family = unix.AF_INET
	if socket.Family == Inet6 {
		id.Family = unix.AF_INET6
	}
	return conn.Destroy(id)
}

// dialOf opens sock_diag in the namespace of a socket, through one of its
// holders when that is another one.
func (s *Scanner) dialOf(socket *Socket) (*sockdiag.Conn, error) {
	if socket.NetNSMine {
		return s.dial()
	}
	for _, h := range socket.Holders {
		if h.Process.NetNS != socket.NetNS {
			continue
		}
		ns, err := os.Open(s.path(fmt.Sprint(h.Process.PID), "ns/net"))
		if err != nil {
			return nil, err
		}
		defer ns.Close()
		return s.dialIn(int(ns.Fd()))
	}
	return nil, fmt.Errorf("no holder is in network namespace net:[%d]", socket.NetNS)
}
