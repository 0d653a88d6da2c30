package fdscan_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

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
