package fdscan

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"stray/internal/sockdiag"
)

func TestParseNetstat(t *testing.T) {
	text := "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPNew\nTcpExt: 0 17 18446744073709551615\nIpExt: InNoRoutes ListenDrops\nIpExt: 1 2\n"
	counters := parseNetstat([]byte(text))
	if n := counters["ListenOverflows"]; n == nil || *n != 17 {
		t.Errorf("ListenOverflows %v", n)
	}
	if n := counters["ListenDrops"]; n == nil || *n != 1<<64-1 {
		t.Errorf("ListenDrops %v", n)
	}
	if n := counters["TCPNew"]; n != nil {
		t.Errorf("a name without a value has %d", *n)
	}
	for _, text := range []string{"", "TcpExt:", "TcpExt: ListenDrops", "TcpExt: ListenDrops\nTcpExt: many\n"} {
		if n := parseNetstat([]byte(text))["ListenDrops"]; n != nil {
			t.Errorf("%q: %d", text, *n)
		}
	}
}

func FuzzParseNetstat(f *testing.F) {
	f.Add([]byte("TcpExt: a b\nTcpExt: 1 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, n := range parseNetstat(b) {
			if name == "" || n == nil {
				t.Errorf("%q %v", name, n)
			}
		}
	})
}

// told is what is told of a listener.
func told(s *Socket) Waiting {
	w := *s.Health.Waiting
	w.group = nil
	return w
}

// What waits belongs to the listener that would take it, the specific one first;
// what waits for nobody is nobody's.
func TestAcceptQueues(t *testing.T) {
	listener := func(address string, queued uint32) *Socket {
		at := netip.MustParseAddrPort(address)
		return &Socket{Protocol: TCP, State: Listen, NetNS: 1, Local: Endpoint{Addr: at.Addr(), Port: at.Port()}, Backlog: &Backlog{Queued: queued}, Health: &Health{}}
	}
	anywhere, specific := listener("0.0.0.0:80", 1), listener("10.0.0.1:80", 2)
	var q acceptQueues
	add := func(address string, state uint8, age time.Duration, inode uint32) {
		q.add(&sockdiag.Connection{Inet: sockdiag.Inet{State: state, Local: netip.MustParseAddrPort(address), Inode: inode}, HasTCP: true, TCP: TCPInfo{LastDataRecv: age}})
	}
	add("10.0.0.1:80", sockdiag.Established, time.Second, 0)
	add("10.0.0.1:80", sockdiag.CloseWait, 3*time.Second, 0)
	add("10.0.0.2:80", sockdiag.Established, 2*time.Second, 0)
	add("10.0.0.2:80", sockdiag.NewSynRecv, 0, 0)
	q.add(&sockdiag.Connection{Inet: sockdiag.Inet{State: sockdiag.NewSynRecv, Retrans: 2, Local: netip.MustParseAddrPort("10.0.0.2:80")}})
	add("10.0.0.2:80", sockdiag.Established, time.Hour, 7) // accepted
	add("10.0.0.2:81", sockdiag.Established, time.Hour, 0) // of nobody
	q.assign([]*Socket{anywhere, specific}, 1)
	if got, want := told(specific), (Waiting{Connections: 2, Closed: 1, Oldest: 3 * time.Second, Group: 1, GroupOldest: 3 * time.Second, GroupTold: 3 * time.Second}); got != want {
		t.Errorf("the specific listener has %+v, want %+v", got, want)
	}
	if got, want := told(anywhere), (Waiting{Connections: 1, Oldest: 2 * time.Second, HalfOpen: 2, Unanswered: 1, Group: 1, GroupOldest: 2 * time.Second, GroupTold: 2 * time.Second}); got != want {
		t.Errorf("the other one has %+v, want %+v", got, want)
	}
}

// In a group of equals no row tells whose it is, but each member counts its own:
// what cannot be otherwise is said of it, and nothing else.
func TestAcceptQueuesOfAGroup(t *testing.T) {
	member := func(queued uint32) *Socket {
		at := netip.MustParseAddrPort("10.0.0.1:80")
		return &Socket{Protocol: TCP, State: Listen, NetNS: 1, Local: Endpoint{Addr: at.Addr(), Port: at.Port()}, Backlog: &Backlog{Queued: queued}, Health: &Health{}}
	}
	hung, busy, empty := member(3), member(1), member(0)
	var q acceptQueues
	add := func(state uint8, age time.Duration) {
		q.add(&sockdiag.Connection{Inet: sockdiag.Inet{State: state, Local: netip.MustParseAddrPort("10.0.0.1:80")}, HasTCP: true, TCP: TCPInfo{LastDataRecv: age}})
	}
	add(sockdiag.CloseWait, time.Minute)
	add(sockdiag.CloseWait, time.Hour)
	add(sockdiag.Established, time.Millisecond)
	add(sockdiag.Established, 2*time.Minute)
	q.assign([]*Socket{hung, busy, empty}, 1)
	if got, want := told(hung), (Waiting{Connections: 3, Closed: 1, Oldest: 2 * time.Minute, Group: 2, GroupOldest: time.Hour, GroupTold: 2 * time.Minute}); got != want {
		t.Errorf("of three of four it says %+v, want %+v", got, want)
	}
	if got, want := told(busy), (Waiting{Connections: 1, Oldest: time.Millisecond, Group: 2, GroupOldest: time.Hour, GroupTold: 2 * time.Minute}); got != want {
		t.Errorf("of one of four it says %+v, want %+v", got, want)
	}
	if got, want := told(empty), (Waiting{Group: 1}); got != want {
		t.Errorf("of none it says %+v, want %+v", got, want)
	}
}

// Of a hung member with less in its queue than the busy one has, one look tells
// nothing; in two, what has waited all the time is its own.
func TestAcceptQueuesOfAGroupTwice(t *testing.T) {
	look := func(taken time.Time, hungQueued, busyQueued uint32, cookies map[uint64]time.Duration) (snap *Snapshot, hung, busy *Socket) {
		member := func(cookie uint64, queued uint32) *Socket {
			at := netip.MustParseAddrPort("10.0.0.1:80")
			return &Socket{Protocol: TCP, State: Listen, NetNS: 1, Cookie: cookie, Local: Endpoint{Addr: at.Addr(), Port: at.Port()}, Backlog: &Backlog{Queued: queued}, Health: &Health{}}
		}
		hung, busy = member(1, hungQueued), member(2, busyQueued)
		var q acceptQueues
		for cookie, age := range cookies {
			q.add(&sockdiag.Connection{Inet: sockdiag.Inet{State: sockdiag.Established, Cookie: cookie, Local: netip.MustParseAddrPort("10.0.0.1:80")}, HasTCP: true, TCP: TCPInfo{LastDataRecv: age}})
		}
		q.assign([]*Socket{hung, busy}, 1)
		return &Snapshot{TakenAt: taken, Sockets: []*Socket{hung, busy}}, hung, busy
	}
	taken := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	before, hung, busy := look(taken, 2, 3, map[uint64]time.Duration{10: time.Minute, 11: time.Hour, 20: 1, 21: 2, 22: 3})
	if w := told(hung); w.Oldest > time.Second || w.GroupTold >= time.Hour || w.GroupOldest != time.Hour {
		t.Errorf("one look tells of the hung one %+v", w)
	}
	if w := told(busy); w.Oldest > time.Second {
		t.Errorf("one look tells of the busy one %+v", w)
	}
	after, hung, busy := look(taken.Add(3*time.Second), 2, 1, map[uint64]time.Duration{10: time.Minute, 11: time.Hour, 23: 1})
	after.Follow(before)
	if w := told(hung); w.Oldest != time.Minute || w.GroupTold != time.Minute {
		t.Errorf("two looks tell of the hung one %+v", w)
	}
	if w := told(busy); w.Oldest > time.Second {
		t.Errorf("two looks tell of the busy one %+v", w)
	}
}

// An address is looked for where it was met: in the own namespace first, and a
// loopback address nowhere else.
func TestAddressSet(t *testing.T) {
	var a addressSet
	for _, where := range []struct {
		address string
		netns   uint64
	}{{"10.0.0.1", 1}, {"10.0.0.1", 2}, {"::ffff:10.0.0.1", 3}, {"10.0.0.1", 2}, {"127.0.0.1", 2}} {
		a.add(netip.MustParseAddr(where.address), where.netns)
	}
	for _, tt := range []struct {
		address string
		netns   uint64
		want    []uint64
	}{
		{"10.0.0.1", 2, []uint64{2, 1, 3}},
		{"10.0.0.1", 9, []uint64{1, 2, 3}},
		{"127.0.0.1", 1, []uint64{1}},
		{"10.0.0.9", 1, nil},
	} {
		if got := a.of(netip.MustParseAddr(tt.address), tt.netns); !slices.Equal(got, tt.want) {
			t.Errorf("%s from %d: %v, want %v", tt.address, tt.netns, got, tt.want)
		}
	}
}

func TestFollow(t *testing.T) {
	taken := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	look := func(at time.Time, state State, queue uint32, tcp TCPInfo, drops uint32) *Snapshot {
		return &Snapshot{TakenAt: at, Sockets: []*Socket{{
			NetNS: 1, Cookie: 7, Inode: 8, State: state, SendQueue: &queue, RecvQueue: new(uint32(0)), Health: &Health{TCP: &tcp, Memory: &SocketMemory{Drops: drops}},
		}}}
	}
	before := look(taken, Established, 2000, TCPInfo{TotalRetrans: 5, BytesAcked: 100, LastAckRecv: 10 * time.Second}, 1)
	after := look(taken.Add(3*time.Second), Established, 6000, TCPInfo{TotalRetrans: 7, BytesAcked: 100, LastAckRecv: 13 * time.Second}, 4)
	after.Follow(before)
	want := Trend{Over: 3 * time.Second, SendQueue: 4000, Retransmissions: 2, Dropped: 3}
	if got := after.Sockets[0].Health.Trend; got == nil || *got != want {
		t.Errorf("trend %+v, want %+v", got, want)
	}
	after = look(taken.Add(3*time.Second), Established, 0, TCPInfo{BytesAcked: 2100, LastAckRecv: time.Second, TotalRetrans: 5}, 1)
	after.Follow(before)
	if got := after.Sockets[0].Health.Trend; got == nil || !got.Heard || got.Acked != 2000 || got.SendQueue != -2000 {
		t.Errorf("trend %+v, want an answer", got)
	}
	// What has changed its state meanwhile is another matter.
	after = look(taken.Add(3*time.Second), CloseWait, 0, TCPInfo{}, 1)
	after.Follow(before)
	if got := after.Sockets[0].Health.Trend; got != nil {
		t.Errorf("trend %+v of what has closed", got)
	}
}
