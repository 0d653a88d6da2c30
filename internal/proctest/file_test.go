package proctest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMake(t *testing.T) {
	want := map[string]string{
		"eventfd": "anon_inode:[eventfd]", "timerfd": "anon_inode:[timerfd]", "signalfd": "anon_inode:[signalfd]",
		"inotify": "anon_inode:inotify", "memfd": "/memfd:proctest (deleted)", "pidfd": "pid",
	}
	for kind := range makers {
		p := Start(t, fmt.Sprintf("make %s name=open; make %s name=closed cloexec=1 fd=30; exec { }", kind, kind))
		if link := links(process(p.PID))[p.Descriptor("open").FD]; want[kind] == "" || !strings.Contains(link, want[kind]) {
			t.Errorf("%s is %s", kind, link)
		}
		if p.CloseOnExec(t, "open") || !p.CloseOnExec(t, "closed") {
			t.Errorf("%s: close-on-exec is not what was said", kind)
		}
		if got := links(process(p.Children[0].PID)); len(got) != 4 {
			t.Errorf("%s: the child holds %v", kind, got)
		}
	}
}

func TestPipe(t *testing.T) {
	p := Start(t, "pipe name=p; pipe name=q cloexec=1; fork { close p }")
	if r, w := p.Descriptor("p"), p.Descriptor("p2"); r.Inode != w.Inode || links(process(p.PID))[w.FD] != fmt.Sprintf("pipe:[%d]", r.Inode) {
		t.Errorf("ends %+v and %+v", r, w)
	}
	if p.CloseOnExec(t, "p2") || !p.CloseOnExec(t, "q2") {
		t.Error("close-on-exec is not what was said")
	}
	if got := len(p.Children[0].Descriptors); got != 3 {
		t.Errorf("the child has %d descriptors", got)
	}
}

func TestPair(t *testing.T) {
	p := Start(t, "pair name=p")
	if a, b := p.Descriptor("p"), p.Descriptor("p2"); a.Inode == b.Inode || !strings.HasPrefix(links(process(p.PID))[b.FD], "socket:") {
		t.Errorf("ends %+v and %+v", a, b)
	}
}

// A deleted file is held by a descriptor, or by nothing but a mapping; a lock
// stays with whoever holds the description.
func TestFiles(t *testing.T) {
	directory := t.TempDir()
	p := Start(t, fmt.Sprintf(`
		open %[1]s/held create=1 write=1 name=held
		unlink %[1]s/held
		open %[1]s/mapped create=1 write=1 name=mapped
		send mapped 5000
		map mapped
		close mapped
		open %[1]s/locked create=1 write=1 name=locked cloexec=1
		lock locked
		fork { }`, directory))
	child := p.Children[0]
	if link := links(process(child.PID))[p.Descriptor("held").FD]; link != directory+"/held (deleted)" {
		t.Errorf("held: %s", link)
	}
	if maps := read(t, process(p.PID)+"/maps"); !strings.Contains(maps, directory+"/mapped\n") {
		t.Error("mapped is not in maps")
	}
	if got := holders(t, directory+"/mapped"); len(got) != 0 {
		t.Errorf("mapped has holders %v", got)
	}
	if got := fdinfo(t, child.PID, p.Descriptor("locked").FD, "lock"); len(got) != 1 || !strings.Contains(got[0], "FLOCK") {
		t.Errorf("locks of the child: %q", got)
	}
	file, err := os.Open(directory + "/locked")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("flock: %v", err)
	}
	if p.CloseOnExec(t, "held") || !p.CloseOnExec(t, "locked") {
		t.Error("close-on-exec is not what was said")
	}
}
