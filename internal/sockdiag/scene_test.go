package sockdiag

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/osthread"
)

// made is a socket of a test, as the kernel describes it to its owner.
type made struct {
	fd     int
	inode  uint32
	cookie uint64
	local  unix.Sockaddr
}

// scene makes sockets in the network namespace of one thread.
type scene struct {
	sockets []int
	err     error // the first error: what comes after it does nothing
}

// try runs a step unless an earlier one has failed.
func (s *scene) try(what string, step func() error) {
	if s.err != nil {
		return
	}
	if err := step(); err != nil {
		s.err = fmt.Errorf("%s: %w", what, err)
	}
}

// socket makes a socket, and binds it unless addr is nil.
func (s *scene) socket(domain, kind, protocol int, addr unix.Sockaddr, options ...func(fd int) error) (fd int) {
	s.try("socket", func() (err error) {
		if fd, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol); err == nil {
			s.sockets = append(s.sockets, fd)
		}
		return err
	})
	for _, option := range options {
		s.try("option", func() error { return option(fd) })
	}
	if addr != nil {
		s.try("bind", func() error { return unix.Bind(fd, addr) })
	}
	return fd
}

// listen makes a TCP listener, or one of another protocol.
func (s *scene) listen(domain, protocol int, addr unix.Sockaddr, options ...func(fd int) error) (fd int) {
	fd = s.socket(domain, unix.SOCK_STREAM, protocol, addr, options...)
	s.try("listen", func() error { return unix.Listen(fd, backlog) })
	return fd
}

// backlog is that of every listener of a scene.
const backlog = 5

// connect makes a connection to the listener, from an address unless that is nil.
func (s *scene) connect(listener int, from unix.Sockaddr) (fd int) {
	var to unix.Sockaddr
	s.try("getsockname", func() (err error) { to, err = unix.Getsockname(listener); return err })
	domain := unix.AF_INET
	switch to.(type) {
	case *unix.SockaddrInet6:
		domain = unix.AF_INET6
	case *unix.SockaddrUnix:
		domain = unix.AF_UNIX
	}
	fd = s.socket(domain, unix.SOCK_STREAM, 0, from)
	s.try("connect", func() error { return unix.Connect(fd, to) })
	return fd
}

func (s *scene) accept(listener int) (fd int) {
	s.try("accept", func() (err error) {
		if fd, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC); err == nil {
			s.sockets = append(s.sockets, fd)
		}
		return err
	})
	return fd
}

// timeWait makes a connection to the listener and closes it from the far end,
// so that the far end's port, that of from, rests in TIME_WAIT.
func (s *scene) timeWait(listener int, from unix.Sockaddr) {
	client := s.connect(listener, from)
	server := s.accept(listener)
	s.try("close", func() error { return unix.Close(client) })
	// The end of the stream tells that FIN has arrived.
	s.try("read", func() error { _, err := unix.Read(server, make([]byte, 1)); return err })
	s.try("close", func() error { return unix.Close(server) })
	s.sockets = s.sockets[:len(s.sockets)-2]
}

// describe asks the kernel what a socket is.
func (s *scene) describe(fd int) (m made) {
	m.fd = fd
	s.try("describe", func() (err error) {
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err != nil {
			return err
		}
		m.inode = uint32(st.Ino)
		if m.cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil {
			return err
		}
		m.local, err = unix.Getsockname(fd)
		return err
	})
	return m
}

func (s *scene) close() {
	for _, fd := range s.sockets {
		unix.Close(fd)
	}
}

// newScene returns a scene in the namespace of the test.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{}
	t.Cleanup(s.close)
	return s
}

// newNamespace makes a network namespace with loopback up, plays the scene in
// it, and returns a descriptor of the namespace.
func newNamespace(t *testing.T, play func(s *scene)) (nsfd int) {
	t.Helper()
	s := &scene{}
	osthread.Discard(func() error { nsfd = s.enterNew(play); return nil })
	t.Cleanup(s.close)
	if s.err != nil {
		t.Fatal(s.err)
	}
	t.Cleanup(func() { unix.Close(nsfd) })
	return nsfd
}

// enterNew moves this thread, which is never used again.
func (s *scene) enterNew(play func(s *scene)) (nsfd int) {
	s.try("unshare", func() error { return unix.Unshare(unix.CLONE_NEWNET) })
	s.try("set loopback up", loopbackUp)
	s.try("open namespace", func() (err error) {
		nsfd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	play(s)
	return nsfd
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// at is a socket address; port 0 lets the kernel choose.
func at(address string) unix.Sockaddr {
	ap := netip.MustParseAddrPort(address)
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
}

// addrPortOf is the inverse of at.
func addrPortOf(addr unix.Sockaddr) netip.AddrPort {
	switch a := addr.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// v6only returns a socket option.
func v6only(value int) func(fd int) error {
	return func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, value) }
}
