package fdscan

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// TryBind binds a new socket, without listening on it, and closes it: what no
// look from outside can tell. The address :: takes both families. The error is
// that of socket(2) or bind(2), such as EADDRINUSE.
func TryBind(protocol Protocol, address netip.AddrPort, reuseAddr, reusePort bool) error {
	domain, kind, number := unix.AF_INET, unix.SOCK_DGRAM, 0
	for _, t := range inetTables {
		if t.protocol == protocol {
			number = int(t.number)
		}
	}
	if protocol.Stream() {
		kind = unix.SOCK_STREAM
	}
	var name unix.Sockaddr = &unix.SockaddrInet4{Port: int(address.Port())}
	if a := address.Addr(); a.Is6() {
		domain = unix.AF_INET6
		name = &unix.SockaddrInet6{Port: int(address.Port()), Addr: a.As16()}
	} else {
		name.(*unix.SockaddrInet4).Addr = a.As4()
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, number)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	options := []struct {
		level, name int
		on          bool
	}{{unix.SOL_SOCKET, unix.SO_REUSEADDR, reuseAddr}, {unix.SOL_SOCKET, unix.SO_REUSEPORT, reusePort}, {unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, false}}
	for _, o := range options {
		if o.level == unix.IPPROTO_IPV6 && domain != unix.AF_INET6 {
			continue
		}
		value := 0
		if o.on {
			value = 1
		}
		if err := unix.SetsockoptInt(fd, o.level, o.name, value); err != nil {
			return fmt.Errorf("setsockopt: %w", err)
		}
	}
	if err := unix.Bind(fd, name); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}
