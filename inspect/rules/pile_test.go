package rules_test

import (
	"strings"
	"testing"
	"time"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

// A socket without a process is named as any other: by both ends, if it has two.
func TestUnseenHolders(t *testing.T) {
	m := newMachine()
	m.socket(fdscan.Socket{
		Protocol: fdscan.UDP, State: fdscan.Bound, Inode: 7, Local: at("127.0.0.1:19012"),
		Health: &fdscan.Health{Memory: &fdscan.SocketMemory{RmemAlloc: 4096, Rcvbuf: 4096, Drops: 3}},
	})
	m.socket(fdscan.Socket{
		Protocol: fdscan.TCP, State: fdscan.CloseWait, Inode: 8, Local: at("127.0.0.1:80"), Remote: at("127.0.0.2:19012"),
		Health: &fdscan.Health{TCP: &fdscan.TCPInfo{LastDataSent: time.Hour, LastDataRecv: time.Hour, LastAckRecv: time.Hour}},
	})
	c := inspect.JudgeConnections(&m.Snapshot, inspect.Examination{Limits: inspect.DefaultLimits(), Rules: rules.All()})
	var said []string
	for _, f := range c.Findings {
		said = append(said, f.Message)
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{"127.0.0.1:19012 overflows: ", "127.0.0.1:80 → 127.0.0.2:19012 is closed by its peer"} {
		if !strings.Contains("\n"+all, "\n"+want) {
			t.Errorf("no finding begins with %q:\n%s", want, all)
		}
	}
}
