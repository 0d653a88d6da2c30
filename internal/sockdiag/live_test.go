package sockdiag

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// kernel returns a Conn to the kernel.
func kernel(t *testing.T) *Conn {
	t.Helper()
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func kernelIn(t *testing.T, nsfd int) *Conn {
	t.Helper()
	c, err := DialIn(nsfd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// row returns the only row with the inode.
func row(t *testing.T, c *Conn, r InetRequest, inode uint32) Inet {
	t.Helper()
	rows, err := c.Inet(r)
	if err != nil {
		t.Fatal(err)
	}
	rows = slices.DeleteFunc(rows, func(row Inet) bool { return row.Inode != inode })
	if len(rows) != 1 {
		t.Fatalf("%d rows have inode %d", len(rows), inode)
	}
	return rows[0]
}

// Every kind of socket that keeps a port has a row that agrees with what its
// owner sees.
func TestKernelListsEverySocket(t *testing.T) {
	const stream, dgram = unix.SOCK_STREAM, unix.SOCK_DGRAM
	for _, tt := range []struct {
		name         string
		domain, kind int
		protocol     int
		address      string
		listen       bool
		options      []func(int) error
		state        uint8
	}{
		{name: "tcp4 listener", domain: unix.AF_INET, kind: stream, address: "127.0.0.1:0", listen: true, state: Listen},
		{name: "tcp4 wildcard", domain: unix.AF_INET, kind: stream, address: "0.0.0.0:0", listen: true, state: Listen},
		{name: "tcp4 bound only", domain: unix.AF_INET, kind: stream, address: "127.0.0.1:0", state: Close},
		{name: "tcp6 listener", domain: unix.AF_INET6, kind: stream, address: "[::1]:0", listen: true, state: Listen},
		{name: "tcp6 dual", domain: unix.AF_INET6, kind: stream, address: "[::]:0", listen: true, options: []func(int) error{v6only(0)}, state: Listen},
		{name: "tcp6 only", domain: unix.AF_INET6, kind: stream, address: "[::]:0", listen: true, options: []func(int) error{v6only(1)}, state: Listen},
		{name: "tcp6 bound only", domain: unix.AF_INET6, kind: stream, address: "[::]:0", options: []func(int) error{v6only(1)}, state: Close},
		{name: "tcp6 v4-mapped", domain: unix.AF_INET6, kind: stream, address: "[::ffff:127.0.0.1]:0", listen: true, state: Listen},
		{name: "udp4", domain: unix.AF_INET, kind: dgram, address: "127.0.0.1:0", state: Close},
		{name: "udp6", domain: unix.AF_INET6, kind: dgram, address: "[::1]:0", state: Close},
		{name: "udplite4", domain: unix.AF_INET, kind: dgram, protocol: unix.IPPROTO_UDPLITE, address: "127.0.0.1:0", state: Close},
		{name: "udplite6", domain: unix.AF_INET6, kind: dgram, protocol: unix.IPPROTO_UDPLITE, address: "[::1]:0", state: Close},
		{name: "mptcp4 listener", domain: unix.AF_INET, kind: stream, protocol: unix.IPPROTO_MPTCP, address: "127.0.0.1:0", listen: true, state: Listen},
		{name: "mptcp6 listener", domain: unix.AF_INET6, kind: stream, protocol: unix.IPPROTO_MPTCP, address: "[::1]:0", listen: true, state: Listen},
	} {
		t.Run(tt.name, func(t *testing.T) {
			switch {
			case tt.protocol == unix.IPPROTO_MPTCP:
				testenv.NeedMPTCP(t)
			case tt.protocol == unix.IPPROTO_UDPLITE:
				testenv.NeedUDPLite(t)
			case tt.kind == stream && !tt.listen:
				testenv.NeedKernel(t, 6, 8)
			}
			if tt.domain == unix.AF_INET6 {
				testenv.NeedIPv6(t)
			}
			s := newScene(t)
			fd := s.socket(tt.domain, tt.kind, tt.protocol, at(tt.address), tt.options...)
			if tt.listen {
				s.try("listen", func() error { return unix.Listen(fd, backlog) })
			}
			m := s.describe(fd)
			if s.err != nil {
				t.Fatal(s.err)
			}
			local := addrPortOf(m.local)
			protocol := uint32(tt.protocol)
			if protocol == 0 && tt.kind == stream {
				protocol = unix.IPPROTO_TCP
			} else if protocol == 0 {
				protocol = unix.IPPROTO_UDP
			}
			got := row(t, kernel(t), InetRequest{Family: uint8(tt.domain), Protocol: protocol, States: AllStates, PortLow: local.Port(), PortHigh: local.Port()}, m.inode)
			if got.Local != local || got.Cookie != m.cookie || got.UID != uint32(os.Geteuid()) || got.State != tt.state {
				t.Errorf("row %+v\nwant address %v, cookie %d, state %d", got, local, m.cookie, tt.state)
			}
			if tt.domain == unix.AF_INET6 {
				// A specific address sets it too.
				want, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
				if err != nil || !got.HasV6Only || got.V6Only != (want == 1) {
					t.Errorf("IPV6_V6ONLY known %v, set %v, want %d (%v)", got.HasV6Only, got.V6Only, want, err)
				}
			}
			if tt.listen && (got.RecvQueue != 0 || got.SendQueue != backlog) {
				t.Errorf("backlog %d of %d", got.RecvQueue, got.SendQueue)
			}
			if got.Remote.Port() != 0 || got.Interface != 0 {
				t.Errorf("row %+v has a peer or a device", got)
			}
		})
	}
}

// A bound MPTCP socket that does not listen is in no table of MPTCP's own; its
// TCP twin, which has the same inode, is.
func TestBoundMultipathSocketShowsAsTCP(t *testing.T) {
	testenv.NeedMPTCP(t)
	testenv.NeedKernel(t, 6, 8)
	s := newScene(t)
	m := s.describe(s.socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, at("127.0.0.1:0")))
	if s.err != nil {
		t.Fatal(s.err)
	}
	port := addrPortOf(m.local).Port()
	got := row(t, kernel(t), InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: AllStates, PortLow: port, PortHigh: port}, m.inode)
	if got.State != Close {
		t.Errorf("row %+v", got)
	}
}

func TestConnections(t *testing.T) {
	s := newScene(t)
	listening := s.describe(s.listen(unix.AF_INET, 0, at("127.0.0.1:0")))
	client := s.describe(s.connect(listening.fd, nil))
	server := s.describe(s.accept(listening.fd))
	waiting := s.describe(s.connect(listening.fd, nil)) // nobody accepts this one
	s.try("write", func() error { _, err := unix.Write(client.fd, []byte("hello")); return err })
	s.try("peek", func() error { _, _, err := unix.Recvfrom(server.fd, make([]byte, 5), unix.MSG_PEEK); return err })
	if s.err != nil {
		t.Fatal(s.err)
	}
	c := kernel(t)
	port := addrPortOf(listening.local).Port()
	request := InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: AllStates, PortLow: port, PortHigh: port}

	if got := row(t, c, request, listening.inode); got.RecvQueue != 1 || got.SendQueue != backlog {
		t.Errorf("listener: backlog %d of %d, want 1 of %d", got.RecvQueue, got.SendQueue, backlog)
	}
	got := row(t, c, request, server.inode)
	if got.State != Established || got.Remote != addrPortOf(client.local) || got.RecvQueue != 5 || got.Cookie != server.cookie {
		t.Errorf("accepted connection: %+v", got)
	}
	rows, err := c.Inet(request)
	if err != nil {
		t.Fatal(err)
	}
	queued := slices.IndexFunc(rows, func(r Inet) bool { return r.Remote == addrPortOf(waiting.local) })
	if queued < 0 || rows[queued].Inode != 0 || rows[queued].State != Established {
		t.Errorf("no row without inode for the waiting connection in %+v", rows)
	}
	if len(rows) != 3 {
		t.Errorf("%d rows, want listener and both connections", len(rows))
	}
}

// The filter by port is exact: it looks at the local port alone, and lets
// through whatever has one in the range, be it listening, bound, connected,
// waiting in a backlog, or in TIME_WAIT.
func TestPortRangeIsExact(t *testing.T) {
	testenv.NeedNetNS(t)
	testenv.NeedKernel(t, 6, 8)
	type end struct {
		port  uint16
		state uint8
	}
	nsfd := newNamespace(t, func(s *scene) {
		var listeners [10]int
		for i := range listeners {
			listeners[i] = s.listen(unix.AF_INET, 0, at(fmt.Sprintf("127.0.0.1:%d", 7000+i)))
		}
		s.connect(listeners[3], at("127.0.0.1:6001")) // stays in the backlog
		s.connect(listeners[4], at("127.0.0.1:6002"))
		s.accept(listeners[4])
		s.timeWait(listeners[8], at("127.0.0.1:7103"))
		s.timeWait(listeners[8], at("127.0.0.1:7104"))
		s.socket(unix.AF_INET, unix.SOCK_STREAM, 0, at("127.0.0.1:7203"))
		s.socket(unix.AF_INET, unix.SOCK_STREAM, 0, at("127.0.0.1:7204"))
	})
	c := kernelIn(t, nsfd)
	for _, tt := range []struct {
		low, high uint16
		want      []end
	}{
		{7003, 7005, []end{{7003, Established}, {7003, Listen}, {7004, Established}, {7004, Listen}, {7005, Listen}}},
		{7000, 7000, []end{{7000, Listen}}},
		{6001, 6001, []end{{6001, Established}}},
		{6000, 6999, []end{{6001, Established}, {6002, Established}}},
		{7010, 7103, []end{{7103, TimeWait}}},
		{7104, 7203, []end{{7104, TimeWait}, {7203, Close}}},
		{7204, 65535, []end{{7204, Close}}},
		{1, 6000, nil},
		{7205, 7205, nil},
	} {
		rows, err := c.Inet(InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: AllStates, PortLow: tt.low, PortHigh: tt.high})
		if err != nil {
			t.Fatal(err)
		}
		var got []end
		for _, r := range rows {
			got = append(got, end{r.Local.Port(), r.State})
		}
		slices.SortFunc(got, func(a, b end) int {
			return (int(a.port)-int(b.port))*100 + int(a.state) - int(b.state)
		})
		if !slices.Equal(got, tt.want) {
			t.Errorf("ports %d-%d: %v, want %v", tt.low, tt.high, got, tt.want)
		}
	}
	// Without a range everything comes: 10 listeners, two ends of two
	// connections, two at rest, two bound.
	rows, err := c.Inet(InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: AllStates})
	if err != nil || len(rows) != 18 {
		t.Errorf("%d rows in all, error %v, want 18", len(rows), err)
	}
	// And of the states only those that are wanted.
	rows, err = c.Inet(InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: 1 << TimeWait})
	if err != nil || len(rows) != 2 {
		t.Errorf("%d rows in TIME_WAIT, error %v, want 2", len(rows), err)
	}
	for _, r := range rows {
		if r.Inode != 0 || r.Timer != 3 || r.Expires == 0 || r.Expires > 60_000 {
			t.Errorf("TIME_WAIT row %+v: want no inode, timer 3, at most 60 s left", r)
		}
	}
}

func TestUDPPortRange(t *testing.T) {
	testenv.NeedNetNS(t)
	nsfd := newNamespace(t, func(s *scene) {
		for port := 5000; port < 5004; port++ {
			s.socket(unix.AF_INET6, unix.SOCK_DGRAM, 0, at(fmt.Sprintf("[::]:%d", port)))
		}
		connected := s.socket(unix.AF_INET6, unix.SOCK_DGRAM, 0, at("[::1]:5004"))
		s.try("connect", func() error { return unix.Connect(connected, at("[::1]:5001")) })
	})
	rows, err := kernelIn(t, nsfd).Inet(InetRequest{Family: unix.AF_INET6, Protocol: unix.IPPROTO_UDP, States: AllStates, PortLow: 5003, PortHigh: 5004})
	if err != nil || len(rows) != 2 {
		t.Fatalf("rows %+v, error %v", rows, err)
	}
	slices.SortFunc(rows, func(a, b Inet) int { return int(a.Local.Port()) - int(b.Local.Port()) })
	if rows[0].Local.Port() != 5003 || rows[0].State != Close || rows[1].Remote != netip.MustParseAddrPort("[::1]:5001") || rows[1].State != Established {
		t.Errorf("rows %+v", rows)
	}
}

func TestDeviceOfSocket(t *testing.T) {
	testenv.NeedRoot(t)
	s := newScene(t)
	m := s.describe(s.listen(unix.AF_INET, 0, at("127.0.0.1:0"), func(fd int) error { return unix.BindToDevice(fd, "lo") }))
	if s.err != nil {
		t.Fatal(s.err)
	}
	got := row(t, kernel(t), InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: 1 << Listen}, m.inode)
	if got.Interface != 1 {
		t.Errorf("device %d, want 1 (lo)", got.Interface)
	}
}

func TestCgroupOfSocket(t *testing.T) {
	testenv.NeedKernel(t, 5, 9)
	s := newScene(t)
	m := s.describe(s.listen(unix.AF_INET, 0, at("127.0.0.1:0")))
	if s.err != nil {
		t.Fatal(s.err)
	}
	if got := row(t, kernel(t), InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: 1 << Listen}, m.inode); got.CgroupID == 0 {
		t.Errorf("row %+v lacks its cgroup", got)
	}
}

func TestUnknownProtocolIsUnsupported(t *testing.T) {
	c := kernel(t)
	const experiment = 253 // RFC 3692: nobody's
	if rows, err := c.Inet(InetRequest{Family: unix.AF_INET, Protocol: experiment, States: AllStates}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("rows %+v, error %v", rows, err)
	}
	// The Conn is as good as before.
	if _, err := c.Inet(InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: 1 << Listen}); err != nil {
		t.Error(err)
	}
}

// The one walk for both families brings what the two walks do, bound-only
// sockets included, and keeps to the range of ports.
func TestBothFamiliesInOneWalk(t *testing.T) {
	c := kernel(t)
	var inodes []uint32
	port := 0
	for _, domain := range []int{unix.AF_INET6, unix.AF_INET} {
		for _, listen := range []bool{false, true} {
			fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			var address unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
			if domain == unix.AF_INET6 {
				address = &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
			}
			if err := unix.Bind(fd, address); err != nil {
				t.Fatal(err)
			}
			if listen {
				if err := unix.Listen(fd, 1); err != nil {
					t.Fatal(err)
				}
			}
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				t.Fatal(err)
			}
			inodes = append(inodes, uint32(st.Ino))
			name, err := unix.Getsockname(fd)
			if err != nil {
				t.Fatal(err)
			}
			if four, ok := name.(*unix.SockaddrInet4); ok {
				port = four.Port
			}
		}
	}
	both := InetRequest{Family: unix.AF_UNSPEC, Protocol: unix.IPPROTO_TCP, States: AllStates}
	for _, inode := range inodes {
		row(t, c, both, inode)
	}
	both.PortLow, both.PortHigh = uint16(port), uint16(port)
	rows, err := c.Inet(both)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Local.Port() != uint16(port) {
			t.Errorf("row %+v, want port %d only", r, port)
		}
	}
	row(t, c, both, inodes[3])
}
