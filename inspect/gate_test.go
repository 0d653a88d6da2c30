package inspect_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

// gateScene is an outcome with findings of each kind that a match can tell
// apart. Its rules were all run, over everything.
func gateScene() *inspect.Outcome {
	process := func(pid int, exe, user string, uid uint32, unit string) *fdscan.Process {
		return &fdscan.Process{PID: pid, Exe: exe, Comm: exe[strings.LastIndex(exe, "/")+1:], User: user, UID: uid, Unit: unit}
	}
	sleep := process(11, "/usr/bin/sleep", "dev", 1000, "")
	web := process(12, "/srv/app/bin/web", "www-data", 33, "web.service")
	web.Comm = "web: worker"
	web.Container = "docker:0123456789ab"
	tcp := &inspect.Socket{Socket: &fdscan.Socket{Protocol: fdscan.TCP, State: fdscan.Listen, Inode: 41877, Local: fdscan.Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 8080}}}
	peer := &inspect.Socket{Socket: &fdscan.Socket{
		Protocol: fdscan.TCP, State: fdscan.CloseWait, Inode: 41878, Local: fdscan.Endpoint{Addr: netip.MustParseAddr("10.0.0.1"), Port: 8081},
		Remote: fdscan.Endpoint{Addr: netip.MustParseAddr("192.0.2.7"), Port: 443},
	}}
	unix := &inspect.Socket{Socket: &fdscan.Socket{Protocol: fdscan.Unix, State: fdscan.Listen, Inode: 41879, Local: fdscan.Endpoint{Path: "/run/app/x.sock"}}}
	kind := func(name string) *fdscan.Kind {
		all := fdscan.Kinds()
		return all[slices.IndexFunc(all, func(k *fdscan.Kind) bool { return k.Name == name })]
	}
	o := &inspect.Outcome{
		View: &inspect.View{
			Snapshot: &fdscan.Snapshot{
				TakenAt: time.Date(2026, 6, 30, 23, 59, 59, 0, time.UTC),
				Descriptors: []*fdscan.Descriptor{
					{Process: web, FD: 7, Kind: kind("pipe"), Link: "pipe:[41877]", Inode: 41877}, // the inode of a socket, elsewhere
					{Process: web, FD: 8, Kind: kind("regular"), Link: "/var/log/app/access.log", Inode: 5, From: sleep},
				},
			},
			Sockets: []*inspect.Socket{tcp, peer, unix},
		},
		Complete: true, Evaluated: rules.All(),
	}
	add := func(rule string, severity inspect.Severity, p *fdscan.Process, fd int, inode uint64, print string) {
		o.Findings = append(o.Findings, inspect.Finding{
			Rule: rules.Find(rule), Severity: severity, Process: p, FD: fd, Inode: inode, Message: fmt.Sprintf("pid %d fd %d", p.PID, fd), Fingerprint: print,
		})
	}
	add("FD101", inspect.Error, sleep, 3, 41877, "tcp")
	add("FD101", inspect.Error, sleep, 4, 41878, "peer")
	add("FD101", inspect.Error, sleep, 5, 41879, "unix")
	add("FD101", inspect.Error, web, 7, 41877, "pipe")
	add("FD101", inspect.Error, web, 8, 5, "file")
	o.Findings = append(o.Findings, inspect.Finding{Rule: rules.Find("FD101"), Severity: inspect.Warning, FD: -1, Message: "of nobody", Fingerprint: "nobody"})
	add("FD102", inspect.Warning, sleep, 3, 41877, "other rule")
	return o
}

func prints(findings []inspect.Finding) (all []string) {
	for _, f := range findings {
		all = append(all, f.Fingerprint)
	}
	return all
}

func suppressed(o *inspect.Outcome) (all []string) {
	for _, s := range o.Suppressed {
		all = append(all, s.Fingerprint)
	}
	return all
}

// ignoring reads an ignore file.
func ignoring(t *testing.T, text string) []*inspect.Ignore {
	t.Helper()
	s, err := inspect.ParseSettings([]byte(text), rules.Find)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s.Ignore
}

func TestMatch(t *testing.T) {
	for match, want := range map[string]string{
		"":                                "tcp peer unix pipe file nobody",
		"{program: sleep}":                "tcp peer unix",
		"{program: 'sl*'}":                "tcp peer unix",
		"{program: '?leep'}":              "tcp peer unix",
		"{program: leep}":                 "",
		"{program: /usr/bin/sleep}":       "tcp peer unix",
		"{program: '/usr/*'}":             "",
		"{program: '/usr/**'}":            "tcp peer unix",
		"{program: '/srv/*/bin/web'}":     "pipe file",
		"{program: 'web: *'}":             "pipe file", // its name for itself
		"{program: '[a-z]*'}":             "",          // no classes
		"{from: sleep}":                   "file",
		"{from: web}":                     "",
		"{user: www-data}":                "pipe file",
		"{user: 33}":                      "pipe file",
		"{user: root}":                    "",
		"{unit: 'web.*'}":                 "pipe file",
		"{container: 'docker:*'}":         "pipe file",
		"{port: 8080}":                    "tcp",
		"{port: 8080-8090}":               "tcp peer",
		"{port: 443}":                     "",
		"{address: 127.0.0.1}":            "tcp",
		"{address: 127.0.0.0/8}":          "tcp",
		"{address: 10.1.2.3/8}":           "peer",
		"{address: '::1'}":                "",
		"{peer: 192.0.2.0/24}":            "peer",
		"{path: /run/app/x.sock}":         "unix",
		"{path: '/run/**'}":               "unix",
		"{path: '/var/log/*/*.log'}":      "file",
		"{path: '/var/log/*.log'}":        "",
		"{path: 'pipe:*'}":                "pipe",
		"{kind: pipe}":                    "pipe",
		"{kind: socket}":                  "tcp peer unix",
		"{kind: inet}":                    "tcp peer",
		"{kind: unix}":                    "unix",
		"{kind: regular, program: web}":   "file",
		"{kind: regular, program: sleep}": "",
	} {
		o := gateScene()
		before := len(o.Findings)
		if match != "" {
			match = ", match: " + match
		}
		o.Ignore(ignoring(t, "ignore:\n  - {rule: FD101, reason: r"+match+"}\n"))
		if diff := cmp.Diff(strings.Fields(want), suppressed(o), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", match, diff)
		}
		if len(o.Findings)+len(o.Suppressed) != before {
			t.Errorf("%s: %d findings, %d suppressed, of %d", match, len(o.Findings), len(o.Suppressed), before)
		}
		for _, s := range o.Suppressed {
			if s.By != inspect.ByIgnore || s.Reason != "r" {
				t.Errorf("%s: %+v", match, s)
			}
		}
	}
}

// A finding about several things is ignored when an entry is about each of them.
func TestMatchOfSeveral(t *testing.T) {
	for match, want := range map[string]string{
		"{program: web}":    "descriptors",
		"{kind: pipe}":      "",
		"{kind: regular}":   "",
		"{port: 8080}":      "",
		"{port: 8080-8081}": "sockets",
		"{kind: inet}":      "sockets",
	} {
		o := gateScene()
		web := o.Descriptors[0].Process
		o.Findings = []inspect.Finding{
			{Rule: rules.Find("FD105"), Process: web, FD: 7, Descriptors: o.Descriptors, Fingerprint: "descriptors"},
			{Rule: rules.Find("FD105"), FD: -1, Sockets: o.Sockets[:2], Fingerprint: "sockets"},
		}
		o.Ignore(ignoring(t, "ignore:\n  - {rule: FD105, reason: r, match: "+match+"}\n"))
		if diff := cmp.Diff(strings.Fields(want), suppressed(o), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", match, diff)
		}
	}
}

// An entry holds through the day that it names. After that its findings count
// again, and that is said; so is what is of no use.
func TestIgnoreRemarks(t *testing.T) {
	const file = `ignore:
  - {rule: FD101, reason: r, match: {port: 8080}, expires: 2026-06-30}
  - {rule: FD101, reason: r, match: {port: 9999}}
  - {rule: FD101, reason: r, match: {port: 9999}, expires: 2026-06-29}
  - {rule: FD102, reason: r, expires: 2026-06-29}
  - {rule: FD101, reason: again, match: {port: 8080}}
`
	remarks := func(change func(o *inspect.Outcome)) (all []string, o *inspect.Outcome) {
		o = gateScene()
		change(o)
		for _, r := range o.Ignore(ignoring(t, file)) {
			all = append(all, fmt.Sprintf("%d: %s", r.Line, r.Text))
		}
		return all, o
	}
	nothing := "3: the entry for FD101 ignores nothing without scan --deep, and may go"
	over := "4: the entry for FD101 held until 2026-06-29, and may go"
	again := "5: the entry for FD102 held until 2026-06-29: what it ignored counts again"
	for name, tt := range map[string]struct {
		change func(o *inspect.Outcome)
		want   []string
	}{
		"on the last day":      {func(*inspect.Outcome) {}, []string{nothing, over, again}},
		"on the day after":     {func(o *inspect.Outcome) { o.TakenAt = o.TakenAt.Add(time.Second) }, []string{"2: the entry for FD101 held until 2026-06-30: what it ignored counts again", nothing, over, again}},
		"not all was seen":     {func(o *inspect.Outcome) { o.Complete = false }, []string{over, again}},
		"the rule was not run": {func(o *inspect.Outcome) { o.Evaluated = nil }, []string{over, again}},
		"deep":                 {func(o *inspect.Outcome) { o.Asked.Deep = true }, []string{"3: the entry for FD101 ignores nothing, and may go", over, again}},
		"some processes only":  {func(o *inspect.Outcome) { o.Asked.PIDs = []int{11} }, []string{over, again}},
		"some ports only":      {func(o *inspect.Outcome) { o.Asked.Targets = []string{"443"} }, []string{over, again}},
		"a process that has ended": {func(o *inspect.Outcome) {
			o.Processes = map[int]*fdscan.Process{}
			findings := o.Findings
			descriptors := slices.Clone(o.Descriptors)
			o.Findings = nil
			o.Limit([]int{99})
			o.Descriptors = descriptors
			o.Findings = findings
		}, []string{over, again}},
	} {
		got, o := remarks(tt.change)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		// Two entries are about it, and one suffices.
		if diff := cmp.Diff([]string{"tcp"}, suppressed(o)); diff != "" {
			t.Errorf("%s: suppressed (-want +got):\n%s", name, diff)
		}
	}
}

// known is a baseline of what o finds.
func known(o *inspect.Outcome) *inspect.Baseline {
	b := &inspect.Baseline{}
	b.Update(o)
	return b
}

func TestBaselineKnowsWhatWasFound(t *testing.T) {
	b := known(gateScene())
	o := gateScene()
	if stale := b.Apply(o); len(stale) != 0 || len(o.Findings) != 0 || len(o.Suppressed) != 7 || o.Worst() != 0 {
		t.Errorf("stale %v, findings %v, suppressed %v", stale, prints(o.Findings), suppressed(o))
	}
	for _, s := range o.Suppressed {
		if s.By != inspect.ByBaseline || s.Reason != "" {
			t.Errorf("%+v", s)
		}
	}
	// What it makes of the same again is the same, to the order.
	again := known(gateScene())
	slices.Reverse(again.Entries)
	again.Update(gateScene())
	if diff := cmp.Diff(b, again); diff != "" {
		t.Errorf("(-first +again):\n%s", diff)
	}
}

// A baseline of one does not cover two that are equal; of those, the mildest are
// known. One that has grown worse is new.
func TestBaselineCounts(t *testing.T) {
	b := known(gateScene())
	o := gateScene()
	twin := o.Findings[6]
	o.Findings = append(o.Findings, twin)
	o.Findings[6].Severity = inspect.Error
	b.Apply(o)
	if diff := cmp.Diff([]string{"other rule"}, prints(o.Findings)); diff != "" || o.Worst() != inspect.Error {
		t.Errorf("worst %v, findings (-want +got):\n%s", o.Worst(), diff)
	}
	o = gateScene()
	o.Findings[6].Severity = inspect.Error
	if b.Apply(o); len(o.Findings) != 1 {
		t.Errorf("a warning that has become an error: findings %v", prints(o.Findings))
	}
	o = gateScene()
	o.Findings[0].Severity = inspect.Note
	if b.Apply(o); len(o.Findings) != 0 {
		t.Errorf("an error that has become a note: findings %v", prints(o.Findings))
	}
	o = gateScene()
	o.Findings = append(o.Findings, twin, twin)
	b = known(o)
	b.Apply(o)
	if len(o.Findings) != 0 {
		t.Errorf("three equal findings, all known: findings %v", prints(o.Findings))
	}
}

// What is gone is told and can be taken out, if it would have been seen.
func TestBaselineStale(t *testing.T) {
	without := func(change func(o *inspect.Outcome)) *inspect.Outcome {
		o := gateScene()
		o.Findings = o.Findings[3:] // those of pid 11, but for FD102, are gone
		change(o)
		return o
	}
	limited := func(exe string) func(o *inspect.Outcome) {
		return func(o *inspect.Outcome) {
			p := &fdscan.Process{PID: 99, Exe: exe}
			o.Asked.PIDs, o.Tables, o.Processes = []int{99}, []*fdscan.Table{{Process: p}}, map[int]*fdscan.Process{99: p}
		}
	}
	for name, tt := range map[string]struct {
		change func(o *inspect.Outcome)
		want   int
	}{
		"all was seen":         {func(*inspect.Outcome) {}, 3},
		"not all was seen":     {func(o *inspect.Outcome) { o.Complete = false }, 0},
		"the rule was not run": {func(o *inspect.Outcome) { o.Evaluated = nil }, 0},
		"not all, but that program": {func(o *inspect.Outcome) {
			limited("/bin/sleep")(o)
			o.Asked.PIDs, o.Complete, o.Evaluated = nil, false, nil
			o.NotEvaluated = []inspect.Unevaluated{{Rule: rules.Find("FD101"), Because: "something"}}
		}, 3},
		"that program only":       {limited("/opt/sleep"), 3},
		"some other program only": {limited("/opt/cat"), 0},
		"one of two processes of that program": {func(o *inspect.Outcome) {
			limited("/opt/sleep")(o)
			o.Processes[98] = &fdscan.Process{PID: 98, Exe: "/usr/bin/sleep"}
		}, 0},
		"another that may not be read": {func(o *inspect.Outcome) {
			limited("/opt/sleep")(o)
			o.Processes[98] = &fdscan.Process{PID: 98, Comm: "sleep"}
		}, 0},
		"a process that has ended": {func(o *inspect.Outcome) {
			o.Processes = map[int]*fdscan.Process{}
			findings := slices.Clone(o.Findings)
			o.Limit([]int{99})
			o.Findings = findings
		}, 0},
		"some ports only": {func(o *inspect.Outcome) { o.Asked.Targets = []string{"443"} }, 0},
		"another limit, which is no matter to the rule": {func(o *inspect.Outcome) { o.Asked.Limits = []string{"--pile 3"} }, 3},
	} {
		b := known(gateScene())
		o := without(tt.change)
		stale := b.Apply(o)
		if len(stale) != tt.want {
			t.Errorf("%s: %d stale: %+v", name, len(stale), stale)
		}
		b.Prune(stale)
		if len(b.Entries) != 7-tt.want {
			t.Errorf("%s: %d entries after pruning", name, len(b.Entries))
		}
		// An update forgets the same, and nothing else.
		updated := known(gateScene())
		updated.Update(without(tt.change))
		if diff := cmp.Diff(b, updated); diff != "" {
			t.Errorf("%s (-pruned +updated):\n%s", name, diff)
		}
	}
}

// What was asked of connections is part of the outcome: a question about a port,
// or with other limits, takes nothing out of a baseline.
func TestBaselineOfAnotherQuestion(t *testing.T) {
	entry := inspect.BaselineEntry{Fingerprint: "print", Count: 1, Severity: inspect.Warning, Rule: "FD301", Program: "web"}
	changed := inspect.DefaultLimits()
	changed.Pile = 3
	changed.Silence = time.Minute
	for name, tt := range map[string]struct {
		e      inspect.Examination
		limits []string
		want   int
	}{
		"everything":   {inspect.Examination{Limits: inspect.DefaultLimits()}, nil, 1},
		"all":          {inspect.Examination{Limits: inspect.DefaultLimits(), All: true}, nil, 1},
		"a port":       {inspect.Examination{Limits: inspect.DefaultLimits(), Targets: []fdscan.Target{{Text: "443"}}}, nil, 0},
		"a process":    {inspect.Examination{Limits: inspect.DefaultLimits(), PIDs: []int{99}}, nil, 0},
		"other limits": {inspect.Examination{Limits: changed}, []string{"--silence 1m0s", "--pile 3"}, 0},
	} {
		tt.e.Rules = rules.All()
		c := inspect.JudgeConnections(&fdscan.Snapshot{TablesComplete: true, HoldersComplete: true}, tt.e)
		if diff := cmp.Diff(tt.limits, c.Asked.Limits); diff != "" {
			t.Errorf("%s: limits (-want +got):\n%s", name, diff)
		}
		b := &inspect.Baseline{Entries: []inspect.BaselineEntry{entry}}
		if stale := b.Apply(&c.Outcome); len(stale) != tt.want {
			t.Errorf("%s: %d stale", name, len(stale))
		}
		// scan takes the limits over.
		o := &inspect.Outcome{View: &inspect.View{Snapshot: &fdscan.Snapshot{Processes: map[int]*fdscan.Process{}}}, Complete: true}
		o.Join(c)
		if diff := cmp.Diff(tt.limits, o.Asked.Limits); diff != "" {
			t.Errorf("%s: limits of scan (-want +got):\n%s", name, diff)
		}
	}
}

// What only a closer look finds is no less there when nobody looks as closely.
func TestBaselineOfACloserLook(t *testing.T) {
	closer := func() *inspect.Outcome {
		o := gateScene()
		o.Asked.Deep = true
		return o
	}
	plain := gateScene
	without := func(o *inspect.Outcome) *inspect.Outcome {
		o.Findings = nil
		return o
	}
	entries := len(known(plain()).Entries)
	for name, tt := range map[string]struct {
		known []*inspect.Outcome
		now   *inspect.Outcome
		stale int
	}{
		"plain, then gone":               {[]*inspect.Outcome{plain()}, without(plain()), entries},
		"closer, then gone at a glance":  {[]*inspect.Outcome{closer()}, without(plain()), 0},
		"closer, then gone":              {[]*inspect.Outcome{closer()}, without(closer()), entries},
		"closer and plain, then gone":    {[]*inspect.Outcome{closer(), plain()}, without(plain()), entries},
		"plain and closer, then gone":    {[]*inspect.Outcome{plain(), closer()}, without(plain()), entries},
		"closer, overlooked, then there": {[]*inspect.Outcome{closer(), without(plain())}, closer(), 0},
	} {
		b := &inspect.Baseline{}
		for _, o := range tt.known {
			b.Update(o)
		}
		stale := b.Apply(tt.now)
		if len(stale) != tt.stale || len(tt.now.Findings) > 0 {
			t.Errorf("%s: %d stale, %d findings are new", name, len(stale), len(tt.now.Findings))
		}
	}
}

// One of several equal findings that is gone lowers the count.
func TestBaselinePruneLowersCounts(t *testing.T) {
	o := gateScene()
	o.Findings = append(o.Findings, o.Findings[6], o.Findings[6])
	b := known(o)
	stale := b.Apply(gateScene())
	if len(stale) != 1 || stale[0].Count != 2 {
		t.Fatalf("stale %+v", stale)
	}
	b.Prune(stale)
	if diff := cmp.Diff(known(gateScene()), b); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The file does not change where only pids have.
func TestBaselineKeepsMessages(t *testing.T) {
	b := known(gateScene())
	o := gateScene()
	for i := range o.Findings {
		o.Findings[i].Message = "other numbers"
	}
	b.Update(o)
	if diff := cmp.Diff(known(gateScene()), b); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}
