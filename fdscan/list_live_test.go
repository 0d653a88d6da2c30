package fdscan_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
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
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 3*more {
		t.Skipf("too few descriptors: %d, %v", limit.Cur, err)
	}
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

// A lock through an inherited descriptor names its taker; a POSIX lock belongs to
// the process, through whichever descriptor it was taken.
func TestLocks(t *testing.T) {
	directory := t.TempDir()
	role := proctest.Start(t, fmt.Sprintf(`
		open %[1]s/a create=1 write=1 name=flock;  lock flock
		open %[1]s/b create=1 write=1 name=posix;  lock posix by=posix
		open %[1]s/b name=again
		open %[1]s/c create=1 write=1 name=ofd;    lock ofd by=ofd
		fork { serve sleep }`, directory))
	child := role.Children[0]
	snap := list(t, role.PID, child.PID)
	all := func(p *proctest.Process, name string) []fdscan.Lock {
		return listed(t, snap, p.PID, p.Descriptor(name).FD).Locks
	}
	for _, test := range []struct {
		of   []fdscan.Lock
		want []fdscan.Lock
	}{
		{all(role, "flock"), []fdscan.Lock{{Type: "FLOCK", Access: "WRITE", PID: role.PID, End: -1}}},
		{all(child, "flock"), []fdscan.Lock{{Type: "FLOCK", Access: "WRITE", PID: role.PID, End: -1}}},
		{all(role, "posix"), []fdscan.Lock{{Type: "POSIX", Access: "WRITE", PID: role.PID, Start: 10, End: 14}}},
		{all(role, "again"), []fdscan.Lock{{Type: "POSIX", Access: "WRITE", PID: role.PID, Start: 10, End: 14}}},
		{all(child, "posix"), nil},
		{all(role, "ofd"), []fdscan.Lock{{Type: "OFDLCK", Access: "WRITE", Start: 10, End: 14}}},
		{all(child, "ofd"), []fdscan.Lock{{Type: "OFDLCK", Access: "WRITE", Start: 10, End: 14}}},
	} {
		if diff := cmp.Diff(test.want, test.of); diff != "" {
			t.Errorf("locks (-want +got):\n%s", diff)
		}
	}
}

func TestOpenFileDescriptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	role := proctest.Start(t, fmt.Sprintf(`
		open %[1]s create=1 write=1 name=one; dup one name=copy; open %[1]s write=1 name=two
		make eventfd name=event; make eventfd name=other
		fork { serve sleep }`, path))
	child := role.Children[0]
	snap := list(t, role.PID, child.PID)
	number := func(p *proctest.Process, name string) uint64 {
		return listed(t, snap, p.PID, p.Descriptor(name).FD).Description
	}
	for _, name := range []string{"one", "two", "event", "other"} {
		if a, b := number(role, name), number(child, name); a == 0 || a != b {
			t.Errorf("%s: parent and child refer to %d and %d", name, a, b)
		}
	}
	if number(role, "one") != number(role, "copy") || number(role, "one") == number(role, "two") || number(role, "event") == number(role, "other") {
		t.Errorf("one %d, its copy %d, two %d, events %d and %d", number(role, "one"), number(role, "copy"), number(role, "two"), number(role, "event"), number(role, "other"))
	}
}

func TestRegularFile(t *testing.T) {
	directory, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(directory, "a file\nof two lines")
	role := proctest.Start(t, fmt.Sprintf("open %q create=1 write=1 flags=append name=it; send it 5000; unlink %q; open %q flags=path,directory name=place", path, path, directory))
	snap := list(t, role.PID)
	d := listed(t, snap, role.PID, role.Descriptor("it").FD)
	if d.Kind != fdscan.Regular || d.Link != path || !d.Deleted || d.Pos == nil || *d.Pos != 5000 || d.Size == nil || *d.Size != 5000 || d.Allocated == nil || *d.Allocated < 4096 {
		t.Errorf("file %+v", d)
	}
	if diff := cmp.Diff([]string{"O_RDWR", "O_APPEND"}, d.FlagNames()); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
	place := listed(t, snap, role.PID, role.Descriptor("place").FD)
	if place.Kind != fdscan.Directory || place.Deleted || !slices.Contains(place.FlagNames(), "O_PATH") {
		t.Errorf("place %+v, flags %v", place, place.FlagNames())
	}
}

// What an epoll instance watches is the file, whatever its number means now.
func TestEpollWatchesWhatWasClosed(t *testing.T) {
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web fd=20
		dup web name=copy
		pipe name=p
		epoll web p name=it
		close web`)
	d := listed(t, list(t, role.PID), role.PID, role.Descriptor("it").FD)
	for _, want := range []string{
		fmt.Sprintf("inode %d, once fd 20, which is closed for in", role.Descriptor("copy").Inode),
		fmt.Sprintf("fd %d (pipe:[%d]) for in", role.Descriptor("p").FD, role.Descriptor("p").Inode),
	} {
		if !strings.Contains(d.Target, want) {
			t.Errorf("target %q, want %q in it", d.Target, want)
		}
	}
}

func TestPIDFDOfWhatHasEnded(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if d := listed(t, list(t, os.Getpid()), os.Getpid(), fd); d.Kind != fdscan.PIDFD || d.Target != "a process that has ended" {
		t.Errorf("%s: %q", d.Kind.Name, d.Target)
	}
}

// The socket of a process may belong to another network namespace than the
// process, or be in no table at all.
func TestListedSockets(t *testing.T) {
	testenv.NeedNetNS(t)
	role := proctest.Start(t, `
		netns { listen tcp4 127.0.0.1:8080 name=far }
		listen tcp4 127.0.0.1:0 name=web
		backlog web 2
		bind udp4 127.0.0.1:0 name=datagram`)
	snap := list(t, role.PID)
	target := func(name string) string { return listed(t, snap, role.PID, role.Descriptor(name).FD).Target }
	web, datagram := role.Socket("web"), role.Socket("datagram")
	for name, want := range map[string]string{
		"web":      fmt.Sprintf("tcp %s LISTEN, backlog 2 of ", web.Local),
		"datagram": fmt.Sprintf("udp %s BOUND", datagram.Local),
		"far":      fmt.Sprintf("tcp 127.0.0.1:8080 LISTEN, backlog 0 of 128, in network namespace net:[%d]", role.Socket("far").NetNS),
	} {
		if got := target(name); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if got := listed(t, list(t, os.Getpid()), os.Getpid(), fd); got.Kind != fdscan.InetSocket || got.Target != "tcp, not bound" || got.Socket == nil {
		t.Errorf("%s: %q", got.Kind.Name, got.Target)
	}
}

// A connection that was refused leaves numbers behind, and nothing to send.
func TestBoundSocketAfterARefusedConnect(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	// Nobody else has this address, and the port is none that the kernel chooses.
	address := netip.MustParseAddr("127.77.12.4").As4()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: address, Port: 24567}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: address, Port: 24568}); err != unix.ECONNREFUSED {
			t.Fatalf("connect: %v", err)
		}
	}
	d := listed(t, list(t, os.Getpid()), os.Getpid(), fd)
	if d.Socket == nil || d.Socket.SendQueue != nil && *d.Socket.SendQueue != 0 || d.Target != "tcp 127.77.12.4:24567 BOUND" {
		t.Errorf("%q, %+v", d.Target, d.Socket)
	}
}

// A namespace that is opened through the file that it is mounted on looks like a
// regular file.
func TestMountedNamespace(t *testing.T) {
	testenv.NeedRoot(t)
	path := filepath.Join(t.TempDir(), "namespace")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("/proc/self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(path, unix.MNT_DETACH)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	d := listed(t, list(t, os.Getpid()), os.Getpid(), fd)
	if d.Kind != fdscan.Namespace || !strings.HasSuffix(d.Target, "], net namespace, that of this command, that of the process") {
		t.Errorf("%s: %q, link %q", d.Kind.Name, d.Target, d.Link)
	}
}

// When the leader of a process has exited, another thread shows the table.
func TestTableWithoutALeader(t *testing.T) {
	role := proctest.Start(t, "pipe name=end; thread { serve sleep }; leader-exit")
	snap := list(t, role.PID)
	want := role.Descriptor("end")
	found := slices.ContainsFunc(snap.Descriptors, func(d *fdscan.Descriptor) bool {
		return d.FD == want.FD && d.TID == want.TID && d.TID != 0 && d.Kind == fdscan.Pipe && len(d.Peers) == 1
	})
	if !found || len(snap.Tables) != 1 || snap.Tables[0].Open != len(snap.Descriptors) {
		t.Errorf("%d descriptors, tables %+v, gaps %+v", len(snap.Descriptors), snap.Tables, snap.Gaps)
	}
}

// Processes that use one table are named, whether they are listed or not.
func TestOneTableOfSeveral(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, "pipe; fork share=1 { serve sleep }; fork { serve sleep }")
	sharer, other := role.Children[0], role.Children[1]
	for _, pids := range [][]int{{role.PID}, {role.PID, sharer.PID, other.PID}} {
		for _, table := range list(t, pids...).Tables {
			want := map[int][]int{role.PID: {sharer.PID}, sharer.PID: {role.PID}}[table.Process.PID]
			if diff := cmp.Diff(want, table.SharedWith); diff != "" {
				t.Errorf("table of pid %d is that of (-want +got):\n%s", table.Process.PID, diff)
			}
		}
	}
}

// What waits in a message is told.
func TestFilesInMessages(t *testing.T) {
	role := proctest.Start(t, "make eventfd name=event; dup event name=copy; scm event copy name=queue")
	d := listed(t, list(t, role.PID), role.PID, role.Descriptor("queue").FD)
	if !strings.Contains(d.Target, "2 files in messages that were not received") {
		t.Errorf("target %q", d.Target)
	}
}

// What is told of a number is told of one file, even where another takes its
// place all the time.
func TestNumbersThatAreReused(t *testing.T) {
	const number = 400
	replace := func(fd int, err error) error {
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Dup3(fd, number, unix.O_CLOEXEC)
	}
	stop, done := make(chan bool), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- unix.Close(number)
				return
			default:
			}
			var ends [2]int
			err := unix.Pipe2(ends[:], unix.O_CLOEXEC)
			if err == nil {
				unix.Close(ends[1])
			}
			if err = replace(ends[0], err); err == nil {
				err = replace(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	defer func() {
		close(stop)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for range 100 {
		snap := list(t, os.Getpid())
		for _, d := range snap.Descriptors {
			if d.FD != number {
				continue
			}
			if d.Flags == nil {
				if !slices.ContainsFunc(snap.Gaps, func(g fdscan.Gap) bool { return g.Op == "read fdinfo" && g.PID == os.Getpid() }) {
					t.Fatalf("nothing says why this is all: %+v; gaps %+v", d, snap.Gaps)
				}
				continue
			}
			mode := *d.Flags & unix.O_ACCMODE
			if d.Kind == fdscan.Pipe && mode != unix.O_RDONLY || d.Kind != fdscan.Pipe && mode != unix.O_RDWR || !strings.Contains(d.Link, fmt.Sprintf(":[%d]", d.Inode)) {
				t.Fatalf("of several files: %+v, flags %v", d, d.FlagNames())
			}
		}
	}
}

// A file server that never answers keeps nobody waiting.
func TestListDoesNotWaitForAFileServer(t *testing.T) {
	testenv.NeedRoot(t)
	server, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	testenv.NeedWorking(t, "/dev/fuse", err)
	directory := t.TempDir()
	err = unix.Mount("stray", directory, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server))
	if err != nil {
		unix.Close(server)
		testenv.NeedWorking(t, "FUSE", err)
	}
	fd, err := unix.Open(directory, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err := unix.Unmount(directory, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(server)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	d := listed(t, list(t, os.Getpid()), os.Getpid(), fd)
	if d.Inode == 0 || d.CloseOnExec == nil || !*d.CloseOnExec {
		t.Errorf("directory %+v", d)
	}
}

// A file of a dead server that looks like a message queue is asked once, and not
// waited for.
func TestListDoesNotWaitForWhatLooksLikeAMessageQueue(t *testing.T) {
	testenv.NeedRoot(t)
	server, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	testenv.NeedWorking(t, "/dev/fuse", err)
	directory := t.TempDir()
	err = unix.Mount("stray", directory, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server))
	if err != nil {
		unix.Close(server)
		testenv.NeedWorking(t, "FUSE", err)
	}
	served := make(chan error, 1)
	go func() { served <- serveFile(server) }()
	var files [2]int
	for i := range files {
		if files[i], err = unix.Open(filepath.Join(directory, "file"), unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			break
		}
		defer unix.Close(files[i])
	}
	// The server has stopped: whoever asks now waits until it is closed.
	defer unix.Close(server)
	if gone := unix.Unmount(directory, unix.MNT_DETACH); gone != nil {
		t.Fatal(gone)
	}
	for _, err := range []error{err, <-served} {
		if err != nil {
			t.Fatal(err)
		}
	}
	asked := make(chan *fdscan.Snapshot, 1)
	go func() { asked <- list(t, os.Getpid()) }()
	select {
	case snap := <-asked:
		for _, fd := range files {
			if d := listed(t, snap, os.Getpid(), fd); d.Kind != fdscan.Regular || d.Size == nil || *d.Size != 80 || d.Link != "/file" {
				t.Errorf("descriptor %+v, kind %s", d, d.Kind.Name)
			}
		}
		if !slices.ContainsFunc(snap.Gaps, func(g fdscan.Gap) bool { return g.Op == "ask file systems" && g.Scope == fdscan.ScopeDetail }) {
			t.Errorf("gaps %+v", snap.Gaps)
		}
	case <-time.After(20 * time.Second):
		t.Error("a server is waited for")
	}
}

// serveFile is a FUSE server until it has told of one file of 80 bytes.
func serveFile(server int) error {
	const opLookup, opInit, headerIn, headerOut = 1, 26, 40, 16
	request := make([]byte, 1<<17)
	for {
		n, err := unix.Read(server, request)
		if err != nil || n < headerIn {
			return fmt.Errorf("read %d bytes of a request: %w", n, err)
		}
		answer, op := make([]byte, headerOut), binary.NativeEndian.Uint32(request[4:])
		copy(answer[8:], request[8:16]) // which request it answers
		switch op {
		case opInit:
			answer = binary.NativeEndian.AppendUint32(answer, 7)
			answer = binary.NativeEndian.AppendUint32(answer, 31)
			answer = append(answer, make([]byte, 56)...)
		case opLookup:
			const forEver = 1 << 30
			for _, n := range []uint64{2, 0, forEver, forEver, 0, 2, 80, 0, 0, 0, 0} { // node … ino, size, blocks
				answer = binary.NativeEndian.AppendUint64(answer, n)
			}
			for _, n := range []uint32{0, 0, 0, unix.S_IFREG | 0o600, 1, 0, 0, 0, 4096, 0} { // times, mode, links …
				answer = binary.NativeEndian.AppendUint32(answer, n)
			}
		default:
			binary.NativeEndian.PutUint32(answer[4:], ^uint32(unix.ENOSYS)+1) // -ENOSYS
		}
		binary.NativeEndian.PutUint32(answer, uint32(len(answer)))
		if _, err := unix.Write(server, answer); err != nil || op == opLookup {
			return err
		}
	}
}
