package fdscan_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
	"stray/internal/wiretest"
)

// peers writes the other ends as "pid 7 fd 3".
func peers(d *fdscan.Descriptor) []string {
	all := []string{}
	for _, p := range d.Peers {
		text := fmt.Sprintf("pid %d fd %d", p.Process.PID, p.FD)
		if p.TID != 0 {
			text = fmt.Sprintf("pid %d tid %d fd %d", p.Process.PID, p.TID, p.FD)
		}
		all = append(all, text)
	}
	return all
}

// ends checks that each of the descriptors of both ends names just the others as
// its peers.
func ends(t *testing.T, snap *fdscan.Snapshot, one, other []string) {
	t.Helper()
	found := 0
	for _, d := range snap.Descriptors {
		switch who := fmt.Sprintf("pid %d fd %d", d.Process.PID, d.FD); {
		case d.TID != 0:
		case slices.Contains(one, who):
			found++
			if diff := cmp.Diff(other, peers(d)); diff != "" {
				t.Errorf("peers of %s (-want +got):\n%s", who, diff)
			}
		case slices.Contains(other, who):
			found++
			if diff := cmp.Diff(one, peers(d)); diff != "" {
				t.Errorf("peers of %s (-want +got):\n%s", who, diff)
			}
		}
	}
	if found != len(one)+len(other) {
		t.Errorf("%d of %v and %v are listed", found, one, other)
	}
}

func entry(p *proctest.Process, name string) string {
	return fmt.Sprintf("pid %d fd %d", p.PID, p.Descriptor(name).FD)
}

func TestPeers(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ script, one, other string }{
		"pipe":  {"pipe name=end; fork { close end; serve sleep }; close end2", "end", "end2"},
		"unix":  {"pair name=end; fork { close end; serve sleep }; close end2", "end", "end2"},
		"pty":   {"pty name=end; fork { close end; serve sleep }; close end2", "end", "end2"},
		"loop":  {"listen tcp4 " + here + " name=web; connect tcp4 web name=end; accept web name=end2; fork { close end; serve sleep }; close end2", "end", "end2"},
		"udp":   {"bind udp4 " + here + " name=web; connect udp4 web name=end; fork { close end; serve sleep }; close web", "", ""},
		"fifo":  {"open " + fifo + " flags=nonblock name=end; open " + fifo + " write=1 name=end2; fork { close end; serve sleep }; close end2", "end", "end2"},
		"named": {"listen unix @stray-peers name=web; connect unix web name=end; accept web name=end2; fork { close end; serve sleep }; close end2", "end", "end2"},
	} {
		t.Run(name, func(t *testing.T) {
			role := proctest.Start(t, test.script)
			child := role.Children[0]
			snap := list(t, role.PID, child.PID)
			if test.one == "" {
				// A datagram socket that is not connected has no other end.
				if d := listed(t, snap, role.PID, role.Descriptor("end").FD); len(d.Peers) != 0 {
					t.Errorf("peers %v", peers(d))
				}
				return
			}
			ends(t, snap, []string{entry(role, test.one)}, []string{entry(child, test.other)})
		})
	}
}

// Of a unix socket whose other end is closed that is said; of one that waits to be
// accepted, whose other end is nobody's yet, it is not.
func TestClosedUnixPeer(t *testing.T) {
	role := proctest.Start(t, "pair name=end; close end2; listen unix @stray-closed name=web; connect unix web name=waits; serve sleep")
	snap := list(t, role.PID)
	for name, want := range map[string]string{"end": "unix stream ESTABLISHED, the other end is closed", "waits": "unix stream ESTABLISHED"} {
		if d := listed(t, snap, role.PID, role.Descriptor(name).FD); d.Target != want {
			t.Errorf("%s: %q, want %q", name, d.Target, want)
		}
	}
}

// A connection between two network namespaces has two ends on this machine.
func TestPeersInAnotherNamespace(t *testing.T) {
	w := wiretest.New(t)
	server, client := w.Far.Talk(t, "server"), w.Near.Talk(t, "client")
	listener, address := server.Listen(w.Far.Address, 4)
	clientFD, _ := client.Dial(address)
	serverFD := server.Accept(listener)
	ends(t, list(t, client.PID, server.PID),
		[]string{fmt.Sprintf("pid %d fd %d", client.PID, clientFD)}, []string{fmt.Sprintf("pid %d fd %d", server.PID, serverFD)})
}

// Whoever inherits an end has it too, and a thread with a table of its own.
func TestPeersOfAnInheritedEnd(t *testing.T) {
	role := proctest.Start(t, "pipe name=end; fork times=2 { close end; serve sleep }; close end2")
	ends(t, list(t, role.PID, role.Children[0].PID, role.Children[1].PID),
		[]string{entry(role, "end")}, []string{entry(role.Children[0], "end2"), entry(role.Children[1], "end2")})

	role = proctest.Start(t, "pipe name=end; thread own=1 { close end; serve sleep }; close end2")
	snap := list(t, role.PID)
	var thread *fdscan.Descriptor
	for _, d := range snap.Descriptors {
		if d.TID != 0 && d.Kind == fdscan.Pipe {
			thread = d
		}
	}
	if thread == nil || thread.TID == role.PID || len(snap.Tables) != 2 || snap.Tables[1].TID != thread.TID {
		t.Fatalf("the own table of the thread: %+v, tables %+v", thread, snap.Tables)
	}
	if diff := cmp.Diff([]string{entry(role, "end")}, peers(thread)); diff != "" {
		t.Errorf("peers of the thread (-want +got):\n%s", diff)
	}
	want := []string{fmt.Sprintf("pid %d tid %d fd %d", role.PID, thread.TID, thread.FD)}
	if diff := cmp.Diff(want, peers(listed(t, snap, role.PID, role.Descriptor("end").FD))); diff != "" {
		t.Errorf("peers of the process (-want +got):\n%s", diff)
	}
}

// Of thousands at the other end the first are named, and the rest is counted.
func TestPeersOfACrowd(t *testing.T) {
	const more = 2000
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	if err == nil && limit.Cur < 3*more {
		err = fmt.Errorf("the limit is %d", limit.Cur)
	}
	testenv.NeedWorking(t, fmt.Sprintf("%d descriptors", 3*more), err)
	var reader, writer, both []int
	defer func() {
		for _, fd := range slices.Concat(reader, writer, both) {
			unix.Close(fd)
		}
	}()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	reader, writer = append(reader, ends[0]), append(writer, ends[1])
	fd, err := unix.Open(fifo, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	both = append(both, fd)
	for _, of := range []*[]int{&reader, &writer, &both} {
		for len(*of) < more {
			fd, err := unix.FcntlInt(uintptr((*of)[0]), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			*of = append(*of, fd)
		}
	}
	snap := list(t, os.Getpid())
	named := map[*fdscan.Peer]bool{}
	for _, d := range snap.Descriptors {
		want := 0
		switch {
		case slices.Contains(reader, d.FD), slices.Contains(writer, d.FD):
			want = more
		case slices.Contains(both, d.FD):
			want = more - 1
		default:
			continue
		}
		if len(d.Peers) != fdscan.MaxPeers || d.MorePeers != want-fdscan.MaxPeers || slices.Contains(d.Peers, fdscan.Peer{Process: d.Process, FD: d.FD}) {
			t.Fatalf("%s: %d peers and %d more", descriptorText(d), len(d.Peers), d.MorePeers)
		}
		named[&d.Peers[0]] = true
	}
	if len(named) > 3+fdscan.MaxPeers+1 {
		t.Errorf("%d lists of peers are kept", len(named))
	}
}

func TestPipeWithoutAnOtherEnd(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, "pipe name=end; close end2")
	snap := list(t, role.PID)
	d := listed(t, snap, role.PID, role.Descriptor("end").FD)
	want := "no process has the other end"
	if namespace, _ := os.Readlink("/proc/self/ns/pid"); namespace != "pid:[4026531836]" || len(snap.Gaps) > 0 { // somebody may have it, who may not be looked into
		want = "nobody who could be seen has the other end"
	}
	if d.Target != want || len(d.Peers) != 0 {
		t.Errorf("target %q, peers %v; gaps %+v", d.Target, peers(d), snap.Gaps)
	}
}

// Processes outside of a pid namespace are not seen in it: one of them may have
// the other end, as the reader of standard output has here.
func TestPipeThatLeadsOutOfAPIDNamespace(t *testing.T) {
	testenv.NeedPIDNS(t)
	snap := elsewhere{NewPID: true, List: true}.ask(t)
	d := listed(t, snap, 1, 1)
	if d.Kind.Name != "pipe" || d.Target != "nobody who could be seen has the other end" || len(d.Peers) != 0 {
		t.Errorf("%s: %q, peers %v; gaps %+v", d.Kind.Name, d.Target, peers(d), snap.Gaps)
	}
}
