package fdtest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"syscall"
)

// Options of SOL_SOCKET that package syscall lacks: include/uapi/asm-generic/socket.h.
const (
	soProtocol = 38
	soDomain   = 39
	soCookie   = 57
)

// Protocols that package syscall lacks: include/uapi/linux/in.h.
const (
	protoUDPLite = 136
	protoMPTCP   = 262
)

// socket tells what kind of socket it is, its addresses and its cookie.
func (d *Descriptor) socket() {
	domain, err := syscall.GetsockoptInt(d.FD, syscall.SOL_SOCKET, soDomain)
	if err != nil {
		return // a socket of a kind that says nothing, or one opened with O_PATH
	}
	kind, _ := syscall.GetsockoptInt(d.FD, syscall.SOL_SOCKET, syscall.SO_TYPE)
	protocol, _ := syscall.GetsockoptInt(d.FD, syscall.SOL_SOCKET, soProtocol)
	d.Kind = socketKind(domain, kind, protocol) + " socket"
	if listens, err := syscall.GetsockoptInt(d.FD, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err == nil && listens != 0 {
		d.Kind = socketKind(domain, kind, protocol) + " listener"
	}
	d.Cookie = cookie(d.FD)
	d.Name = d.link
	if local, err := syscall.Getsockname(d.FD); err == nil && address(local) != "" {
		d.Name = address(local)
	}
	if remote, err := syscall.Getpeername(d.FD); err == nil && address(remote) != "" {
		d.Name += " → " + address(remote)
	}
}

// cookie returns SO_COOKIE; 0 before Linux 4.12. It is of eight bytes, and so is
// an IPMreq, for which package syscall has a getsockopt(2) on every architecture.
func cookie(fd int) uint64 {
	v, err := syscall.GetsockoptIPMreq(fd, syscall.SOL_SOCKET, soCookie)
	if err != nil {
		return 0
	}
	return binary.NativeEndian.Uint64(append(v.Multiaddr[:], v.Interface[:]...))
}

// socketKind is the protocol as ss(8) writes it, or the family by its number.
func socketKind(domain, kind, protocol int) string {
	types := map[int]string{syscall.SOCK_STREAM: "stream", syscall.SOCK_DGRAM: "datagram", syscall.SOCK_SEQPACKET: "seqpacket", syscall.SOCK_RAW: "raw"}
	switch domain {
	case syscall.AF_INET, syscall.AF_INET6:
		protocols := map[int]string{syscall.IPPROTO_TCP: "tcp", syscall.IPPROTO_UDP: "udp", protoUDPLite: "udplite", protoMPTCP: "mptcp"}
		if name := protocols[protocol]; name != "" {
			return name
		}
		return "inet " + types[kind]
	case syscall.AF_UNIX:
		return "unix " + types[kind]
	case syscall.AF_NETLINK:
		return "netlink"
	case syscall.AF_PACKET:
		return "packet"
	}
	return "family " + strconv.Itoa(domain)
}

// address writes a socket address; "" for one without a name.
func address(a syscall.Sockaddr) string {
	switch a := a.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *syscall.SockaddrInet6:
		addr := netip.AddrFrom16(a.Addr)
		if a.ZoneId != 0 {
			addr = addr.WithZone(strconv.Itoa(int(a.ZoneId)))
		}
		return netip.AddrPortFrom(addr, uint16(a.Port)).String()
	case *syscall.SockaddrUnix:
		if a.Name == "@" { // unnamed, as package syscall has it
			return ""
		}
		return a.Name
	case *syscall.SockaddrNetlink:
		return fmt.Sprintf("pid %d", a.Pid)
	case *syscall.SockaddrLinklayer:
		return fmt.Sprintf("interface %d", a.Ifindex)
	}
	return ""
}
