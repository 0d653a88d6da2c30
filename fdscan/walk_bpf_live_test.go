package fdscan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	if diff := cmp.Diff(described(t, b.ProcWalker.Tables, pids), described(t, func(_ context.Context, found func(Filled), gap func(Gap)) error { return b.lookAtAll(found, gap) }, pids)); diff != "" {
		t.Errorf("(-walk +BPF):\n%s", diff)
	}
}
