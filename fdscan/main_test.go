package fdscan_test

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
	"stray/internal/wiretest"
)

func TestMain(m *testing.M) {
	proctest.Main()
	wiretest.Main()
	askedElsewhere()
	testenv.Main(m)
}

// ask looks targets up on this machine.
func ask(t testing.TB, targets ...string) *fdscan.Snapshot {
	t.Helper()
	return look(t, &fdscan.Scanner{}, fdscan.Question{}, targets...)
}

// askDeep is ask with --deep.
func askDeep(t testing.TB, targets ...string) *fdscan.Snapshot {
	t.Helper()
	return look(t, &fdscan.Scanner{}, fdscan.Question{Deep: true}, targets...)
}

// look answers q about the targets, and checks what holds for every answer.
func look(t testing.TB, s *fdscan.Scanner, q fdscan.Question, targets ...string) *fdscan.Snapshot {
	t.Helper()
	for _, text := range targets {
		target, err := fdscan.ParseTarget(text)
		if err != nil {
			t.Fatal(err)
		}
		q.Targets = append(q.Targets, target)
	}
	snap, err := s.Lookup(t.Context(), q)
	if err != nil {
		t.Fatalf("look up %q: %v", targets, err)
	}
	for _, g := range snap.Gaps {
		if isKernelThread(g.PID) {
			t.Errorf("a kernel thread, which holds nothing, is a gap: %+v", g)
		}
	}
	for _, s := range snap.Sockets {
		for _, h := range s.Holders {
			if snap.Processes[h.Process.PID] != h.Process {
				t.Errorf("holder %s is not the process of the snapshot", holder(h))
			}
			if h.Process.Evidence == nil {
				t.Errorf("holder %s has no evidence", holder(h))
			}
		}
	}
	return snap
}

// isKernelThread looks for PF_KTHREAD in field 9 of /proc/PID/stat.
func isKernelThread(pid int) bool {
	fields := statFields(pid)
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64) // the first is field 3
	return err == nil && flags&0x00200000 != 0
}

// port is the target for a socket's port.
func port(s proctest.Socket) string { return itoa(s.Port()) }

func itoa(n int) string { return strconv.Itoa(n) }

// inode is the target for a socket's inode.
func inode(n uint64) string { return fmt.Sprintf("inode:%d", n) }

// socket returns the socket with an inode, of which there has to be one.
func socket(t testing.TB, snap *fdscan.Snapshot, inode uint64) *fdscan.Socket {
	t.Helper()
	var found []*fdscan.Socket
	for _, s := range snap.Sockets {
		if s.Inode == inode {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d sockets with inode %d, want 1; there are %s", len(found), inode, sockets(snap))
	}
	return found[0]
}

// here is an address that nobody else's sockets have, so that all sockets found
// there are the test's.
const here = "127.77.12.3:0"

// found returns the sockets at the address of here.
func found(snap *fdscan.Snapshot) (at []*fdscan.Socket) {
	for _, s := range snap.Sockets {
		if s.Local.Addr == netip.MustParseAddrPort(here).Addr() {
			at = append(at, s)
		}
	}
	return at
}

// sockets describes all sockets of a snapshot.
func sockets(snap *fdscan.Snapshot) []string {
	var all []string
	for _, s := range snap.Sockets {
		all = append(all, fmt.Sprintf("%s %s %v→%v inode %d", s.Protocol, s.State, s.Local, s.Remote, s.Inode))
	}
	return all
}

// holder writes a holder as "pid 7 fd 3", and how when that is not by the
// process's table.
func holder(h *fdscan.Holder) string {
	text := fmt.Sprintf("pid %d fd %d", h.Process.PID, h.FD)
	if h.TID != 0 {
		text = fmt.Sprintf("pid %d tid %d fd %d", h.Process.PID, h.TID, h.FD)
	}
	if h.Via != fdscan.ViaTable {
		text += " " + string(h.Via)
	}
	if h.Slot >= 0 {
		text += fmt.Sprintf(" slot %d", h.Slot)
	}
	return text
}

func holders(of []*fdscan.Holder) []string {
	all := []string{}
	for _, h := range of {
		all = append(all, holder(h))
	}
	return all
}

// table writes the descriptors that the processes of a role have for an inode
// as holders does.
func table(role *proctest.Process, inode uint64) []string {
	all := []string{}
	processes := role.All()
	slices.SortFunc(processes, func(a, b *proctest.Process) int { return a.PID - b.PID })
	for _, p := range processes {
		for _, d := range p.Descriptors {
			if d.Inode != inode {
				continue
			}
			if d.TID != 0 {
				all = append(all, fmt.Sprintf("pid %d tid %d fd %d thread", p.PID, d.TID, d.FD))
			} else {
				all = append(all, fmt.Sprintf("pid %d fd %d", p.PID, d.FD))
			}
		}
	}
	return all
}

// wantHolders checks that exactly these holders were found.
func wantHolders(t testing.TB, of []*fdscan.Holder, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, holders(of)); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
}

// wantWhole checks that everything was seen that has to do with this test. Other
// tests run beside it, and have messages in flight that cannot be looked into;
// and the first process of a container may be out of sight even for root.
func wantWhole(t testing.TB, snap *fdscan.Snapshot) {
	t.Helper()
	if !snap.TablesComplete {
		t.Errorf("a table is incomplete; gaps %+v", snap.Gaps)
	}
	for _, g := range snap.Gaps {
		if g.Scope >= fdscan.ScopeHolders && descends(g.PID) {
			t.Errorf("gap %+v", g)
		}
	}
}

// descends reports whether a process is this one, or a descendant.
func descends(pid int) bool {
	for pid > 1 && pid != os.Getpid() {
		fields := statFields(pid)
		if len(fields) < 2 {
			return false
		}
		pid, _ = strconv.Atoi(fields[1])
	}
	return pid == os.Getpid()
}

// holdersOf returns whom the snapshot names for one inode.
func holdersOf(t testing.TB, snap *fdscan.Snapshot, inode uint64) []*fdscan.Holder {
	t.Helper()
	return socket(t, snap, inode).Holders
}
