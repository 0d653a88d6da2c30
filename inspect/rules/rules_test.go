package rules_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

func TestRulesAreDocumented(t *testing.T) {
	id := regexp.MustCompile(`^FD[1-9]\d\d$`)
	name := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	seen := map[string]bool{}
	for _, r := range rules.All() {
		if !id.MatchString(r.ID) || !name.MatchString(r.Name) || seen[r.ID] || seen[r.Name] {
			t.Errorf("rule %q %q", r.ID, r.Name)
		}
		seen[r.ID], seen[r.Name] = true, true
		if r.Title == "" || strings.HasSuffix(r.Title, ".") || r.Severity == 0 || r.Check == nil || len(r.Cures) == 0 || r.Starved == nil {
			t.Errorf("%s: title %q, severity %v, %d cures, check %v, starved %v", r.ID, r.Title, r.Severity, len(r.Cures), r.Check != nil, r.Starved != nil)
		}
		for line := range strings.Lines(r.Text) {
			if len(line) > 81 || strings.TrimRight(line, " \n") != strings.TrimSuffix(line, "\n") {
				t.Errorf("%s: line %q", r.ID, line)
			}
		}
		last := -1
		for _, c := range r.Cures {
			at := slices.Index(inspect.Languages(), c.Language)
			if at <= last || c.Text == "" || (c.Before == "") != (c.After == "") || c.Before != "" && c.Before == c.After {
				t.Errorf("%s: cure %+v: a language of the list, in its order, with words; code before and after, or none", r.ID, c)
			}
			last = at
			for _, code := range []string{c.Before, c.After} {
				for line := range strings.SplitSeq(code, "\n") {
					if utf8.RuneCountInString(line) > 76 || strings.TrimRight(line, " ") != line || strings.Contains(line, "\t") || code != strings.Trim(code, "\n") {
						t.Errorf("%s: %s: line %q of the code", r.ID, c.Language, line)
					}
				}
			}
		}
		if rules.Find(strings.ToLower(r.ID)) != r || rules.Find(strings.ToUpper(r.Name)) != r {
			t.Errorf("%s is not found", r.ID)
		}
	}
	if len(seen) == 0 || rules.Find("FD999") != nil || rules.Find("") != nil {
		t.Error("what is no rule is found")
	}
}

// process is one that idles in pause, was forked and has executed a program.
func process(pid, ppid int, program string) *fdscan.Process {
	return &fdscan.Process{
		PID: pid, PPID: ppid, NSPIDs: []int{pid}, StartTicks: uint64(pid), State: 'S', Comm: program, Exe: "/bin/" + program,
		ExeInode: uint64(len(program)), ExeDevice: 1, StackStart: uint64(pid) << 12, Group: 1, Session: 1, Threads: 1,
		Evidence: &fdscan.Evidence{Waits: []fdscan.Wait{{TID: pid, Call: "pause", Kind: fdscan.WaitPassive}}},
	}
}

// copied makes p a bare fork of its parent.
func copied(p, parent *fdscan.Process) *fdscan.Process {
	p.Exe, p.ExeInode, p.StackStart, p.Unexeced, p.Comm = parent.Exe, parent.ExeInode, parent.StackStart, true, parent.Comm
	return p
}

const inode = 4711

// serves makes p accept from the socket.
func serves(p *fdscan.Process) *fdscan.Process {
	p.Evidence.Waits = []fdscan.Wait{{TID: p.PID, Call: "accept4", Kind: fdscan.WaitOn, Inodes: []uint64{inode}}}
	return p
}

func holder(p *fdscan.Process, fd int, cloexec bool) *fdscan.Holder {
	return &fdscan.Holder{Process: p, FD: fd, Slot: -1, Via: fdscan.ViaTable, CloseOnExec: &cloexec}
}

// findings are what the rules say of a listener with these holders.
func findings(t *testing.T, holders ...*fdscan.Holder) []inspect.Finding {
	t.Helper()
	return answer(t, holders...).Findings
}

func answer(t *testing.T, holders ...*fdscan.Holder) *inspect.Answer {
	t.Helper()
	s := &fdscan.Socket{
		Protocol: fdscan.TCP, Family: fdscan.Inet, State: fdscan.Listen, Inode: inode, NetNSMine: true,
		Local: fdscan.Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 18080}, Holders: holders,
	}
	snap := &fdscan.Snapshot{Sockets: []*fdscan.Socket{s}, Processes: map[int]*fdscan.Process{1: process(1, 0, "init")}, TablesComplete: true, HoldersComplete: true}
	for _, h := range holders {
		snap.Processes[h.Process.PID] = h.Process
	}
	target, err := fdscan.ParseTarget("18080")
	if err != nil {
		t.Fatal(err)
	}
	return inspect.Who(snap, []fdscan.Target{target}, rules.All(), false)
}

func texts(fs []inspect.Finding) []string {
	all := []string{}
	for _, f := range fs {
		all = append(all, fmt.Sprintf("%s %s %d: %s", f.Rule.ID, f.Severity, f.Process.PID, f.Message))
	}
	return all
}

func TestMessages(t *testing.T) {
	server := func() *fdscan.Process { return serves(process(10, 1, "server")) }
	master := process(10, 1, "server")
	orphan := copied(process(11, 1, "server"), master)
	orphan.Group = 10
	leader, unable := process(10, 1, "server"), process(12, 1, "sleep")
	leader.Group = 10
	unable.Evidence.Imports = &fdscan.Imports{}
	for name, tt := range map[string]struct {
		holders []*fdscan.Holder
		want    []string
	}{
		"all is well": {holders: []*fdscan.Holder{holder(server(), 3, true)}},
		"inheritable": {
			[]*fdscan.Holder{holder(server(), 3, false)},
			[]string{"FD103 note 10: pid 10 (server) opened the listener 127.0.0.1:18080 without FD_CLOEXEC (fd 3): the next program that it starts inherits it"},
		},
		"crossed exec": {
			[]*fdscan.Holder{holder(server(), 3, true), holder(process(11, 10, "sleep"), 3, false)},
			[]string{"FD101 error 11: pid 11 (sleep) carries the listener 127.0.0.1:18080 of pid 10 (server) across exec: fd 3 lacks FD_CLOEXEC"},
		},
		"crossed exec in a process that has exited": {
			[]*fdscan.Holder{holder(leader, 3, true), holder(unable, 3, false)},
			[]string{"FD101 error 12: pid 12 (sleep) carries the listener 127.0.0.1:18080 of pid 10 (server) across exec: fd 3 lacks FD_CLOEXEC"},
		},
		"kept by fork, served by another": {
			[]*fdscan.Holder{holder(server(), 3, true), holder(copied(process(11, 10, ""), server()), 3, true)},
			[]string{"FD102 error 11: pid 11 (server) keeps the listener 127.0.0.1:18080 by fd 3, a copy that fork made, and does not serve it; another process does"},
		},
		"kept by fork, served by nobody": {
			[]*fdscan.Holder{holder(master, 3, true), holder(copied(process(11, 10, ""), master), 3, true)},
			[]string{"FD102 warning 11: pid 11 (server) keeps the listener 127.0.0.1:18080 by fd 3, a copy that fork made, and does not serve it"},
		},
		"kept by fork, its opener gone": {
			[]*fdscan.Holder{holder(orphan, 3, true)},
			[]string{"FD102 error 11: pid 11 (server) keeps the listener 127.0.0.1:18080 by fd 3, a copy that fork made, and does not serve it; its opener has exited: the port stays taken"},
		},
	} {
		got := texts(findings(t, tt.holders...))
		if diff := cmp.Diff(tt.want, got); diff != "" && len(tt.want)+len(got) > 0 {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSeveralDescriptorsInOneFinding(t *testing.T) {
	server, sleep := serves(process(10, 1, "server")), process(11, 10, "sleep")
	fs := findings(t, holder(server, 3, true), holder(sleep, 3, false), holder(sleep, 7, true), holder(sleep, 9, false))
	want := []string{"FD101 error 11: pid 11 (sleep) carries the listener 127.0.0.1:18080 of pid 10 (server) across exec: fd 3 and 9 lack FD_CLOEXEC"}
	if diff := cmp.Diff(want, texts(fs)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A restart changes numbers, and no fingerprint; another program does.
func TestFingerprints(t *testing.T) {
	print := func(pid int, program string) string {
		fs := findings(t, holder(serves(process(pid, 1, "server")), 3, true), holder(process(pid+1, pid, program), 3, false))
		i := slices.IndexFunc(fs, func(f inspect.Finding) bool { return f.Rule.ID == "FD101" })
		if i < 0 {
			t.Fatalf("findings %v", texts(fs))
		}
		return fs[i].Fingerprint
	}
	if print(10, "sleep") != print(20, "sleep") || print(10, "sleep") == print(10, "tail") {
		t.Error("fingerprints depend on pids, or do not on programs")
	}
	if print(10, "sleep") != print(10, "../opt/bin/sleep") {
		t.Error("fingerprints depend on directories")
	}
}

// A name or number that the kernel chose is another one after a restart; one
// that the program chose is what tells two faults apart.
func TestFingerprintsOfChosenAddresses(t *testing.T) {
	of := func(s fdscan.Socket) string {
		s.State, s.Inode, s.NetNSMine = fdscan.Listen, inode, true
		s.Holders = []*fdscan.Holder{holder(serves(process(10, 1, "server")), 3, false)}
		snap := &fdscan.Snapshot{Sockets: []*fdscan.Socket{&s}, Processes: map[int]*fdscan.Process{10: s.Holders[0].Process}, TablesComplete: true, HoldersComplete: true}
		snap.Host.Bind.EphemeralLow, snap.Host.Bind.EphemeralHigh = 32768, 60999
		o := &inspect.Outcome{View: inspect.Judge(snap)}
		o.Evaluate(rules.All())
		if len(o.Findings) != 1 {
			t.Fatalf("findings %v", texts(o.Findings))
		}
		return o.Findings[0].Fingerprint
	}
	port := func(n uint16) string {
		return of(fdscan.Socket{Protocol: fdscan.TCP, Family: fdscan.Inet, Local: fdscan.Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: n}})
	}
	name := func(path string) string {
		return of(fdscan.Socket{Protocol: fdscan.Unix, Family: fdscan.UnixPath, Type: "stream", Local: fdscan.Endpoint{Path: path}})
	}
	if port(40001) != port(40002) || port(8080) == port(8081) || port(8080) == port(40001) {
		t.Error("ports")
	}
	if name("@0001f") != name("@a0020") || name("@bus") == name("@0001f") || name("/run/a") == name("/run/b") || name("00017f") == name("@0001f") {
		t.Error("names")
	}
}

// A rule that could not look is not passed.
func TestStarvedRules(t *testing.T) {
	a := answer(t)
	var starved []string
	for _, u := range a.NotEvaluated {
		starved = append(starved, u.Rule.ID)
	}
	// The others need to see tables, or connections, which are not there.
	if diff := cmp.Diff([]string{"FD101", "FD102", "FD103", "FD401", "FD402"}, starved); diff != "" || len(a.Findings) != 0 {
		t.Errorf("rules that are not evaluated (-want +got):\n%s", diff)
	}
	if a := answer(t, holder(serves(process(10, 1, "server")), 3, true)); len(a.NotEvaluated) != 0 {
		t.Errorf("not evaluated: %+v", a.NotEvaluated)
	}
}

// Whoever could not be read may hold a copy of any listener or connection.
func TestRulesStarveInASurvey(t *testing.T) {
	starved := func(m *machine) (ids []string, why string) {
		m.socket(fdscan.Socket{State: fdscan.Listen, Inode: 100, Local: at("0.0.0.0:80")}, holder(serves(process(10, 1, "server")), 3, true))
		for _, u := range inspect.Scan(&m.Snapshot, rules.All()).NotEvaluated {
			ids, why = append(ids, u.Rule.ID), u.Because
		}
		return ids, why
	}
	all := []string{"FD101", "FD102", "FD103", "FD104", "FD105", "FD204", "FD205", "FD206", "FD401", "FD402"}
	for gap, want := range map[fdscan.Gap]string{
		{PID: 11, Scope: fdscan.ScopeHolders, Needs: "CAP_SYS_PTRACE"}: "the descriptors of pid 11 could not be read (needs CAP_SYS_PTRACE)",
		{Scope: fdscan.ScopeHolders}:                                   "not every process could be seen", // hidepid
		{PID: 11, Scope: fdscan.ScopeDetail}:                           "",
	} {
		m := newMachine()
		m.Gaps = []fdscan.Gap{gap}
		ids, why := starved(m)
		if want == "" && len(ids) > 0 || want != "" && (why != want || !slices.Equal(ids, all)) {
			t.Errorf("gap %+v: %v are not evaluated: %q; want %q", gap, ids, why, want)
		}
	}
}

// A network namespace that could not be entered may have connections that ail.
func TestRulesOfHealthStarve(t *testing.T) {
	m := newMachine()
	m.Gaps = []fdscan.Gap{{PID: 11, Scope: fdscan.ScopeElsewhere, Needs: "CAP_SYS_ADMIN"}}
	c := inspect.JudgeConnections(&m.Snapshot, inspect.Examination{Limits: inspect.DefaultLimits(), Rules: rules.All()})
	const why = "the sockets of another network namespace could not be read (needs CAP_SYS_ADMIN)"
	var ids []string
	for _, u := range c.NotEvaluated {
		if ids = append(ids, u.Rule.ID); u.Because != why {
			t.Errorf("%s: %s", u.Rule.ID, u.Because)
		}
	}
	if want := []string{"FD301", "FD302", "FD303", "FD304", "FD305", "FD306"}; !slices.Equal(ids, want) || len(c.Evaluated) > 0 {
		t.Errorf("not evaluated %v, evaluated %d", ids, len(c.Evaluated))
	}
}
