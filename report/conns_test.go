package report_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

// ailing is a machine on which every rule about health has something to say.
func ailing() *machine {
	m := newMachine()
	m.Looked = fdscan.Looked{Connections: 1204, Listeners: 38, Datagrams: 12, Namespaces: 2}
	m.Networks = map[uint64]*fdscan.Network{here: {
		NetNS: here, Known: true, Retries2: 15, SynRetries: 6, RTOMin: 200 * time.Millisecond, RTOMax: 2 * time.Minute,
		ListenOverflows: new(uint64(17)),
	}}
	app := m.process(812, "/srv/app --port 8080", aged(26*time.Hour), unit("app.service"))
	rpc := m.process(26610, "./rpc", state('T'), aged(20*time.Minute))
	client := m.process(26700, "./client", aged(3*time.Minute))
	at := func(s string) fdscan.Endpoint {
		a := netip.MustParseAddrPort(s)
		return fdscan.Endpoint{Addr: a.Addr(), Port: a.Port()}
	}
	add := func(p *fdscan.Process, fd int, state fdscan.State, local, remote string, change func(*fdscan.Socket, *fdscan.TCPInfo)) *fdscan.Socket {
		tcp := &fdscan.TCPInfo{
			Size: 280, RTO: 200 * time.Millisecond, RTT: 21 * time.Millisecond, SndWnd: 65535, SndCwnd: 10,
			LastDataSent: time.Second, LastDataRecv: time.Second, LastAckRecv: time.Second,
		}
		m.nextInode++
		s := &fdscan.Socket{
			Protocol: fdscan.TCP, Family: fdscan.Inet, State: state, Inode: m.nextInode, Cookie: m.nextInode, NetNS: here, NetNSMine: true, Local: at(local),
			RecvQueue: new(uint32(0)), SendQueue: new(uint32(0)), Health: &fdscan.Health{TCP: tcp, Congestion: "cubic", Memory: &fdscan.SocketMemory{}},
		}
		if remote != "" {
			s.Remote = at(remote)
		}
		if p != nil {
			s.Holders = []*fdscan.Holder{{Process: p, FD: fd, Slot: -1, Via: fdscan.ViaTable}}
		}
		change(s, tcp)
		m.Sockets = append(m.Sockets, s)
		return s
	}
	for i := range 3 {
		add(app, 19+i, fdscan.Established, "10.77.0.1:8080", fmt.Sprintf("10.77.0.2:%d", 51140+i), func(s *fdscan.Socket, t *fdscan.TCPInfo) {
			*s.SendQueue, t.NotsentBytes, t.Unacked = 14_000, 12_000, 2
			t.LastAckRecv, t.LastDataSent, t.LastDataRecv = 57*time.Second-time.Duration(i)*time.Second, 5*time.Second, time.Minute
			t.Retransmits, t.Backoff, t.TotalRetrans, t.RTO = 8, 8, 22, 51200*time.Millisecond
			t.TotalRTORecoveries, t.TotalRTOTime = 1, 56*time.Second
			s.Timer = &fdscan.Timer{Kind: "retransmit", Expires: 20 * time.Second}
			s.Health.Options = &fdscan.ConnectionOptions{Idle: 2 * time.Hour, Interval: 75 * time.Second, Count: 9}
		})
	}
	for i := range 12 {
		add(app, 40+i, fdscan.CloseWait, "10.77.0.1:8080", fmt.Sprintf("10.77.0.3:%d", 40000+i), func(s *fdscan.Socket, t *fdscan.TCPInfo) {
			*s.RecvQueue = 1
			t.LastDataSent, t.LastDataRecv, t.LastAckRecv = time.Hour, time.Hour, time.Hour-time.Duration(i^1)*time.Minute
		})
	}
	peer := &fdscan.Socket{
		Protocol: fdscan.TCP, State: fdscan.Established, Inode: 99, NetNS: here, Local: at("127.0.0.1:18090"), Remote: at("127.0.0.1:54800"), RecvQueue: new(uint32(113_000)),
		Holders: []*fdscan.Holder{{Process: rpc, FD: 8, Slot: -1, Via: fdscan.ViaTable}},
	}
	stalled := func(s *fdscan.Socket, t *fdscan.TCPInfo) {
		*s.SendQueue, t.NotsentBytes, t.SndWnd = 3_850_000, 3_850_000, 0
		t.LastDataSent, t.LastDataRecv, t.LastAckRecv = 92*time.Second, 93*time.Second, 9*time.Second
		t.RwndLimited = 92 * time.Second
		s.Timer = &fdscan.Timer{Kind: "probe", Expires: 14 * time.Second}
		s.Health.Peer = peer
		s.Health.Options = &fdscan.ConnectionOptions{Keepalive: true, Idle: time.Minute, Interval: 10 * time.Second, Count: 6, UserTimeout: 0}
	}
	add(client, 6, fdscan.Established, "127.0.0.1:54800", "127.0.0.1:18090", stalled)
	add(nil, 0, fdscan.FinWait1, "127.0.0.1:54790", "127.0.0.1:18090", func(s *fdscan.Socket, t *fdscan.TCPInfo) { stalled(s, t); s.Inode, s.Health.Options = 0, nil })
	add(rpc, 3, fdscan.Listen, "127.0.0.1:18090", "", func(s *fdscan.Socket, t *fdscan.TCPInfo) {
		s.RecvQueue, s.SendQueue, s.Backlog = nil, nil, &fdscan.Backlog{Queued: 5, Limit: 4}
		s.Health.Waiting = &fdscan.Waiting{Connections: 5, Closed: 2, Oldest: 40 * time.Second}
		s.Health.Memory.Drops = 12
	})
	add(client, 7, fdscan.FinWait2, "10.77.0.1:40100", "10.77.0.9:443", func(s *fdscan.Socket, t *fdscan.TCPInfo) {
		t.LastDataSent, t.LastDataRecv, t.LastAckRecv = 2*time.Minute, 2*time.Minute, 2*time.Minute
		s.Health.ShutWrite = true
	})
	add(client, 9, fdscan.Bound, "0.0.0.0:514", "", func(s *fdscan.Socket, _ *fdscan.TCPInfo) {
		s.Protocol, s.Health.TCP, s.Health.Congestion = fdscan.UDP, nil, ""
		s.Health.Memory = &fdscan.SocketMemory{RmemAlloc: 212_000, Rcvbuf: 212_992, Drops: 4711}
		s.Health.Trend = &fdscan.Trend{Over: 3 * time.Second, Dropped: 17}
	})
	add(client, 11, fdscan.Established, "10.77.0.1:40102", "10.77.0.9:5432", func(s *fdscan.Socket, t *fdscan.TCPInfo) {
		t.LastDataSent, t.LastDataRecv, t.LastAckRecv = 5*time.Hour, 5*time.Hour, 5*time.Hour
	})
	return m
}

// conns is the result of the command on a machine.
func (m *machine) conns() *report.Result {
	return report.NewConnections("1.2.3", nil, inspect.JudgeConnections(m.Snapshot, inspect.Examination{Limits: inspect.DefaultLimits(), Rules: rules.All()}))
}

func TestConnections(t *testing.T) {
	r := ailing().conns()
	var b strings.Builder
	for _, section := range []struct {
		flags, format string
		style         report.Style
	}{
		{"", "table", report.Style{Headers: true}},
		{" (80 columns)", "table", report.Style{Headers: true, Width: 80}},
		{" (100 columns)", "table", report.Style{Headers: true, Width: 100}},
		{" -o wide", "wide", report.Style{Headers: true}},
	} {
		fmt.Fprintf(&b, "$ stray conns%s\n%s\n", section.flags, render(t, r, section.format, section.style))
	}
	m := newMachine()
	m.Looked = fdscan.Looked{Connections: 1204, Listeners: 38, Datagrams: 12, Namespaces: 1}
	fmt.Fprintf(&b, "on a machine where all is well:\n$ stray conns\n%s", render(t, m.conns(), "table", report.Style{Headers: true}))
	compare(t, "conns.txt", b.String())
	for _, format := range []string{"json", "ndjson", "tsv"} {
		compare(t, "conns."+format, render(t, r, format, report.Style{Headers: true}))
	}
	if err := validate(compile(t, "report"), render(t, r, "json", report.Style{})); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(render(t, r, "ndjson", report.Style{})) {
		if err := validate(compile(t, "line"), line); err != nil {
			t.Error(err)
		}
	}
}

// On a terminal that is too narrow, what tells the connections apart stays: their
// rules and their ports.
func TestConnectionsOnNarrowTerminals(t *testing.T) {
	m := ailing()
	for _, s := range m.Sockets {
		for _, e := range []*fdscan.Endpoint{&s.Local, &s.Remote} {
			if e.Port != 0 {
				e.Addr = netip.MustParseAddr("2001:db8:1234:5678:9abc:def0:1234:5678")
			}
		}
	}
	page := render(t, m.conns(), "table", report.Style{Headers: true, Width: 80})
	for _, row := range []string{
		`  19  FD302  \[2001:d….*:8080   *\[2001:d….*:51140 `, `  40  FD301  \[2001:d….*:8080   *\[2001:d….*:40000 `, `  7   FD305  .*:40100 .*:443 `,
	} {
		if !regexp.MustCompile(`(?m)^` + row).MatchString(page) {
			t.Errorf("no row is like %q:\n%s", row, page)
		}
	}
}

// connectionNamed is the one of a machine by its local port.
func (m *machine) connectionNamed(port uint16) *fdscan.Socket {
	return m.Sockets[slices.IndexFunc(m.Sockets, func(s *fdscan.Socket) bool { return s.Local.Port == port })]
}

// Of a connect without an answer there are no times of data, and no bytes: what
// the kernel has in their place is not written.
func TestConnectingRow(t *testing.T) {
	m := ailing()
	s := m.connectionNamed(40102)
	s.State, *s.SendQueue, s.Timer = fdscan.SynSent, 1, &fdscan.Timer{Kind: "retransmit", Expires: 20 * time.Second}
	s.Health.TCP.Retransmits, s.Health.TCP.TotalRetrans = 5, 5
	page := render(t, m.conns(), "table", report.Style{Headers: true})
	if want := regexp.MustCompile(`(?m)^  11  FD302  10\.77\.0\.1:40102  10\.77\.0\.9:5432 +SYN_SENT +5 +retransmit 20s`); !want.MatchString(page) {
		t.Errorf("no row is like %s:\n%s", want, page)
	}
}

// The table and the findings count retransmissions alike.
func TestRetransmissionsAgree(t *testing.T) {
	m := ailing()
	for _, s := range m.Sockets {
		if s.Remote.Port >= 51140 && s.Remote.Port < 51143 {
			s.Health.TCP.TotalRetrans, s.Health.TCP.Retransmits = 14, 18
		}
	}
	page := render(t, m.conns(), "table", report.Style{Headers: true})
	for _, want := range []string{`(?m)^  19  FD302  .* 10\.77\.0\.2:51140 .* 18 `, ` 18 retransmissions, `} {
		if !regexp.MustCompile(want).MatchString(page) {
			t.Errorf("nothing is like %s:\n%s", want, page)
		}
	}
}
