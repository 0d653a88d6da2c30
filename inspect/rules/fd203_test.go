package rules_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

// lookedAt is the table of a process that n looks, a second apart, found to hold
// this many connections to a database.
func lookedAt(pid, n int, count func(i int) int) *fdscan.Table {
	t := &fdscan.Table{Process: process(pid, 1, "server"), Limit: 1024}
	for i := range n {
		look := fdscan.Look{At: time.Unix(int64(i), 0), Open: 3 + count(i), Items: map[fdscan.Item]int{{Kind: "tcp", Target: "to 10.0.0.5:5432"}: count(i), {Kind: "regular"}: 3}}
		t.Looks, t.Open = append(t.Looks, look), look.Open
	}
	t.Kinds = map[string]int{"socket": t.Open - 3, "regular": 3}
	return t
}

func watched(past *inspect.Past, tables ...*fdscan.Table) *inspect.Outcome {
	snap := &fdscan.Snapshot{Tables: tables, Processes: map[int]*fdscan.Process{1: process(1, 0, "init")}, TablesComplete: true, HoldersComplete: true}
	snap.Host.BootID = "this"
	var pids []int
	for _, t := range tables {
		snap.Processes[t.Process.PID] = t.Process
		pids = append(pids, t.Process.PID)
	}
	return inspect.Watched(snap, pids, past, rules.All())
}

func growth(o *inspect.Outcome) []string {
	var all []string
	for _, f := range texts(o.Findings) {
		if strings.HasPrefix(f, "FD203") {
			all = append(all, f)
		}
	}
	return all
}

func TestGrowthMessages(t *testing.T) {
	o := watched(nil, lookedAt(10, 41, func(i int) int { return 10 + i }))
	want := []string{"FD203 error 10: pid 10 (server) opens tcp sockets to 10.0.0.5:5432 and does not close them: 10 → 50 in 40s, 60 a minute; RLIMIT_NOFILE (1024) is reached in 16m"}
	if diff := cmp.Diff(want, growth(o)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if o := watched(nil, lookedAt(10, 41, func(int) int { return 10 })); growth(o) != nil || !evaluated(o, "FD203") {
		t.Errorf("what stays grows: %v", growth(o))
	}
}

// Near its limit, a table that grows is told the time that is left.
func TestGrowthNearTheLimit(t *testing.T) {
	table := lookedAt(10, 41, func(i int) int { return 950 + i })
	for _, f := range texts(watched(nil, table).Findings) {
		if strings.HasPrefix(f, "FD204") && strings.HasSuffix(f, "; they grow, and reach it in 31s") {
			return
		}
	}
	t.Errorf("%v", texts(watched(nil, table).Findings))
}

func evaluated(o *inspect.Outcome, id string) bool {
	for _, r := range o.Evaluated {
		if r.ID == id {
			return true
		}
	}
	return false
}

// Processes that share one table leak once.
func TestGrowthOfASharedTable(t *testing.T) {
	a, b := lookedAt(10, 41, func(i int) int { return i }), lookedAt(11, 41, func(i int) int { return i })
	a.SharedWith, b.SharedWith = []int{11}, []int{10}
	if found := growth(watched(nil, a, b)); len(found) != 1 {
		t.Errorf("%v", found)
	}
}

func TestGrowthNeedsLooks(t *testing.T) {
	o := watched(nil, lookedAt(10, 7, func(i int) int { return 100 * i }))
	if growth(o) != nil || evaluated(o, "FD203") {
		t.Errorf("found %v", growth(o))
	}
	for _, u := range o.NotEvaluated {
		if u.Rule.ID == "FD203" && u.Because == "pid 10 (server) was looked at 7 times, and it takes 16" {
			return
		}
	}
	t.Errorf("%+v", o.NotEvaluated)
}

func TestGrowthSince(t *testing.T) {
	with := func(pid, sockets int, program string) *fdscan.Table {
		p := process(pid, 1, program)
		p.Exe = "/srv/release-1/" + program
		return &fdscan.Table{Process: p, Looks: []fdscan.Look{{Open: sockets + 3}}, Open: sockets + 3, Kinds: map[string]int{"socket": sockets, "regular": 3}}
	}
	past := func(tables ...*fdscan.Table) *inspect.Past {
		return &inspect.Past{Name: "old.json", TakenAt: time.Unix(0, 0).UTC(), BootID: "other", Tables: tables}
	}
	for name, tt := range map[string]struct {
		past  *inspect.Past
		now   int
		want  []string
		blind bool
	}{
		"as it was":     {past: past(with(7, 20, "server")), now: 20},
		"a few more":    {past: past(with(7, 20, "server")), now: 29},
		"a tenth more":  {past: past(with(7, 200, "server")), now: 219},
		"many more":     {past: past(with(7, 20, "server")), now: 50, want: []string{"FD203 error 10: pid 10 (server) has 50 descriptors of kind socket, 30 more than in old.json"}},
		"the fullest":   {past: past(with(7, 20, "server"), with(8, 45, "server")), now: 50},
		"another one":   {past: past(with(7, 20, "worker")), now: 50, blind: true},
		"that very one": {past: &inspect.Past{Name: "old.json", BootID: "this", Tables: []*fdscan.Table{with(10, 45, "once"), with(7, 5, "server")}}, now: 50},
	} {
		o := watched(tt.past, with(10, tt.now, "server"))
		if diff := cmp.Diff(tt.want, growth(o)); diff != "" || evaluated(o, "FD203") == tt.blind {
			t.Errorf("%s: evaluated %v (-want +got):\n%s", name, evaluated(o, "FD203"), diff)
		}
	}
}

// A baseline holds for the same leak of another process, and for no other leak.
func TestFingerprintsOfGrowth(t *testing.T) {
	print := func(pid int, item fdscan.Item) string {
		table := lookedAt(pid, 41, func(i int) int { return i })
		for i := range table.Looks {
			table.Looks[i].Items = map[fdscan.Item]int{item: i}
		}
		return watched(nil, table).Findings[0].Fingerprint
	}
	file, tcp := fdscan.Item{Kind: "regular", Target: "/etc/hostname"}, fdscan.Item{Kind: "tcp", Target: "to 10.0.0.5:5432"}
	if print(10, file) != print(11, file) || print(10, file) == print(10, tcp) {
		t.Error("fingerprints depend on pids, or do not on targets")
	}
}
