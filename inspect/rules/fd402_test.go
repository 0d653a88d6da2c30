package rules_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

func TestFD402(t *testing.T) {
	yes, no := true, false
	first, second, stranger := serves(process(10, 1, "server")), serves(process(11, 1, "server")), serves(process(9, 1, "other"))
	group := func(protocol fdscan.Protocol, state fdscan.State, reuseport *bool) *machine {
		m := newMachine(first, second, stranger)
		for i, p := range []*fdscan.Process{first, second, stranger} {
			m.socket(fdscan.Socket{Protocol: protocol, Family: fdscan.Inet, State: state, Inode: uint64(100 + i), Local: at("0.0.0.0:80"), ReusePort: reuseport}, holder(p, 3, true))
		}
		return m
	}
	group(fdscan.TCP, fdscan.Listen, &yes).says(t, "FD402 warning 9: pid 9 (other) shares tcp 0.0.0.0:80 by SO_REUSEPORT with another program, pid 10 (server): a part of what arrives goes to each")
	// Who is at the port is what to ask next, unless that was the question.
	next := []string{"stray who 80", "stray explain FD402"}
	asked := inspect.Scan(&group(fdscan.TCP, fdscan.Listen, &yes).Snapshot, rules.All()).Findings
	if diff := cmp.Diff(next, asked[0].Next); diff != "" {
		t.Errorf("next after a scan (-want +got):\n%s", diff)
	}
	port, err := fdscan.ParseTarget("80")
	if err != nil {
		t.Fatal(err)
	}
	asked = inspect.Who(&group(fdscan.TCP, fdscan.Listen, &yes).Snapshot, []fdscan.Target{port}, rules.All(), false).Findings
	if diff := cmp.Diff(next[1:], asked[0].Next); diff != "" {
		t.Errorf("next after who 80 (-want +got):\n%s", diff)
	}
	group(fdscan.UDP, fdscan.Bound, &yes).says(t, "FD402 note 9: pid 9 (other) shares udp 0.0.0.0:80 by SO_REUSEPORT with another program, pid 10 (server): a part of what arrives goes to each")
	group(fdscan.TCP, fdscan.Listen, &no).says(t)
	group(fdscan.TCP, fdscan.Listen, nil).says(t)

	// Of two programs the younger one is the stranger; workers are none.
	m := group(fdscan.TCP, fdscan.Listen, &yes)
	m.Sockets = m.Sockets[1:]
	m.says(t, "FD402 warning 11: pid 11 (server) shares tcp 0.0.0.0:80 by SO_REUSEPORT with another program, pid 9 (other): a part of what arrives goes to each")
	m = group(fdscan.TCP, fdscan.Listen, &yes)
	m.Sockets = m.Sockets[:2]
	m.says(t)

	// The numbers decide in one hundredth of a second.
	m = group(fdscan.TCP, fdscan.Listen, &yes)
	m.Sockets = m.Sockets[1:]
	second.StartTicks = stranger.StartTicks
	m.says(t, "FD402 warning 11: pid 11 (server) shares tcp 0.0.0.0:80 by SO_REUSEPORT with another program, pid 9 (other): a part of what arrives goes to each")
}
