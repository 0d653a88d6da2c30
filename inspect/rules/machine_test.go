package rules_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

// machine is a snapshot that a survey could have taken.
type machine struct{ fdscan.Snapshot }

func newMachine(processes ...*fdscan.Process) *machine {
	m := &machine{fdscan.Snapshot{Processes: map[int]*fdscan.Process{1: process(1, 0, "init")}, TablesComplete: true, HoldersComplete: true}}
	for _, p := range processes {
		m.Processes[p.PID] = p
	}
	return m
}

func (m *machine) socket(s fdscan.Socket, holders ...*fdscan.Holder) {
	s.NetNSMine, s.Holders = true, holders
	if s.Protocol == "" {
		s.Protocol, s.Family = fdscan.TCP, fdscan.Inet
	}
	m.Sockets = append(m.Sockets, &s)
}

// says checks what the rules find on the machine.
func (m *machine) says(t *testing.T, want ...string) []inspect.Finding {
	t.Helper()
	o := inspect.Scan(&m.Snapshot, rules.All())
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, texts(o.Findings)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	return o.Findings
}

func at(text string) fdscan.Endpoint {
	a := netip.MustParseAddrPort(text)
	return fdscan.Endpoint{Addr: a.Addr(), Port: a.Port()}
}

// waiting makes p wait for the socket with an inode.
func waiting(p *fdscan.Process, inode uint64) *fdscan.Process {
	p.Evidence.Waits = []fdscan.Wait{{TID: p.PID, Call: "epoll_wait", Kind: fdscan.WaitOn, Inodes: []uint64{inode}}}
	return p
}
