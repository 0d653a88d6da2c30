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
		testenv.NeedWorking(t, "CONFIG_INET_DIAG_DESTROY", results[0].Err)
	}
	if results[0].Err != nil || !Verified(results[0], after) {
		t.Errorf("error %v, after %+v", results[0].Err, after.Sockets)
	}
	if err := connect(t, p.Socket("")); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connect: %v, want refused", err)
	}
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
