package rules_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

// The worker of a master that may not be read is not its opener for sure.
func TestFD103WithAnUnreadAncestor(t *testing.T) {
	for master, tt := range map[string]struct{ finding, starved string }{
		"server":     {"", "pid 10 (server), which could not be read, may have opened tcp 0.0.0.0:80"},
		"supervisor": {"FD103 note 11: pid 11 (server) probably opened the listener 0.0.0.0:80 without FD_CLOEXEC (fd 3): the next program that it starts inherits it", ""},
	} {
		worker := serves(process(11, 10, "server"))
		m := newMachine(process(10, 1, master), worker)
		m.socket(fdscan.Socket{State: fdscan.Listen, Inode: inode, Local: at("0.0.0.0:80")}, holder(worker, 3, false))
		m.HoldersComplete = false
		m.Gaps = []fdscan.Gap{{Op: "read /proc/PID/fd", PID: 10, FD: -1, Err: "permission denied", Scope: fdscan.ScopeHolders}}
		a := inspect.Who(&m.Snapshot, []fdscan.Target{{PortLow: 80, PortHigh: 80}}, rules.All(), false)
		var want []string
		if tt.finding != "" {
			want = append(want, tt.finding)
		}
		if diff := cmp.Diff(want, append([]string(nil), texts(a.Findings)...)); diff != "" {
			t.Errorf("below %s (-want +got):\n%s", master, diff)
		}
		starved := ""
		for _, u := range a.NotEvaluated {
			if u.Rule.ID == "FD103" {
				starved = u.Because
			}
		}
		if starved != tt.starved {
			t.Errorf("below %s: not evaluated because %q, want %q", master, starved, tt.starved)
		}
	}
}
