package act

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
	"stray/internal/tracee"
)

// A number that means another socket by now is left alone: the plan speaks of
// one socket, and the descriptor is another's.
func TestSwappedDescriptorIsRefused(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=a; listen tcp4 127.0.0.1:0 name=b`)
	snap := look(t, word(p, "a"))
	plan := NewPlan(Park, snap.Sockets, in(p.PID))
	// As if the program had put b where a was, between plan and act.
	plan.Steps[0].Holders[0].FD = p.Descriptor("b").FD
	results := plan.Do(context.Background(), &fdscan.Scanner{}, named(p.PID))
	if results[0].Done || results[0].Err == nil || !strings.Contains(results[0].Err.Error(), "nothing was done") {
		t.Errorf("done %v, error %v, want a refusal", results[0].Done, results[0].Err)
	}
	if got := holdersOf(look(t, word(p, "b"))); !slices.Equal(got, []int{p.PID}) {
		t.Errorf("b has holders %v", got)
	}
}

// The same, where the first descriptor is right and a second is not: the look
// with the target stopped has to find it.
func TestSwapIsFoundWithTheTargetStopped(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=a; dup a name=second; listen tcp4 127.0.0.1:0 name=b`)
	snap := look(t, word(p, "a"))
	plan := NewPlan(Park, snap.Sockets, in(p.PID))
	plan.Steps[0].Holders[1].FD = p.Descriptor("b").FD
	results := plan.Do(context.Background(), &fdscan.Scanner{}, named(p.PID))
	for _, r := range results {
		if r.Done || r.Err == nil || !strings.Contains(r.Err.Error(), "nothing was done") {
			t.Errorf("fd %d: done %v, error %v, want a refusal", r.Holder.FD, r.Done, r.Err)
		}
	}
	for _, name := range []string{"a", "b"} {
		if got := holdersOf(look(t, word(p, name))); !slices.Equal(got, []int{p.PID}) {
			t.Errorf("%s has holders %v", name, got)
		}
	}
}

func TestAnotherProcessWithThePIDIsRefused(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0`)
	snap := look(t, word(p, ""))
	plan := NewPlan(Park, snap.Sockets, in(p.PID))
	plan.Steps[0].Process().StartTicks++
	r := plan.Do(context.Background(), &fdscan.Scanner{}, named(p.PID))[0]
	var refusal *tracee.Refusal
	if r.Done || !errors.As(r.Err, &refusal) || refusal.Reason != tracee.Replaced {
		t.Errorf("done %v, error %v, want a refusal: replaced", r.Done, r.Err)
	}
}

func TestSharedTableNeedsAllItsProcesses(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0; fork share=1 { serve sleep }`)
	child := p.Children[0]
	r := do(t, Park, word(p, ""), p.PID)[0]
	var refusal *tracee.Refusal
	if r.Done || !errors.As(r.Err, &refusal) || refusal.Reason != tracee.SharedTable || !slices.Contains(refusal.Others, child.PID) {
		t.Fatalf("done %v, error %v, want a refusal that names pid %d", r.Done, r.Err, child.PID)
	}
	if results := mustDo(t, Park, word(p, ""), p.PID, child.PID); len(results) != 1 {
		t.Errorf("%d descriptors, want 1: there is one table", len(results))
	}
}

// Half and Destroy act on the socket, and so take all its processes to be named.
func TestSharedSocketNeedsAllItsProcesses(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web; connect tcp4 web name=a; accept web name=c; fork { serve sleep }`)
	child := p.Children[0]
	for _, method := range []Method{Half, Destroy} {
		snap := look(t, fmt.Sprintf("inode:%d", p.Descriptor("c").Inode))
		plan := NewPlan(method, snap.Sockets, in(p.PID))
		plan.Preflight(named(p.PID))
		r := plan.Do(context.Background(), &fdscan.Scanner{}, named(p.PID))[0]
		var refusal *tracee.Refusal
		if r.Done || !errors.As(r.Err, &refusal) || refusal.Reason != SharedSocket || !slices.Equal(refusal.Others, []int{child.PID}) {
			t.Errorf("%s: done %v, error %v, want a refusal that names pid %d", method, r.Done, r.Err, child.PID)
		}
		plan.Preflight(named(p.PID, child.PID))
		if refusals := plan.Steps[0].Refusals; len(refusals) != 0 {
			t.Errorf("%s: with both named: %v", method, refusals[0])
		}
	}
}
