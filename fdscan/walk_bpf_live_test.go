package fdscan

import (
	cmpbase "cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"stray/internal/proctest"
	"stray/internal/testenv"
)

// kernelMemory is a BPFWalker that does not walk.
func kernelMemory(t testing.TB) BPFWalker {
	t.Helper()
	b := BPFWalker{ProcWalker: ProcWalker{Root: "/proc"}, Always: true}
	testenv.NeedWorking(t, "BPF iterators", b.Usable())
	return b
}

// tables is Tables, without the walk.
func (b BPFWalker) tables(_ context.Context, found func(Filled), gap func(Gap)) error {
	tables, gaps, err := b.lookAtAll()
	for _, t := range tables {
		found(t)
	}
	for _, g := range gaps {
		gap(g)
	}
	return err
}

// described is what a walker tells of tables, a line for each descriptor. The
// tables of this process have what a walker needs itself.
func described(t testing.TB, tables func(context.Context, func(Filled), func(Gap)) error, pids []int) (lines []string) {
	t.Helper()
	err := tables(t.Context(), func(f Filled) {
		if !slices.Contains(pids, f.PID) {
			return
		}
		lines = append(lines, fmt.Sprintf("pid %d tid %d: %d", f.PID, f.TID, len(f.Entries)))
		for _, e := range f.Entries {
			id := ""
			if e.has(entrySocket) || e.Kind() == Pipe {
				id = fmt.Sprint(e.ID)
			}
			lines = append(lines, fmt.Sprintf("pid %d tid %d fd %d: %s %s flags %d", f.PID, f.TID, e.FD, e.Kind().Name, id, e.flags))
		}
	}, func(g Gap) {
		if slices.Contains(pids, g.PID) {
			t.Errorf("gap %+v", g)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// pidsOf are the processes of roles.
func pidsOf(roles ...*proctest.Process) (pids []int) {
	for _, r := range roles {
		for _, p := range r.All() {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// The kernel's memory tells what /proc tells.
func TestBPFTablesAreThoseOfTheWalk(t *testing.T) {
	b := kernelMemory(t)
	var kinds []string
	for _, kind := range []string{
		"eventfd", "timerfd", "signalfd", "inotify", "memfd", "pidfd", "bpf-link", "bpf-map", "bpf-prog", "bpf-stats", "btf", "fanotify", "fscontext", "kvm",
		"landlock-ruleset", "memfd_secret", "mount", "mqueue", "perf_event", "seccomp-notify", "tun", "userfaultfd", "netlink", "packet", "vsock", "xdp",
	} {
		if proctest.TryMake(kind) == nil {
			kinds = append(kinds, "make "+kind)
		}
	}
	directory := t.TempDir()
	for _, name := range []string{"plain", "gone"} {
		if err := os.WriteFile(filepath.Join(directory, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(directory, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	roles := []*proctest.Process{
		proctest.Start(t, strings.Join(kinds, " ; "), "open /proc/version ; open /dev/null ; open /dev/ptmx ; open "+directory+" ; open "+directory+"/plain ; open "+directory+"/gone",
			"open /proc/self/ns/net ; open /dev/pts ; open "+directory+"/fifo flags=path ; open "+directory+" flags=tmpfile write=1 ; uring",
			"listen tcp4 127.0.0.1:0 ; pipe ; pair ; dup pipe", "fork { serve sleep }", "fork share=1 { serve sleep }"),
		proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web ; pipe ; thread own=1 { close pipe ; serve accept web } ; serve pause`),
		proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web ; pipe ; thread { serve accept web } ; thread own=1 { close pipe ; serve pause } ; thread own=1 { serve pause } ; serve pause`),
		proctest.Start(t, `exec newpid=1 newnet=1 { listen tcp4 127.0.0.1:0 ; fork { serve sleep } ; serve pause }`),
	}
	if err := os.Remove(filepath.Join(directory, "gone")); err != nil {
		t.Fatal(err)
	}
	pids := pidsOf(roles...)
	if diff := cmp.Diff(described(t, b.ProcWalker.Tables, pids), described(t, b.tables, pids)); diff != "" {
		t.Errorf("(-walk +BPF):\n%s", diff)
	}
	refs := func(w Want, walk func(Want, func(Ref)) error) (refs []Ref) {
		if err := walk(w, func(r Ref) {
			if slices.Contains(pids, r.PID) {
				refs = append(refs, r)
			}
		}); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(refs, func(a, b Ref) int { return cmpbase.Or(a.PID-b.PID, a.TID-b.TID, a.FD-b.FD) })
		return refs
	}
	pipe := roles[1].Descriptor("pipe").Inode
	some := map[uint64]bool{roles[1].Socket("web").Inode: true, roles[2].Socket("web").Inode: true, roles[3].All()[0].Socket("").Inode: true}
	for name, w := range map[string]Want{
		"some": {Sockets: some, Pipes: map[uint64]bool{pipe: true}, Rings: true}, "every socket": {AllSockets: true}, "rings": {Rings: true}, "nothing": {},
	} {
		walked := refs(w, func(w Want, found func(Ref)) error { return b.ProcWalker.Walk(t.Context(), w, found, func(Gap) {}) })
		read := refs(w, func(w Want, found func(Ref)) error {
			refs, err := b.look(w)
			for _, r := range refs {
				found(r)
			}
			return err
		})
		if diff := cmp.Diff(walked, read); diff != "" || len(walked) == 0 && name != "nothing" {
			t.Errorf("%s, %d in all (-walk +BPF):\n%s", name, len(walked), diff)
		}
	}
}

// What stays open is in every look at a process whose other descriptors change all
// the time, and whose table grows.
func TestBPFTablesOfABusyProcess(t *testing.T) {
	b := kernelMemory(t)
	stays := map[int32]uint64{}
	for range 20 {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[1])
		defer unix.Close(fds[0])
		var st unix.Stat_t
		if err := unix.Fstat(fds[0], &st); err != nil {
			t.Fatal(err)
		}
		stays[int32(fds[0])], stays[int32(fds[1])] = st.Ino, st.Ino
	}
	// One number leads to one of two pipes, and is never closed.
	replaced := int(slices.Max(slices.Collect(maps.Keys(stays)))) + 1
	var either []int
	for fd := range stays {
		either = append(either, int(fd))
	}
	if err := unix.Dup3(either[0], replaced, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(replaced)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := unix.Dup3(either[i%len(either)], replaced, unix.O_CLOEXEC); err != nil {
				<-stop
				stopped <- err
				return
			}
			if high, err := unix.FcntlInt(uintptr(either[0]), unix.F_DUPFD_CLOEXEC, 64<<(i%5)); err == nil {
				unix.Close(high)
			}
		}
	}()
	for range 50 {
		tables, _, err := b.lookAtAll()
		if err != nil {
			t.Error(err)
			break
		}
		own := slices.IndexFunc(tables, func(f Filled) bool { return f.PID == os.Getpid() && f.TID == 0 })
		if own < 0 {
			t.Error("this process has no table")
			break
		}
		found := map[int32]uint64{}
		for _, e := range tables[own].Entries {
			found[e.FD] = e.ID
		}
		for fd, inode := range stays {
			if found[fd] != inode {
				t.Errorf("fd %d is %d, want %d", fd, found[fd], inode)
			}
		}
		if found[int32(replaced)] == 0 {
			t.Errorf("fd %d is missing, which was never closed", replaced)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A survey tells the same of a world whichever way the tables are read.
func TestBPFSurveyIsThatOfTheWalk(t *testing.T) {
	b := kernelMemory(t)
	file := filepath.Join(t.TempDir(), "gone")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	roles := []*proctest.Process{
		proctest.Start(t, "open "+file+" ; listen tcp4 127.0.0.1:0 name=web ; make eventfd ; pipe", "fork { serve accept web }", "fork share=1 { serve sleep }", "exec sleep 60", "serve pause"),
		proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web ; pipe ; thread own=1 { close pipe ; serve accept web } ; serve pause`),
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	pids := pidsOf(roles...)
	told := func(s *Scanner) (lines []string) {
		snap, err := s.Survey(t.Context(), SurveyQuestion{})
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range snap.Tables {
			if slices.Contains(pids, table.Process.PID) {
				lines = append(lines, fmt.Sprintf("table pid %d tid %d: %d of %d, %v, shared with %v", table.Process.PID, table.TID, table.Open, table.Limit, table.Kinds, table.SharedWith))
			}
		}
		for _, d := range snap.Descriptors {
			if slices.Contains(pids, d.Process.PID) {
				lines = append(lines, fmt.Sprintf("descriptor pid %d tid %d fd %d: %s %q, cloexec %v, from %v", d.Process.PID, d.TID, d.FD, d.Kind.Name, d.Link, *d.CloseOnExec, d.From != nil))
			}
		}
		for _, s := range snap.Sockets {
			for _, h := range s.Holders {
				if slices.Contains(pids, h.Process.PID) {
					lines = append(lines, fmt.Sprintf("socket %d %s: pid %d tid %d fd %d via %s, cloexec %v", s.Inode, s.State, h.Process.PID, h.TID, h.FD, h.Via, *h.CloseOnExec))
				}
			}
		}
		return lines
	}
	walked, read := told(&Scanner{NoBPF: true}), told(&Scanner{Walker: b})
	if diff := cmp.Diff(walked, read); diff != "" || len(walked) < 10 {
		t.Errorf("%d lines (-walk +BPF):\n%s", len(walked), diff)
	}
}

// Where the kernel refuses, the walk answers.
func TestBPFWalkerWalksWhereItIsRefused(t *testing.T) {
	role := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web`)
	inode := role.Socket("web").Inode
	b := BPFWalker{ProcWalker: ProcWalker{Root: "/proc"}, Always: true}
	testenv.WithoutBPF(t, func() {
		if err := b.Usable(); err == nil || !strings.Contains(err.Error(), "CAP_BPF") {
			t.Errorf("usable: %v", err)
		}
		var refs []Ref
		if err := b.Walk(t.Context(), Want{Sockets: map[uint64]bool{inode: true}}, func(r Ref) { refs = append(refs, r) }, func(Gap) {}); err != nil {
			t.Error(err)
		}
		if len(refs) != 1 || refs[0].PID != role.PID {
			t.Errorf("found %+v", refs)
		}
		if lines := described(t, b.Tables, []int{role.PID}); len(lines) < 4 {
			t.Errorf("tables %q", lines)
		}
	})
}

// A mount of proc(5) that numbers processes otherwise is walked.
func TestBPFIsForOurPIDNamespace(t *testing.T) {
	root := proctest.FakeProc(t, []byte("-- self/status --\nName:\tx\nNSpid:\t12\t"+strconv.Itoa(os.Getpid())+"\nNSpgid:\t1\n"))
	if err := (BPFWalker{ProcWalker: ProcWalker{Root: root}}).Usable(); err == nil || !strings.Contains(err.Error(), "namespace") {
		testenv.NeedWorking(t, "CAP_BPF", (BPFWalker{ProcWalker: ProcWalker{Root: "/proc"}}).permitted())
		t.Errorf("usable: %v", err)
	}
}
