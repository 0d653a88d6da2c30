package proctest

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// socketOptions are understood by every operation that makes a socket.
var socketOptions = []string{"name", "fd", "cloexec", "nonblock", "v6only", "reuseaddr", "reuseport"}

const socketUsage = " [name=N fd=N cloexec=0|1 nonblock=0|1 v6only=0|1 reuseaddr=0|1 reuseport=0|1]"

var _ = define(&specification{
	usage: "listen NETWORK ADDRESS [backlog=N]" + socketUsage,
	text: "makes a listener. NETWORK is tcp4, tcp6, mptcp4, mptcp6, unix, or unixpacket; ADDRESS is 127.0.0.1:0, " +
		"[::]:0, /path, or @abstract. Every option is off, and backlog is 128, unless said.",
	min: 2, max: 2, options: append([]string{"backlog"}, socketOptions...),
	run: func(r *role, op *operation) error {
		return r.makeSocket(op, op.Args[0], func(fd int, addr unix.Sockaddr) error {
			if err := unix.Bind(fd, addr); err != nil {
				return fmt.Errorf("bind: %w", err)
			}
			return unix.Listen(fd, op.number("backlog", 128))
		})
	},
})

var _ = define(&specification{
	usage: "bind NETWORK ADDRESS" + socketUsage,
	text:  "makes a socket that is bound and does not listen. Besides the networks of listen: udp4, udp6, udplite4, udplite6, unixgram.",
	min:   2, max: 2, options: socketOptions,
	run: func(r *role, op *operation) error {
		return r.makeSocket(op, op.Args[0], func(fd int, addr unix.Sockaddr) error { return unix.Bind(fd, addr) })
	},
})

var _ = define(&specification{
	usage: "socket NETWORK" + socketUsage,
	text:  "makes a socket that is neither bound nor connected.",
	min:   1, max: 1, options: socketOptions,
	run: func(r *role, op *operation) error {
		return r.makeSocket(op, op.Args[0], func(int, unix.Sockaddr) error { return nil })
	},
})

var _ = define(&specification{
	usage: "connect NETWORK ADDRESS|NAME [from=ADDRESS]" + socketUsage,
	text: "connects to an address, or to the socket that the script names; from binds the near end first. " +
		"With nonblock, it goes on without waiting for the connection.",
	min: 2, max: 2, options: append([]string{"from"}, socketOptions...),
	run: func(r *role, op *operation) error {
		network := op.Args[0]
		remote, err := r.resolve(network, op.Args[1])
		if err != nil {
			return err
		}
		return r.makeSocket(op, network, func(fd int, _ unix.Sockaddr) error {
			if from := op.option("from", ""); from != "" {
				near, err := parseAddress(network, from)
				if err != nil {
					return err
				}
				if err := unix.Bind(fd, near); err != nil {
					return fmt.Errorf("bind: %w", err)
				}
			}
			err := unix.Connect(fd, remote)
			if op.on("nonblock") && err == unix.EINPROGRESS {
				return nil
			}
			return err
		})
	},
})

var _ = define(&specification{
	usage: "accept [LISTENER] [name=N fd=N cloexec=0|1]",
	text:  "takes one connection from the listener's queue, waiting for it.",
	max:   1, options: []string{"name", "fd", "cloexec"},
	run: func(r *role, op *operation) error {
		listener, err := r.table.find(first(op.Args))
		if err != nil {
			return err
		}
		var fd int
		for {
			if fd, _, err = unix.Accept4(listener.FD, op.cloexec()); err != unix.EINTR {
				break
			}
		}
		if err != nil {
			return err
		}
		socket, _ := r.socketOf(listener.Name)
		return r.keepSocket(op, fd, socket.Network, "accept")
	},
})

// makeSocket makes a socket with the operation's options, lets finish bind,
// listen or connect it, and notes it.
func (r *role) makeSocket(op *operation, network string, finish func(fd int, addr unix.Sockaddr) error) error {
	domain, kind, protocol, err := parseNetwork(network)
	if err != nil {
		return err
	}
	var addr unix.Sockaddr
	if len(op.Args) > 1 && op.Name != "connect" {
		if addr, err = parseAddress(network, op.Args[1]); err != nil {
			return err
		}
	}
	kind |= op.cloexec()
	if op.on("nonblock") {
		kind |= unix.SOCK_NONBLOCK
	}
	fd, err := unix.Socket(domain, kind, protocol)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	for option, name := range map[string][2]int{
		"v6only":    {unix.IPPROTO_IPV6, unix.IPV6_V6ONLY},
		"reuseaddr": {unix.SOL_SOCKET, unix.SO_REUSEADDR},
		"reuseport": {unix.SOL_SOCKET, unix.SO_REUSEPORT},
	} {
		if _, given := op.Options[option]; !given {
			continue
		}
		if err := unix.SetsockoptInt(fd, name[0], name[1], op.number(option, 0)); err != nil {
			return fmt.Errorf("setsockopt %s: %w", option, err)
		}
	}
	if err := finish(fd, addr); err != nil {
		return err
	}
	return r.keepSocket(op, fd, network, op.Name)
}

// keepSocket moves a new socket to the number that the operation asks for, and
// notes it in the table and among the facts.
func (r *role) keepSocket(op *operation, fd int, network, kind string) error {
	fd, err := moveTo(op, fd)
	if err != nil {
		return err
	}
	return r.noteSocket(op.option("name", ""), kind, network, fd)
}

// noteSocket enters a socket in the table and among the facts.
func (r *role) noteSocket(name, kind, network string, fd int) error {
	if err := r.table.add(name, kind, fd); err != nil {
		return err
	}
	socket, err := describeSocket(r.table[len(r.table)-1].Name, network, fd)
	r.facts.Sockets = append(r.facts.Sockets, socket)
	return err
}

// describeSocket asks the kernel what the socket has become.
func describeSocket(name, network string, fd int) (Socket, error) {
	s := Socket{Name: name, Network: network}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return s, fmt.Errorf("fstat: %w", err)
	}
	s.Inode = st.Ino
	var err error
	if s.Cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil {
		return s, fmt.Errorf("getsockopt SO_COOKIE: %w", err)
	}
	if s.NetNS, err = netNS("/proc/thread-self/ns/net"); err != nil {
		return s, err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return s, fmt.Errorf("getsockname: %w", err)
	}
	s.Local, s.Path = describeAddress(local)
	if remote, err := unix.Getpeername(fd); err == nil {
		s.Remote, _ = describeAddress(remote)
	}
	return s, nil
}

// netNS returns the inode of the network namespace behind a link of /proc.
func netNS(link string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(link, &st); err != nil {
		return 0, fmt.Errorf("stat %s: %w", link, err)
	}
	return st.Ino, nil
}

// resolve returns the address that a word means: that of a socket in the
// script, or the address itself.
func (r *role) resolve(network, word string) (unix.Sockaddr, error) {
	if e, err := r.table.find(word); err == nil && word != "" {
		return unix.Getsockname(e.FD)
	}
	if s, ok := r.socketOf(word); ok {
		return parseAddress(network, s.address())
	}
	return parseAddress(network, word)
}

// parseNetwork returns the arguments of socket(2).
func parseNetwork(network string) (domain, kind, protocol int, err error) {
	switch network {
	case "unix":
		return unix.AF_UNIX, unix.SOCK_STREAM, 0, nil
	case "unixgram":
		return unix.AF_UNIX, unix.SOCK_DGRAM, 0, nil
	case "unixpacket":
		return unix.AF_UNIX, unix.SOCK_SEQPACKET, 0, nil
	}
	switch {
	case strings.HasSuffix(network, "4"):
		domain = unix.AF_INET
	case strings.HasSuffix(network, "6"):
		domain = unix.AF_INET6
	}
	switch strings.TrimRight(network, "46") {
	case "tcp":
		kind, protocol = unix.SOCK_STREAM, unix.IPPROTO_TCP
	case "mptcp":
		kind, protocol = unix.SOCK_STREAM, unix.IPPROTO_MPTCP
	case "udp":
		kind, protocol = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case "udplite":
		kind, protocol = unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE
	}
	if domain == 0 || kind == 0 {
		return 0, 0, 0, fmt.Errorf("unknown network %q", network)
	}
	return domain, kind, protocol, nil
}

// parseAddress reads 127.0.0.1:0, [::1]:0, /path or @abstract.
func parseAddress(network, address string) (unix.Sockaddr, error) {
	if strings.HasPrefix(network, "unix") {
		return &unix.SockaddrUnix{Name: address}, nil
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	if strings.HasSuffix(network, "4") != ap.Addr().Is4() {
		return nil, fmt.Errorf("address %q is not of network %s", address, network)
	}
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, nil
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}, nil
}

// describeAddress is the inverse of parseAddress.
func describeAddress(addr unix.Sockaddr) (ap netip.AddrPort, path string) {
	switch a := addr.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), ""
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), ""
	case *unix.SockaddrUnix:
		if a.Name == "@" { // unix.Getsockname's word for no name
			return netip.AddrPort{}, ""
		}
		return netip.AddrPort{}, a.Name
	}
	return netip.AddrPort{}, ""
}
