package inspect_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

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
