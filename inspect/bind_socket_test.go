package inspect_test

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"stray/fdscan"
)

// The numbers of TCP's states, as TCP_INFO reports them.
const (
	bindSynSent   = 2
	bindFinWait2  = 5
	bindClose     = 7
	bindCloseWait = 8
)

// stuff fills the connection until nothing more goes in.
func (w *bindWorld) stuff(fd int) {
	block := make([]byte, 1<<16)
	for {
		_, err := unix.Write(fd, block)
		if err == unix.EAGAIN {
			return
		}
		w.must(err, "write")
	}
}

// finWait2 shuts down one way. A byte from the other end carries the
// acknowledgement, which otherwise takes a clock tick.
func (w *bindWorld) finWait2(fd, other int) {
	w.must(unix.Shutdown(fd, unix.SHUT_WR), "shutdown")
	w.until(other, bindCloseWait)
	b := []byte{0}
	_, err := unix.Write(other, b)
	w.must(err, "write")
	w.until(fd, bindFinWait2)
	_, err = unix.Read(fd, b)
	w.must(err, "read")
}

// timeWait closes the connection, fd first, which leaves it in TIME_WAIT.
func (w *bindWorld) timeWait(fd, other int, s *fdscan.Socket) {
	w.must(unix.Shutdown(fd, unix.SHUT_WR), "shutdown")
	w.until(other, bindCloseWait)
	w.must(unix.Shutdown(other, unix.SHUT_WR), "shutdown")
	w.until(other, bindClose)
	w.until(fd, bindClose)
	w.drop(fd)
	w.drop(other)
	s.State = fdscan.TimeWait
	bindBury(s)
}

// bindBury takes from the description what sock_diag does not tell of the
// stand-in that the kernel keeps for a connection in TIME_WAIT, or in FIN_WAIT2
// without a holder.
func bindBury(s *fdscan.Socket) {
	s.Inode, s.UID, s.Timer = 0, nil, &fdscan.Timer{Kind: "time_wait", Expires: time.Minute}
}

// until waits for a state.
func (w *bindWorld) until(fd int, state uint8) {
	for deadline := time.Now().Add(10 * time.Second); ; {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			w.net.t.Fatalf("TCP_INFO: %v", err)
		}
		if info.State == state {
			return
		}
		if time.Now().After(deadline) {
			w.net.t.Fatalf("port %d stays in state %d, not %d", w.port, info.State, state)
		}
		unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
}

// poll waits for an event.
func (w *bindWorld) poll(fd int, event int16) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: event}}
	for {
		n, err := unix.Poll(fds, 10_000)
		if n == 1 {
			return
		}
		if err != unix.EINTR {
			w.net.t.Fatalf("poll: %d ready, %v", n, err)
		}
	}
}

// see describes a socket as one who may copy its descriptor can, and adds that
// to the scene.
func (w *bindWorld) see(proto fdscan.Protocol, fd int, state fdscan.State) *fdscan.Socket {
	var stat unix.Stat_t
	w.must(unix.Fstat(fd, &stat), "fstat")
	local, err := unix.Getsockname(fd)
	w.must(err, "getsockname")
	s := &fdscan.Socket{
		Protocol: proto, Family: fdscan.Inet, State: state,
		Local: bindEndpoint(local), Inode: stat.Ino, NetNSMine: true, UID: &stat.Uid,
		ReuseAddr: w.flag(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR),
		ReusePort: w.flag(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT),
	}
	if s.Local.Addr.Is6() {
		s.Family = fdscan.Inet6
		s.V6Only = w.flag(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	}
	if remote, err := unix.Getpeername(fd); err == nil {
		s.Remote = bindEndpoint(remote)
	}
	w.sockets = append(w.sockets, s)
	return s
}

func (w *bindWorld) flag(fd, level, option int) *bool {
	v, err := unix.GetsockoptInt(fd, level, option)
	w.must(err, "getsockopt")
	return new(v != 0)
}

// bindSocket makes a socket that can be bound to the address.
func bindSocket(proto fdscan.Protocol, addr netip.Addr) (int, error) {
	domain, kind, number := unix.AF_INET, unix.SOCK_STREAM, 0
	if addr.Is6() {
		domain = unix.AF_INET6
	}
	switch proto {
	case fdscan.UDP:
		kind = unix.SOCK_DGRAM
	case fdscan.UDPLite:
		kind, number = unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE
	case fdscan.MPTCP:
		number = unix.IPPROTO_MPTCP
	}
	return unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, number)
}

func bindSockaddr(addr netip.Addr, port uint16) unix.Sockaddr {
	if addr.Is4() {
		return &unix.SockaddrInet4{Addr: addr.As4(), Port: int(port)}
	}
	return &unix.SockaddrInet6{Addr: addr.As16(), Port: int(port)}
}

func bindEndpoint(sa unix.Sockaddr) fdscan.Endpoint {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return fdscan.Endpoint{Addr: netip.AddrFrom4(sa.Addr), Port: uint16(sa.Port)}
	case *unix.SockaddrInet6:
		return fdscan.Endpoint{Addr: netip.AddrFrom16(sa.Addr), Port: uint16(sa.Port)}
	}
	return fdscan.Endpoint{}
}

// bindReach is the address at which a socket bound to addr can be reached.
func bindReach(addr netip.Addr) netip.Addr {
	switch addr {
	case bindAny4:
		return bindLoop4
	case bindAny6:
		return bindLoop6
	}
	return addr
}
