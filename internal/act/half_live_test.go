package act

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

func TestHalfWaitsForThePeer(t *testing.T) {
	testenv.NeedRoot(t)
	t.Run("which closes", func(t *testing.T) {
		p := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web; connect tcp4 web name=out; accept web name=in; close out`)
		mustDo(t, Half, fmt.Sprintf("inode:%d", p.Descriptor("in").Inode), p.PID)
	})
	t.Run("which does not", func(t *testing.T) {
		p := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web; connect tcp4 web name=out; accept web name=in`)
		snap := look(t, fmt.Sprintf("inode:%d", p.Descriptor("in").Inode))
		plan := NewPlan(Half, snap.Sockets, in(p.PID))
		plan.HalfTimeout = time.Millisecond
		r := plan.Do(context.Background(), &fdscan.Scanner{}, named(p.PID))[0]
		if r.Done || !errors.Is(r.Err, ErrPeerTimeout) {
			t.Errorf("done %v, error %v, want the peer's timeout", r.Done, r.Err)
		}
		if link(t, p.PID, p.Descriptor("in").FD) != fmt.Sprintf("socket:[%d]", p.Descriptor("in").Inode) {
			t.Error("the descriptor was dropped all the same")
		}
	})
}

// Connections are shut down together and waited for together: one peer that does
// not close holds up no other, and all of them have the same time.
func TestHalfWaitsForAllPeersTogether(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		connect tcp4 web name=a; accept web name=slow
		connect tcp4 web name=b; accept web name=second; close b`)
	plan, inode := halfPlan(t, p, "slow", "second")
	plan.HalfTimeout = time.Millisecond
	results := plan.Do(context.Background(), &fdscan.Scanner{}, named(p.PID))
	if len(results) != 2 || results[0].Done || !errors.Is(results[0].Err, ErrPeerTimeout) || !results[1].Done {
		t.Errorf("results %+v", results)
	}
	if link(t, p.PID, p.Descriptor("slow").FD) != inode("slow") || link(t, p.PID, p.Descriptor("second").FD) == inode("second") {
		t.Error("the one descriptor was dropped, or the other was not")
	}
}

// Interrupted while it waits, --half drops no descriptor; interrupted before, it
// touches nothing.
func TestInterruptedHalf(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		connect tcp4 web name=a; accept web name=first
		connect tcp4 web name=b; accept web name=second`)
	state := func(name string) fdscan.State {
		return look(t, fmt.Sprintf("inode:%d", p.Descriptor(name).Inode)).Sockets[0].State
	}
	plan, inode := halfPlan(t, p, "first", "second")
	plan.HalfTimeout = time.Minute
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, r := range plan.Do(ctx, &fdscan.Scanner{}, named(p.PID)) {
		if r.Done || r.Err == nil || !strings.Contains(r.Err.Error(), "nothing was done") {
			t.Errorf("interrupted before: %+v", r)
		}
	}
	if state("first") != fdscan.Established || state("second") != fdscan.Established {
		t.Error("a connection was shut down all the same")
	}
	ctx, cancel = context.WithCancel(context.Background())
	go func() {
		for state("second") == fdscan.Established && ctx.Err() == nil {
		}
		cancel()
	}()
	for _, r := range plan.Do(ctx, &fdscan.Scanner{}, named(p.PID)) {
		if r.Done || !errors.Is(r.Err, context.Canceled) || !strings.Contains(r.Err.Error(), "is shut down for writing, and nothing more was done") {
			t.Errorf("interrupted: %+v", r)
		}
	}
	for _, name := range []string{"first", "second"} {
		if link(t, p.PID, p.Descriptor(name).FD) != inode(name) {
			t.Errorf("the descriptor of %s was dropped", name)
		}
	}
}

// halfPlan is a plan to end the connections with these names in order.
func halfPlan(t *testing.T, p *proctest.Process, names ...string) (plan *Plan, inode func(string) string) {
	t.Helper()
	var sockets []*fdscan.Socket
	for _, name := range names {
		sockets = append(sockets, look(t, fmt.Sprintf("inode:%d", p.Descriptor(name).Inode)).Sockets...)
	}
	return NewPlan(Half, sockets, in(p.PID)), func(name string) string { return fmt.Sprintf("socket:[%d]", p.Descriptor(name).Inode) }
}
