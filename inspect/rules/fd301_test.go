package rules_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

// closeWaiting are connections that their peers have closed long ago.
func closeWaiting(m *machine, n int, change func(i int, s *fdscan.Socket), holders ...*fdscan.Holder) {
	for i := range n {
		s := fdscan.Socket{
			State: fdscan.CloseWait, Inode: uint64(1000 + len(m.Sockets)), NetNS: 1, UID: new(uint32(0)), Local: at("10.0.0.2:80"),
			Remote: fdscan.Endpoint{Addr: netip.MustParseAddr("10.0.0.1"), Port: uint16(40000 + i)},
			Health: &fdscan.Health{TCP: &fdscan.TCPInfo{LastDataSent: time.Hour, LastDataRecv: time.Hour, LastAckRecv: time.Hour}},
		}
		change(i, &s)
		m.socket(s, holders...)
	}
}

func TestFD301(t *testing.T) {
	server := process(10, 1, "server")
	alike := func(int, *fdscan.Socket) {}
	for name, tt := range map[string]struct {
		change  func(int, *fdscan.Socket)
		holders []*fdscan.Holder
		want    []string // severity and beginning
	}{
		"a pile":                       {alike, []*fdscan.Holder{holder(server, 5, true)}, []string{"error pid 10 (server): 12 connections are closed"}},
		"of whom, is not known":        {alike, nil, []string{"warning 12 connections are closed"}},
		"of two users":                 {func(i int, s *fdscan.Socket) { *s.UID = uint32(i % 2) }, nil, []string{"warning 6 connections are", "warning 6 connections are"}},
		"of two servers":               {func(i int, s *fdscan.Socket) { s.Local.Port += uint16(i % 2) }, nil, []string{"warning 6 connections are", "warning 6 connections are"}},
		"of two namespaces":            {func(i int, s *fdscan.Socket) { s.NetNS += uint64(i % 2) }, nil, []string{"warning 6 connections are", "warning 6 connections are"}},
		"of a client's ports, as ever": {func(i int, s *fdscan.Socket) { s.Local.Port = uint16(40000 + i) }, nil, []string{"warning 12 connections are closed"}},
	} {
		m := newMachine(server)
		m.Host.Bind = fdscan.BindConditions{EphemeralLow: 32768, EphemeralHigh: 60999}
		closeWaiting(m, 12, tt.change, tt.holders...)
		c := inspect.JudgeConnections(&m.Snapshot, inspect.Examination{Limits: inspect.DefaultLimits(), Rules: rules.All()})
		var got []string
		for _, f := range c.Findings {
			got = append(got, fmt.Sprintf("%s %s", f.Severity, f.Message))
		}
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
