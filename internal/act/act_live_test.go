package act

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
	"stray/internal/tracee"
)

func TestMain(m *testing.M) {
	tracee.HelperMain()
	proctest.Main()
	testenv.Main(m)
}

// look finds the sockets of a port, or of an inode.
func look(t *testing.T, word string) *fdscan.Snapshot {
	t.Helper()
	target, err := fdscan.ParseTarget(word)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := (&fdscan.Scanner{}).Lookup(context.Background(), fdscan.Question{Targets: []fdscan.Target{target}})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// in chooses the holders in the processes with these pids.
func in(pids ...int) func(*fdscan.Socket, *fdscan.Holder) bool {
	return func(_ *fdscan.Socket, h *fdscan.Holder) bool { return h != nil && slices.Contains(pids, h.Process.PID) }
}

func named(pids ...int) map[int]bool {
	m := map[int]bool{}
	for _, pid := range pids {
		m[pid] = true
	}
	return m
}

// do plans and acts on what word names in pids.
func do(t *testing.T, method Method, word string, pids ...int) []Result {
	t.Helper()
	snap := look(t, word)
	plan := NewPlan(method, snap.Sockets, in(pids...))
	if len(plan.Steps) == 0 {
		t.Fatalf("nothing to do in %v: %+v", pids, snap.Sockets)
	}
	plan.HalfTimeout = 5 * time.Second
	plan.Preflight(named(pids...))
	return plan.Do(context.Background(), &fdscan.Scanner{}, named(pids...))
}

// mustDo is do for what has to succeed, and to show in a second look.
func mustDo(t *testing.T, method Method, word string, pids ...int) []Result {
	t.Helper()
	results := do(t, method, word, pids...)
	after := look(t, word)
	for _, r := range results {
		if r.Err != nil || !r.Done || !Verified(r, after) {
			t.Fatalf("done %v, error %v, verified %v", r.Done, r.Err, Verified(r, after))
		}
	}
	return results
}

// word names a socket that a role has made, and no other: the ports of this
// machine are not the test's alone.
func word(p *proctest.Process, name string) string {
	return fmt.Sprintf("inode:%d", p.Socket(name).Inode)
}

// link is what a descriptor of a process is.
func link(t *testing.T, pid, fd int) string {
	t.Helper()
	text, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return text
}

func holdersOf(s *fdscan.Snapshot) (pids []int) {
	for _, k := range s.Sockets {
		for _, h := range k.Holders {
			pids = append(pids, h.Process.PID)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

func connect(t *testing.T, s proctest.Socket) error {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrInet4{Port: s.Port(), Addr: [4]byte{127, 0, 0, 1}})
}

func TestParkTakesTheCopyAndLeavesTheServer(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0; fork { serve sleep }; serve accept`)
	child := p.Children[0]
	fd := child.Descriptor("").FD
	before := link(t, child.PID, fd)
	mustDo(t, Park, word(p, ""), child.PID)
	if after := link(t, child.PID, fd); after == before || !strings.HasPrefix(after, "socket:[") {
		t.Errorf("fd %d was %s and is %q, want another socket in its place", fd, before, after)
	}
	if got := holdersOf(look(t, word(p, ""))); !slices.Equal(got, []int{p.PID}) {
		t.Errorf("holders %v, want %d", got, p.PID)
	}
	if err := connect(t, p.Socket("")); err != nil {
		t.Errorf("the server does not serve any more: %v", err)
	}
}

func TestCloseFreesPortAndNumber(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0; fork { serve sleep }; exit`)
	child := p.Children[0]
	mustDo(t, Close, word(p, ""), child.PID)
	if after := link(t, child.PID, child.Descriptor("").FD); after != "" {
		t.Errorf("the number is still %s", after)
	}
	if err := connect(t, p.Socket("")); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connect: %v, want refused", err)
	}
}

// Every duplicate goes, and nothing else: not the other port, not the
// connection.
func TestEveryDuplicateGoesAndNothingElse(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=other
		listen tcp4 127.0.0.1:0 name=web
		dup web name=second
		dup web name=third`)
	results := mustDo(t, Park, word(p, "web"), p.PID)
	if len(results) != 3 {
		t.Errorf("%d descriptors, want 3", len(results))
	}
	if got := look(t, word(p, "web")); len(got.Sockets) != 0 {
		t.Errorf("still there: %+v", got.Sockets)
	}
	if got := holdersOf(look(t, word(p, "other"))); !slices.Equal(got, []int{p.PID}) {
		t.Errorf("the other port: holders %v", got)
	}
}

func TestProtocolsAndStates(t *testing.T) {
	testenv.NeedRoot(t)
	for _, script := range []string{
		"listen tcp6 [::1]:0", "bind tcp4 127.0.0.1:0", "bind udp4 127.0.0.1:0", "bind udp6 [::1]:0", "listen tcp6 [::]:0 v6only=0",
	} {
		t.Run(script, func(t *testing.T) {
			p := proctest.Start(t, script)
			mustDo(t, Park, word(p, ""), p.PID)
			if got := look(t, word(p, "")); len(got.Sockets) != 0 {
				t.Errorf("still there: %+v", got.Sockets[0])
			}
		})
	}
	t.Run("unix", func(t *testing.T) {
		p := proctest.Start(t, `listen unix @stray-act-test`)
		mustDo(t, Park, "unix:@stray-act-test", p.PID)
	})
}

func TestSealEveryHolder(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0 cloexec=0; fork { serve sleep }; serve accept`)
	mustDo(t, Seal, word(p, ""), p.PID, p.Children[0].PID)
	for _, s := range look(t, word(p, "")).Sockets {
		for _, h := range s.Holders {
			if h.CloseOnExec == nil || !*h.CloseOnExec {
				t.Errorf("pid %d lacks FD_CLOEXEC", h.Process.PID)
			}
		}
	}
	if err := connect(t, p.Socket("")); err != nil {
		t.Errorf("the server does not serve any more: %v", err)
	}
}

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

func TestThreadWithItsOwnTable(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web; thread own=1 { serve sleep }; close web`)
	results := mustDo(t, Park, word(p, "web"), p.PID)
	if results[0].Holder.TID == 0 {
		t.Error("the holder is not the thread")
	}
	if got := look(t, word(p, "web")); len(got.Sockets) != 0 {
		t.Errorf("still there: %+v", got.Sockets[0])
	}
}

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

func TestDestroyAbortsForAllHolders(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0; fork { serve sleep }; serve sleep`)
	snap := look(t, word(p, ""))
	plan := NewPlan(Destroy, snap.Sockets, func(*fdscan.Socket, *fdscan.Holder) bool { return true })
	results := plan.Do(context.Background(), &fdscan.Scanner{}, nil)
	if len(results) != 1 {
		t.Fatalf("%d results, want one for the socket", len(results))
	}
	after := look(t, word(p, ""))
	if errors.Is(results[0].Err, unix.EOPNOTSUPP) {
		t.Skip("this kernel lacks CONFIG_INET_DIAG_DESTROY")
	}
	if results[0].Err != nil || !Verified(results[0], after) {
		t.Errorf("error %v, after %+v", results[0].Err, after.Sockets)
	}
	if err := connect(t, p.Socket("")); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connect: %v, want refused", err)
	}
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

func TestInterruptedDestroyDoesNothing(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0; serve sleep`)
	plan := NewPlan(Destroy, look(t, word(p, "")).Sockets, in(p.PID))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r := plan.Do(ctx, &fdscan.Scanner{}, named(p.PID))[0]; r.Done || !errors.Is(r.Err, context.Canceled) {
		t.Errorf("done %v, error %v", r.Done, r.Err)
	}
	if err := connect(t, p.Socket("")); err != nil {
		t.Errorf("connect: %v", err)
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

// The plan says who keeps the socket when all is done: not those that another
// step takes it from, unless that is refused.
func TestPlanNamesWhoKeepsIt(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0; fork { serve sleep }; serve sleep`)
	child := p.Children[0]
	snap := look(t, word(p, ""))
	says := func(plan *Plan, pid int) bool {
		return strings.Contains(strings.Join(plan.Foresee(plan.Steps[0]), "\n"), fmt.Sprintf("kept by pid %d ", pid))
	}
	if !says(NewPlan(Park, snap.Sockets, in(p.PID)), child.PID) {
		t.Error("the child is not named")
	}
	both := NewPlan(Park, snap.Sockets, in(p.PID, child.PID))
	if says(both, child.PID) {
		t.Error("the child is named, which loses it too")
	}
	both.Steps[1].Refusals = []*tracee.Refusal{{Reason: tracee.Traced}}
	if !says(both, child.PID) {
		t.Error("the child is not named, which is refused")
	}
}

// The last reference to a connection with SO_LINGER is our copy: closing it must
// not wait for a peer that does not read.
func TestLingerHoldsNobodyUp(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web; connect tcp4 web name=out; accept web name=in; fill in`)
	text := fmt.Sprintf("inode:%d", p.Descriptor("in").Inode)
	fd, err := fdscan.Borrow(look(t, text).Sockets[0].Holders[0], p.Descriptor("in").Inode)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 600})
	unix.Close(fd)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	mustDo(t, Park, text, p.PID)
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("took %v", took)
	}
}

func TestAProcessThatHasEndedIsToldAsSuch(t *testing.T) {
	testenv.NeedRoot(t)
	p := proctest.Start(t, `listen tcp4 127.0.0.1:0`)
	plan := NewPlan(Park, look(t, word(p, "")).Sockets, in(p.PID))
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	plan.Steps[0].Process().PID = ended.Process.Pid
	r := plan.Do(context.Background(), &fdscan.Scanner{}, named(p.PID))[0]
	if r.Done || r.Err == nil || !strings.Contains(r.Err.Error(), "ended meanwhile: nothing was done") {
		t.Errorf("done %v, error %v", r.Done, r.Err)
	}
}
