package inspect_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stray/fdscan"
	"stray/inspect"
)

const bindPort = 18080

// bindMade is a TCP socket of root on bindPort, held by the processes.
func bindMade(state fdscan.State, addr string, holders ...*fdscan.Process) *fdscan.Socket {
	s := &fdscan.Socket{
		Protocol: fdscan.TCP, Family: fdscan.Inet, State: state, Inode: 1, NetNSMine: true,
		Local: fdscan.Endpoint{Addr: netip.MustParseAddr(addr), Port: bindPort},
		UID:   new(uint32), ReuseAddr: new(false), ReusePort: new(false),
	}
	if s.Local.Addr.Is6() {
		s.Family, s.V6Only = fdscan.Inet6, new(false)
	}
	for _, p := range holders {
		s.Holders = append(s.Holders, &fdscan.Holder{Process: p, FD: 5})
	}
	return s
}

// bindBuried is a connection in TIME_WAIT as sock_diag shows it.
func bindBuried(addr string, left time.Duration) *fdscan.Socket {
	s := bindMade(fdscan.TimeWait, addr)
	s.Inode, s.UID, s.ReuseAddr, s.ReusePort, s.V6Only = 0, nil, nil, nil, nil
	s.Timer = &fdscan.Timer{Kind: "time_wait", Expires: left}
	return s
}

func bindWith(s *fdscan.Socket, change func(*fdscan.Socket)) *fdscan.Socket {
	change(s)
	return s
}

// bindAt returns the verdict on one address of TCP's bindPort.
func bindAt(t *testing.T, s *fdscan.Snapshot, addr string) inspect.BindVerdict {
	t.Helper()
	want := netip.MustParseAddr(addr)
	for _, v := range inspect.CanBind(s, fdscan.TCP, bindPort, want) {
		if v.Address == want {
			return v
		}
	}
	t.Fatalf("no verdict on %s", addr)
	return inspect.BindVerdict{}
}

// What a person reads, one line for each situation worth telling apart.
func TestBindBecause(t *testing.T) {
	app := &fdscan.Process{PID: 4180, Comm: "crow_app"}
	sleep := &fdscan.Process{PID: 4502, Comm: "sleep"}
	many := []*fdscan.Process{sleep, app, {PID: 1, Comm: "a"}, {PID: 2, Comm: "b"}, {PID: 3, Comm: "c"}}
	tests := []struct {
		name    string
		addr    string
		sockets []*fdscan.Socket
		change  func(*fdscan.Snapshot)
		want    string // plain, SO_REUSEADDR, SO_REUSEPORT: because
	}{
		{
			name: "free", addr: "0.0.0.0",
			want: "yes yes yes: no socket is in the way",
		},
		{
			name: "two hold the listener", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindMade(fdscan.Listen, "0.0.0.0", sleep, app)},
			want:    "no no no: pid 4180 (crow_app) and pid 4502 (sleep) listen on 0.0.0.0:18080 (neither SO_REUSEADDR nor SO_REUSEPORT helps)",
		},
		{
			name: "many hold it", addr: "127.0.0.1",
			sockets: []*fdscan.Socket{bindMade(fdscan.Listen, "::", many...)},
			want:    "no no no: pid 1 (a), pid 2 (b), pid 3 (c) and 2 others listen on [::]:18080 (neither SO_REUSEADDR nor SO_REUSEPORT helps)",
		},
		{
			name: "bound, with SO_REUSEADDR", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.Bound, "127.0.0.1", app), func(s *fdscan.Socket) { s.ReuseAddr = new(true) })},
			want:    "no yes no: pid 4180 (crow_app) has bound 127.0.0.1:18080 (SO_REUSEADDR helps; SO_REUSEPORT does not help)",
		},
		{
			name: "a group to join", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.Listen, "0.0.0.0", app), func(s *fdscan.Socket) { s.ReusePort = new(true) })},
			want:    "no no yes: pid 4180 (crow_app) listens on 0.0.0.0:18080 (SO_REUSEADDR does not help; SO_REUSEPORT helps)",
		},
		{
			name: "a group of another user", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.Listen, "0.0.0.0", app), func(s *fdscan.Socket) { s.ReusePort, s.UID = new(true), new(uint32(33)) })},
			want:    "no no no: pid 4180 (crow_app) listens on 0.0.0.0:18080 (SO_REUSEADDR does not help; SO_REUSEPORT helps only the user of that socket)",
		},
		{
			name: "a group to join, with connections left from before", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{
				bindWith(bindMade(fdscan.Listen, "0.0.0.0", app), func(s *fdscan.Socket) { s.ReusePort = new(true) }),
				bindBuried("127.0.0.1", time.Minute),
			},
			want: "no no yes: pid 4180 (crow_app) listens on 0.0.0.0:18080, and 1 connection on 127.0.0.1:18080 is in TIME_WAIT for another 60 s (SO_REUSEADDR does not help; SO_REUSEPORT helps)",
		},
		{
			name: "TIME_WAIT", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindBuried("127.0.0.1", 12*time.Second), bindBuried("127.0.0.1", 43400*time.Millisecond)},
			want:    "no unknown unknown: 2 connections on 127.0.0.1:18080 are in TIME_WAIT for another 43 s (SO_REUSEADDR or SO_REUSEPORT helps if it is set there too, which could not be read)",
		},
		{
			name: "TIME_WAIT, the listener's twin address", addr: "127.0.0.1",
			sockets: []*fdscan.Socket{bindBuried("::1", 12*time.Second)},
			want:    "yes yes yes: no socket is in the way",
		},
		{
			name: "TIME_WAIT over IPv6", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindBuried("::1", 12*time.Second)},
			want:    "unknown unknown unknown: 1 connection on [::1]:18080 is in TIME_WAIT for another 12 s: in the way unless for IPv6 alone, which could not be read",
		},
		{
			name: "the child of a server that is gone", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{
				bindWith(bindMade(fdscan.CloseWait, "127.0.0.1", app), func(s *fdscan.Socket) { s.ReuseAddr = new(true) }),
				bindWith(bindMade(fdscan.Established, "127.0.0.1", app), func(s *fdscan.Socket) { s.ReuseAddr, s.Inode = new(true), 2 }),
			},
			want: "no yes no: pid 4180 (crow_app) holds 2 connections on 127.0.0.1:18080 in CLOSE_WAIT, ESTABLISHED (SO_REUSEADDR helps; SO_REUSEPORT does not help)",
		},
		{
			name: "an orphan", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.FinWait1, "127.0.0.1"), func(s *fdscan.Socket) { s.Inode, s.ReuseAddr, s.ReusePort = 0, nil, new(false) })},
			want:    "no unknown no: 1 connection on 127.0.0.1:18080 is in FIN_WAIT1 without a holder (SO_REUSEADDR helps if it is set there too, which could not be read; SO_REUSEPORT does not help)",
		},
		{
			name: "who refuses most comes first", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{
				bindWith(bindMade(fdscan.Bound, "127.0.0.1", app), func(s *fdscan.Socket) { s.ReuseAddr = new(true) }),
				bindMade(fdscan.Bound, "127.0.0.2", sleep), bindMade(fdscan.Bound, "127.0.0.3", sleep),
				bindMade(fdscan.Bound, "127.0.0.4", sleep), bindMade(fdscan.Bound, "127.0.0.5", sleep),
			},
			want: "no no no: pid 4502 (sleep) has bound 127.0.0.2:18080, 127.0.0.3:18080 and 127.0.0.4:18080, and 2 more sockets (neither SO_REUSEADDR nor SO_REUSEPORT helps)",
		},
		{
			name: "one server at two addresses, and what is left of others", addr: "::",
			sockets: []*fdscan.Socket{
				bindMade(fdscan.Listen, "0.0.0.0", app),
				bindWith(bindMade(fdscan.Listen, "::1", app), func(s *fdscan.Socket) { s.Inode = 2 }),
				bindBuried("127.0.0.1", time.Second),
			},
			want: "no no no: pid 4180 (crow_app) listens on 0.0.0.0:18080 and [::1]:18080, and 1 connection on 127.0.0.1:18080 is in TIME_WAIT for another 1 s (neither SO_REUSEADDR nor SO_REUSEPORT helps)",
		},
		{
			name: "connections whose holders may not be read", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindMade(fdscan.CloseWait, "127.0.0.1"), bindWith(bindMade(fdscan.CloseWait, "127.0.0.1"), func(s *fdscan.Socket) { s.Inode = 2 })},
			change:  func(s *fdscan.Snapshot) { s.HoldersComplete = false },
			want:    "no no no: an unseen process of user 0 holds 2 connections on 127.0.0.1:18080 in CLOSE_WAIT (neither SO_REUSEADDR nor SO_REUSEPORT helps)",
		},
		{
			name: "the kernel's own", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.Listen, "0.0.0.0"), func(s *fdscan.Socket) { s.KernelOwned, s.ReusePort = true, nil })},
			want:    "no no unknown: the kernel listens on 0.0.0.0:18080 (SO_REUSEADDR does not help; SO_REUSEPORT helps if it is set there too, which could not be read)",
		},
		{
			name: "a holder out of sight", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.Listen, "0.0.0.0"), func(s *fdscan.Socket) { s.UID = new(uint32(33)) })},
			want:    "no no no: an unseen process of user 33 listens on 0.0.0.0:18080 (neither SO_REUSEADDR nor SO_REUSEPORT helps)",
		},
		{
			name: "bound to a device", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.Listen, "0.0.0.0", app), func(s *fdscan.Socket) { s.Interface = 3 })},
			want:    "no no no: pid 4180 (crow_app) listens on 0.0.0.0:18080 of interface 3 (neither SO_REUSEADDR nor SO_REUSEPORT helps)",
		},
		{
			name: "the accept queue is the listener's", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{
				bindMade(fdscan.Listen, "0.0.0.0", app),
				bindWith(bindMade(fdscan.Established, "127.0.0.1"), func(s *fdscan.Socket) { s.Inode, s.InBacklogOf = 0, 1 }),
				bindWith(bindMade(fdscan.SynRecv, "127.0.0.1"), func(s *fdscan.Socket) { s.Inode = 0 }),
			},
			want: "no no no: pid 4180 (crow_app) listens on 0.0.0.0:18080 (neither SO_REUSEADDR nor SO_REUSEPORT helps)",
		},
		{
			name: "it depends on who bound last", addr: "::",
			sockets: []*fdscan.Socket{
				bindWith(bindMade(fdscan.Listen, "::", app), func(s *fdscan.Socket) { s.V6Only, s.ReusePort = new(true), new(true) }),
				bindWith(bindMade(fdscan.Listen, "0.0.0.0", sleep), func(s *fdscan.Socket) { s.Inode = 2 }),
			},
			want: "no no unknown: pid 4502 (sleep) listens on 0.0.0.0:18080, and pid 4180 (crow_app) listens on [::]:18080 (SO_REUSEADDR does not help; whether SO_REUSEPORT helps depends on the order of earlier binds)",
		},
		{
			name: "a table is missing", addr: "0.0.0.0",
			change: func(s *fdscan.Snapshot) { s.TablesComplete = false },
			want:   "unknown unknown unknown: the socket tables of this network namespace could not be read whole",
		},
		{
			name: "a table is missing, and there is a listener", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindMade(fdscan.Listen, "0.0.0.0", app)},
			change:  func(s *fdscan.Snapshot) { s.TablesComplete = false },
			want:    "no no no: pid 4180 (crow_app) listens on 0.0.0.0:18080 (neither SO_REUSEADDR nor SO_REUSEPORT helps)",
		},
		{
			name: "a table is missing, and an option would help", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.Bound, "127.0.0.1", app), func(s *fdscan.Socket) { s.ReuseAddr = new(true) })},
			change:  func(s *fdscan.Snapshot) { s.TablesComplete = false },
			want:    "no unknown no: pid 4180 (crow_app) has bound 127.0.0.1:18080 (SO_REUSEADDR may help, but the socket tables of this network namespace could not be read whole; SO_REUSEPORT does not help)",
		},
		{
			name: "no IPv6", addr: "::1",
			change: func(s *fdscan.Snapshot) { s.Host.Bind.IPv6 = false },
			want:   "no no no: this host has no IPv6",
		},
		{
			name: "a privileged port", addr: "0.0.0.0",
			change: func(s *fdscan.Snapshot) {
				s.Host.Bind = fdscan.BindConditions{UnprivilegedPortStart: bindPort + 1, IPv6: true}
			},
			want: "no no no: ports below 18081 need CAP_NET_BIND_SERVICE",
		},
		{
			name: "a privileged port that is taken too", addr: "0.0.0.0",
			sockets: []*fdscan.Socket{bindMade(fdscan.Listen, "0.0.0.0", app)},
			change: func(s *fdscan.Snapshot) {
				s.Host.Bind = fdscan.BindConditions{UnprivilegedPortStart: bindPort + 1, IPv6: true}
			},
			want: "no no no: ports below 18081 need CAP_NET_BIND_SERVICE, and pid 4180 (crow_app) listens on 0.0.0.0:18080",
		},
		{
			name: "the first port that is not privileged", addr: "0.0.0.0",
			change: func(s *fdscan.Snapshot) {
				s.Host.Bind = fdscan.BindConditions{UnprivilegedPortStart: bindPort, IPv6: true}
			},
			want: "yes yes yes: no socket is in the way",
		},
		{
			name: "an address that may be another host's", addr: "192.0.2.1",
			want: "unknown unknown unknown: whether 192.0.2.1 is an address of this host could not be read",
		},
		{
			name: "an address of another host", addr: "192.0.2.1",
			change: func(s *fdscan.Snapshot) { s.Host.Bind.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")} },
			want:   "no no no: 192.0.2.1 is no address of this host",
		},
		{
			name: "an address of an interface", addr: "192.0.2.1",
			change: func(s *fdscan.Snapshot) { s.Host.Bind.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")} },
			want:   "yes yes yes: no socket is in the way",
		},
		{
			name: "all of 127.0.0.0/8", addr: "127.3.2.1",
			change: func(s *fdscan.Snapshot) { s.Host.Bind.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")} },
			want:   "yes yes yes: no socket is in the way",
		},
		{
			name: "loopback that is down", addr: "::1",
			change: func(s *fdscan.Snapshot) { s.Host.Bind.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")} },
			want:   "no no no: ::1 is no address of this host",
		},
		{
			name: "an address of this host", addr: "192.0.2.1",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.Bound, "192.0.2.1", app), func(s *fdscan.Socket) { s.ReuseAddr = new(true) })},
			want:    "no yes no: pid 4180 (crow_app) has bound 192.0.2.1:18080 (SO_REUSEADDR helps; SO_REUSEPORT does not help)",
		},
		{
			name: "a link-local address", addr: "fe80::1",
			want: "no no no: a link-local address cannot be bound without its interface",
		},
		{
			name: "a link-local address of another interface", addr: "fe80::1%3",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.Listen, "fe80::1%2", app), func(s *fdscan.Socket) { s.Interface = 2 })},
			want:    "unknown unknown unknown: whether fe80::1%3 is an address of this host could not be read",
		},
		{
			name: "a link-local address of a named interface", addr: "fe80::1%eth0",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.Listen, "fe80::1%2", app), func(s *fdscan.Socket) { s.Interface = 2 })},
			want:    "unknown unknown unknown: pid 4180 (crow_app) listens on [fe80::1%2]:18080 of interface 2: in the way unless interface eth0 is another",
		},
		{
			name: "a link-local address of the same interface", addr: "fe80::1%2",
			sockets: []*fdscan.Socket{bindWith(bindMade(fdscan.Listen, "fe80::1%2", app), func(s *fdscan.Socket) { s.Interface = 2 })},
			want:    "no no no: pid 4180 (crow_app) listens on [fe80::1%2]:18080 of interface 2 (neither SO_REUSEADDR nor SO_REUSEPORT helps)",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := bindSnapshot(test.sockets...)
			if test.change != nil {
				test.change(s)
			}
			v := bindAt(t, s, test.addr)
			got := string(v.Plain) + " " + string(v.ReuseAddr) + " " + string(v.ReusePort) + ": " + v.Because
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("CanBind at %s (-want +got):\n%s", test.addr, diff)
			}
		})
	}
}

// Where the live tests allow any doubt about SO_REUSEPORT there need not be one,
// and where they know more than a snapshot there has to be.
func TestBindReusePort(t *testing.T) {
	group := func(s *fdscan.Socket) { s.ReusePort = new(true) }
	tests := []struct {
		name    string
		proto   fdscan.Protocol
		addr    string
		sockets []*fdscan.Socket
		want    inspect.Bindable
	}{
		{
			"what is left over another family tells nothing of this one", fdscan.TCP, "0.0.0.0",
			[]*fdscan.Socket{bindMade(fdscan.Listen, "0.0.0.0"), bindBuried("::1", time.Minute)},
			inspect.BindNo,
		},
		{
			"a listener lets nothing through that was left before it", fdscan.TCP, "127.0.0.1",
			[]*fdscan.Socket{bindMade(fdscan.Listen, "127.0.0.1"), bindBuried("127.0.0.1", time.Minute)},
			inspect.BindNo,
		},
		{
			"a group at another address opens no way", fdscan.TCP, "127.0.0.1",
			[]*fdscan.Socket{
				bindWith(bindMade(fdscan.Bound, "127.0.0.1"), func(s *fdscan.Socket) { s.ReuseAddr = new(true) }),
				bindWith(bindMade(fdscan.Listen, "127.0.0.2"), group),
			},
			inspect.BindNo,
		},
		{
			"a stranger whose option is unread may be behind a member", fdscan.UDP, "::1",
			[]*fdscan.Socket{
				bindWith(bindMade(fdscan.Bound, "::1"), func(s *fdscan.Socket) { s.UID, s.ReusePort = new(uint32(33)), nil }),
				bindWith(bindMade(fdscan.Bound, "::"), group),
			},
			inspect.BindUnknown,
		},
	}
	for _, test := range tests {
		for _, o := range test.sockets {
			o.Protocol = test.proto
		}
		for _, v := range inspect.CanBind(bindSnapshot(test.sockets...), test.proto, bindPort, netip.MustParseAddr(test.addr)) {
			if v.Address.String() == test.addr && v.ReusePort != test.want {
				t.Errorf("%s: %s, want %s: %s", test.name, v.ReusePort, test.want, v.Because)
			}
		}
	}
}

// Sockets of other ports, namespaces and port spaces are nobody's blockers.
func TestBindBlockers(t *testing.T) {
	listener := bindMade(fdscan.Listen, "0.0.0.0")
	child := bindWith(bindMade(fdscan.Established, "127.0.0.1"), func(s *fdscan.Socket) { s.Inode = 2 })
	s := bindSnapshot(
		listener,
		bindWith(bindMade(fdscan.Listen, "0.0.0.0"), func(s *fdscan.Socket) { s.Local.Port++ }),
		bindWith(bindMade(fdscan.Listen, "0.0.0.0"), func(s *fdscan.Socket) { s.NetNSMine = false }),
		bindWith(bindMade(fdscan.Bound, "0.0.0.0"), func(s *fdscan.Socket) { s.Protocol = fdscan.UDP }),
		bindWith(bindMade(fdscan.Bound, "0.0.0.0"), func(s *fdscan.Socket) { s.Protocol = fdscan.Unix }),
		bindWith(bindMade(fdscan.Listen, "::1"), func(s *fdscan.Socket) { s.Inode = 3 }),
		child,
	)
	for addr, want := range map[string][]*fdscan.Socket{
		"0.0.0.0":   {listener, child},
		"127.0.0.1": {listener, child},
		"127.0.0.2": {listener},
	} {
		if got := bindAt(t, s, addr).Blockers; !slices.Equal(got, want) {
			t.Errorf("%s has %d blockers, want %d: %v", addr, len(got), len(want), got)
		}
	}
}

// An MPTCP listener and the TCP socket beneath it are one.
func TestBindTwins(t *testing.T) {
	process := &fdscan.Process{PID: 7, Comm: "srv"}
	m := bindWith(bindMade(fdscan.Listen, "::", process), func(s *fdscan.Socket) { s.Protocol = fdscan.MPTCP })
	subflow := bindWith(bindMade(fdscan.Listen, "::"), func(s *fdscan.Socket) { s.ReuseAddr, s.ReusePort = nil, nil })
	for _, proto := range []fdscan.Protocol{fdscan.TCP, fdscan.MPTCP} {
		for _, v := range inspect.CanBind(bindSnapshot(m, subflow), proto, bindPort, netip.Addr{}) {
			const want = "pid 7 (srv) listens on [::]:18080 (neither SO_REUSEADDR nor SO_REUSEPORT helps)"
			if v.Because != want || !slices.Equal(v.Blockers, []*fdscan.Socket{m}) {
				t.Errorf("%s at %v: %s, by %d sockets", proto, v.Address, v.Because, len(v.Blockers))
			}
		}
	}
}

func TestBindAddresses(t *testing.T) {
	const standard = "0.0.0.0 :: 127.0.0.1 ::1"
	for asked, want := range map[string]string{
		"":                 standard,
		"0.0.0.0":          standard,
		"::1":              standard,
		"127.0.0.2":        standard + " 127.0.0.2",
		"::ffff:127.0.0.1": standard + " ::ffff:127.0.0.1",
	} {
		var addr netip.Addr
		if asked != "" {
			addr = netip.MustParseAddr(asked)
		}
		got := ""
		for _, v := range inspect.CanBind(bindSnapshot(), fdscan.UDP, 53, addr) {
			got += " " + v.Address.String()
			if v.Protocol != fdscan.UDP || v.Port != 53 {
				t.Errorf("asked %q: a verdict on %s port %d", asked, v.Protocol, v.Port)
			}
		}
		if got != " "+want {
			t.Errorf("asked %q: verdicts on%s, want %s", asked, got, want)
		}
	}
	if got := inspect.CanBind(bindSnapshot(), fdscan.Unix, 0, netip.Addr{}); got != nil {
		t.Errorf("unix sockets have no ports, but got %v", got)
	}
}

// Port 0 lets the kernel choose.
func TestBindAnyPort(t *testing.T) {
	s := bindSnapshot(bindWith(bindMade(fdscan.Close, "0.0.0.0"), func(s *fdscan.Socket) { s.Local.Port = 0 }))
	s.Host.Bind.NetBindService = false
	for _, v := range inspect.CanBind(s, fdscan.TCP, 0, netip.Addr{}) {
		if v.Plain != inspect.BindYes {
			t.Errorf("port 0 at %v: %s, %s", v.Address, v.Plain, v.Because)
		}
	}
}

// Two looks at one snapshot are the same, and leave it as it was.
func TestBindPure(t *testing.T) {
	make := func() *fdscan.Snapshot {
		return bindSnapshot(bindMade(fdscan.Listen, "::", &fdscan.Process{PID: 9}, &fdscan.Process{PID: 8}), bindBuried("127.0.0.1", time.Second))
	}
	s, opts := make(), cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmp.AllowUnexported(fdscan.Socket{})}
	first := inspect.CanBind(s, fdscan.TCP, bindPort, bindOther4)
	second := inspect.CanBind(s, fdscan.TCP, bindPort, bindOther4)
	if diff := cmp.Diff(first, second, opts); diff != "" {
		t.Errorf("the second look differs (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(make(), s, opts); diff != "" {
		t.Errorf("the snapshot changed (-before +after):\n%s", diff)
	}
}
