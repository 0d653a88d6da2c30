package fdscan_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

func survey(t testing.TB) *fdscan.Snapshot {
	t.Helper()
	snap, err := (&fdscan.Scanner{}).Survey(t.Context(), fdscan.SurveyQuestion{})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func tablesOf(snap *fdscan.Snapshot, pid int) (tables []*fdscan.Table) {
	for _, t := range snap.Tables {
		if t.Process.PID == pid {
			tables = append(tables, t)
		}
	}
	return tables
}

func TestSurveyCountsTables(t *testing.T) {
	role := proctest.Start(t, `
		pipe ; make eventfd ; make eventfd ; open /proc/version
		listen tcp4 127.0.0.1:0 name=web ; pair
		fork share=1 { serve sleep }
		fork { serve sleep }`)
	var limit unix.Rlimit
	if err := unix.Prlimit(role.PID, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	snap := survey(t)
	sharer := role.Children[0].PID
	for _, pid := range []int{role.PID, sharer, role.Children[1].PID} {
		tables := tablesOf(snap, pid)
		if len(tables) != 1 {
			t.Fatalf("pid %d has %d tables", pid, len(tables))
		}
		table := tables[0]
		if want := len(role.Descriptors) + 3; table.Open != want || table.Limit != limit.Cur || table.TID != 0 {
			t.Errorf("pid %d: %d of %d open, tid %d; want %d of %d", pid, table.Open, table.Limit, table.TID, want, limit.Cur)
		}
		// What has a path is not asked whether it is a regular file.
		if table.Kinds["regular"] != 0 || table.Kinds["file"] == 0 {
			t.Errorf("pid %d: kinds %v", pid, table.Kinds)
		}
		if table.Kinds["pipe"] < 2 || table.Kinds["eventfd"] != 2 || table.Kinds["socket"] != 3 {
			t.Errorf("pid %d: kinds %v", pid, table.Kinds)
		}
	}
	if diff := cmp.Diff([]int{sharer}, tablesOf(snap, role.PID)[0].SharedWith); diff != "" {
		t.Errorf("shared with (-want +got):\n%s", diff)
	}
	if shared := tablesOf(snap, role.Children[1].PID)[0].SharedWith; len(shared) != 0 {
		t.Errorf("a copy is shared with %v", shared)
	}
	for _, table := range snap.Tables {
		if isKernelThread(table.Process.PID) {
			t.Errorf("pid %d is a kernel thread", table.Process.PID)
		}
	}
}

// A list tells more kinds apart than a survey does: by what a survey calls them
// both count the same.
func TestSurveyAndListCountAlike(t *testing.T) {
	role := proctest.Start(t, `
		pipe ; make eventfd ; open /proc/version ; open /dev/null ; open /proc ; open /proc/self/ns/net ; open /dev/ptmx write=1
		listen tcp4 127.0.0.1:0 ; pair ; make memfd
		serve sleep`)
	listed := map[string]int{}
	for name, n := range tablesOf(list(t, role.PID), role.PID)[0].Kinds {
		listed[fdscan.UnaskedName(name)] += n
	}
	if diff := cmp.Diff(tablesOf(survey(t), role.PID)[0].Kinds, listed); diff != "" {
		t.Errorf("(-survey +list):\n%s", diff)
	}
	for _, name := range []string{"file", "socket", "what a later version may know"} {
		if again := fdscan.UnaskedName(name); again != name {
			t.Errorf("%s has become %s", name, again)
		}
	}
}

func TestSurveyReadsTheTablesOfThreads(t *testing.T) {
	role := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web ; pipe ; thread own=1 { close pipe ; serve accept web } ; serve pause`)
	tables := tablesOf(survey(t), role.PID)
	if len(tables) != 2 || tables[0].TID != 0 || tables[1].TID == 0 || tables[1].Open != tables[0].Open-1 {
		t.Errorf("tables %+v", tables)
	}
}

// Survey tells of a port what Lookup tells of it, whichever way the tables are read.
func TestSurveyFindsWhatLookupFinds(t *testing.T) {
	testenv.NeedNetNS(t)
	role := proctest.Start(t,
		"listen tcp4 127.0.0.1:0 name=web", "bind tcp4 127.0.0.1:0 name=bound", "bind udp4 127.0.0.1:0 name=dns",
		"listen tcp6 [::1]:0 name=six", "fork { serve accept web }", "dup web", "thread own=1 { serve accept six }",
		"exec newnet=1 { listen tcp4 127.0.0.1:0 name=foreign ; serve accept foreign }")
	for _, s := range []*fdscan.Scanner{{NoBPF: true}, {Walker: fdscan.BPFWalker{ProcWalker: fdscan.ProcWalker{Root: "/proc"}, Always: true}}} {
		snap, err := s.Survey(t.Context(), fdscan.SurveyQuestion{})
		if err != nil {
			t.Fatal(err)
		}
		compareWithLookup(t, role, snap, s)
	}
}

func compareWithLookup(t *testing.T, role *proctest.Process, snap *fdscan.Snapshot, scanner *fdscan.Scanner) {
	t.Helper()
	for _, name := range []string{"web", "bound", "dns", "six", "foreign"} {
		s := role.Socket(name)
		wanted := socket(t, look(t, scanner, fdscan.Question{}, inode(s.Inode)), s.Inode)
		got := socket(t, snap, s.Inode)
		if diff := cmp.Diff(holders(wanted.Holders), holders(got.Holders)); diff != "" {
			t.Errorf("%s (-lookup +survey):\n%s", name, diff)
		}
		if got.State != wanted.State || got.Local != wanted.Local || got.NetNS != wanted.NetNS || got.Cookie != wanted.Cookie || got.Protocol != wanted.Protocol {
			t.Errorf("%s: %+v, and Lookup says %+v", name, got, wanted)
		}
		for i, h := range got.Holders {
			if h.Process.Evidence == nil || h.CloseOnExec == nil || *h.CloseOnExec != *wanted.Holders[i].CloseOnExec {
				t.Errorf("%s: holder %s has evidence %v, FD_CLOEXEC %v", name, holder(h), h.Process.Evidence, h.CloseOnExec)
			}
		}
	}
}

// Of connections it keeps those that tell something.
func TestSurveySelectsConnections(t *testing.T) {
	web := proctest.Start(t, `listen tcp4 127.0.0.1:0`).Socket("").Local.String()
	role := proctest.Start(t, "connect tcp4 "+web+" name=mine ; connect tcp4 "+web+" name=shared ; fork { close mine ; serve sleep } ; serve pause")
	other := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=own cloexec=1 ; connect tcp4 own name=one ; connect tcp4 own name=two ; accept own name=first ; accept own name=second
		serve pause`)
	snap := survey(t)
	has := func(inode uint64) bool {
		return slices.ContainsFunc(snap.Sockets, func(s *fdscan.Socket) bool { return s.Inode == inode })
	}
	if !has(role.Descriptor("shared").Inode) || has(role.Descriptor("mine").Inode) {
		t.Error("connections are not those that several processes hold")
	}
	accepted := 0
	for _, name := range []string{"first", "second"} {
		if has(other.Descriptor(name).Inode) {
			accepted++
		}
	}
	if accepted != 1 || has(other.Descriptor("one").Inode) {
		t.Errorf("%d of the connections that a server has accepted, want 1", accepted)
	}
}

// A survey of an old kernel's machine finds what its tables do not list.
func TestSurveyFindsBoundSocketsBeforeLinux68(t *testing.T) {
	role := proctest.Start(t, `bind tcp4 127.0.0.1:0 name=bound ; fork { serve sleep }`)
	snap, err := (&fdscan.Scanner{Kernel: "6.1.0"}).Survey(t.Context(), fdscan.SurveyQuestion{})
	if err != nil {
		t.Fatal(err)
	}
	s := role.Socket("bound")
	wantHolders(t, holdersOf(t, snap, s.Inode), table(role, s.Inode)...)
}

func TestSurveyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&fdscan.Scanner{}).Survey(ctx, fdscan.SurveyQuestion{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// What a survey has read is not read again, and what is younger is found all the
// same.
func TestAfterASurvey(t *testing.T) {
	old := proctest.Start(t, `listen tcp4 127.0.0.1:0 ; fork { serve sleep }`)
	w := newWatcher()
	snap, err := (&fdscan.Scanner{Walker: w}).Survey(t.Context(), fdscan.SurveyQuestion{})
	if err != nil {
		t.Fatal(err)
	}
	young := proctest.Start(t, `listen tcp4 127.0.0.1:0 ; fork { serve sleep }`)
	walks := w.walks
	for _, tt := range []struct {
		role  *proctest.Process
		walks int
	}{{old, 0}, {young, 1}} {
		s := tt.role.Socket("")
		after := look(t, &fdscan.Scanner{Walker: snap.Read}, fdscan.Question{}, port(s))
		wantHolders(t, holdersOf(t, after, s.Inode), table(tt.role, s.Inode)...)
		if w.walks-walks != tt.walks {
			t.Errorf("%d walks, want %d", w.walks-walks, tt.walks)
		}
	}
}
