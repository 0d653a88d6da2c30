package fdscan_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stray/fdscan"
	"stray/internal/proctest"
)

// What no test can make is in fdinfo as the kernel's documentation and source
// show it.
const fakeMachine = `
-- 7/stat --
7 (painter) S 1 7 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
-- 7/status --
Name:	painter
Uid:	1000	1000	1000	1000
Gid:	1000	1000	1000	1000
NSpid:	7
-- thread-self/ns/pid@ --
pid:[4026531836]
-- 7/comm --
painter
-- 7/cmdline --
painter
-- 7/cgroup --
0::/
-- 7/limits --
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 524288               files
-- 7/task/7/comm --
painter
-- 7/mountinfo --
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 27 0:45 / /mnt/with\040space rw,relatime - nfs4 server:/export rw
-- locks --
1: FLOCK  ADVISORY  WRITE 7 fe:00:99 0 EOF
1: -> FLOCK  ADVISORY  WRITE 8 fe:00:99 0 EOF
-- 7/fd/3@ --
/dev/dri/renderD128
-- 7/fdinfo/3 --
pos:	0
flags:	02100002
mnt_id:	24
ino:	401
drm-driver:	amdgpu
drm-client-id:	33
drm-pdev:	0000:65:00.0
pasid:	32771
drm-memory-vram:	33788 KiB
-- 7/fd/4@ --
/dmabuf:frame
-- 7/fdinfo/4 --
pos:	0
flags:	02000002
mnt_id:	11
ino:	53
size:	8294400
count:	3
exp_name:	amdgpu
name:	frame
flags:	00
lock:	1: FLOCK  ADVISORY  WRITE 1 fe:00:1 0 EOF
-- 7/fd/5@ --
anon_inode:sync_file
-- 7/fdinfo/5 --
pos:	0
flags:	02000002
mnt_id:	17
ino:	1038
-- 7/fd/6 --
-- 7/fdinfo/6 --
pos:	0
flags:	02
-- 7/fd/8@ --
/mnt/with space/file (deleted)
-- 7/fdinfo/8 --
pos:	512
flags:	0102001
mnt_id:	31
ino:	99
lock:	1: FLOCK  ADVISORY  WRITE 7 fe:00:99 0 EOF
-- 7/fd/9@ --
/dev/fuse
-- 7/fdinfo/9 --
pos:	0
flags:	02100002
mnt_id:	24
ino:	90
fuse_connection:	68
-- 7/fd/10@ --
anon_inode:[eventpoll]
-- 7/fdinfo/10 --
pos:	0
flags:	02000002
mnt_id:	17
ino:	1038
tfd:        4 events:       19 data:               16  pos:0 ino:35 sdev:9
tfd:       11 events: 80000001 data:               16  pos:0 ino:36 sdev:9
-- 7/fd/11@ --
pipe:[55]
-- 7/fdinfo/11 --
pos:	0
flags:	04000
-- 7/fd/12@ --
pidfd:[7]
-- 7/fdinfo/12 --
pos:	0
flags:	02000002
Pid:	7
NSpid:	7	3
`

func TestKindsOfAFakeMachine(t *testing.T) {
	root := proctest.FakeProc(t, []byte(fakeMachine))
	snap, err := (&fdscan.Scanner{Root: root, Detached: true}).List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]string{}
	for _, d := range snap.Descriptors {
		got[d.FD] = strings.Join([]string{d.Kind.Name, d.Target, d.Err}, " | ")
	}
	want := map[int]string{
		3:  "drm | amdgpu, client 33, at 0000:65:00.0 | ",
		4:  "dma-buf | 8294400 B, of amdgpu, frame | ",
		5:  "sync_file |  | ",
		6:  "unreadable |  | invalid argument",
		8:  "regular | on nfs4 server:/export | ",
		9:  "fuse | connection 68 | ",
		10: "eventpoll | watches inode 53, once fd 4, which is another file now (/dmabuf:frame) for in; inode 54, once fd 11, which is another file now (pipe:[55]) for in edge | ",
		11: "pipe | no process has the other end | ",
		12: "pidfd | pid 7 (painter), there 3 | ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("descriptors (-want +got):\n%s", diff)
	}
	buffer := listed(t, snap, 7, 4)
	if len(buffer.Locks) != 0 || buffer.CloseOnExec == nil || !*buffer.CloseOnExec {
		t.Errorf("a name that a program chose is taken for the kernel's words: %+v", buffer)
	}
	file := listed(t, snap, 7, 8)
	locks := []fdscan.Lock{{Type: "FLOCK", Access: "WRITE", PID: 7, Start: 0, End: -1}}
	if diff := cmp.Diff(locks, file.Locks); diff != "" || !file.Deleted || file.Link != "/mnt/with space/file" || *file.Pos != 512 || *file.CloseOnExec {
		t.Errorf("file %+v; locks (-want +got):\n%s", file, diff)
	}
	if table := snap.Tables[0]; len(snap.Tables) != 1 || table.Open != 9 || table.Limit != 1024 || table.Kinds["dma-buf"] != 1 {
		t.Errorf("tables %+v", snap.Tables[0])
	}
}

// Each link text leads to one kind, and a kind of its own to itself.
func TestKindsAreToldApart(t *testing.T) {
	names, links := map[string]bool{}, map[string]string{}
	for _, k := range fdscan.Kinds() {
		if names[k.Name] || k.Title == "" {
			t.Errorf("kind %q: there are two, or it has no title", k.Name)
		}
		names[k.Name] = true
		for _, l := range k.Links {
			if links[l] != "" {
				t.Errorf("link %q leads to %s and to %s", l, links[l], k.Name)
			}
			links[l] = k.Name
		}
		if fdscan.FindKind(k.Name) != k || !k.Is(k) {
			t.Errorf("kind %s is not found", k.Name)
		}
	}
	if !fdscan.UnixSocket.Is(fdscan.AnySocket) || !fdscan.PTY.Is(fdscan.Character) || fdscan.Directory.Is(fdscan.Regular) || fdscan.PTY.Is(fdscan.Regular) || fdscan.Pipe.Is(fdscan.FIFO) {
		t.Error("a kind is taken for another")
	}
}

func TestListNobody(t *testing.T) {
	snap := list(t, 1<<22) // above the highest pid
	if len(snap.Descriptors) != 0 || len(snap.Tables) != 0 || len(snap.Gaps) != 0 {
		t.Errorf("a process that does not exist: %+v", snap)
	}
	if self := list(t, os.Getpid(), os.Getpid()); len(self.Tables) != 1 || self.Tables[0].Open != len(self.Descriptors) || self.Tables[0].Limit == 0 {
		t.Errorf("tables %+v", self.Tables)
	}
}
