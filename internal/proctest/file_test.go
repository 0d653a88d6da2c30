package proctest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

func TestMake(t *testing.T) {
	want := map[string]string{
		"bpf-link": "anon_inode:bpf_link", "bpf-map": "anon_inode:bpf-map", "bpf-prog": "anon_inode:bpf-prog", "bpf-stats": "anon_inode:bpf-stats",
		"btf": "anon_inode:btf", "eventfd": "anon_inode:[eventfd]", "fanotify": "anon_inode:[fanotify]", "fscontext": "anon_inode:[fscontext]",
		"inotify": "anon_inode:inotify", "kvm": "anon_inode:kvm-vm", "landlock-ruleset": "anon_inode:[landlock-ruleset]",
		"memfd": "/memfd:proctest (deleted)", "memfd_secret": "/secretmem (deleted)", "mount": "/", "mqueue": "/proctest-", "netlink": "socket:[",
		"packet": "socket:[", "perf_event": "anon_inode:[perf_event]", "pidfd": "pid", "seccomp-notify": "anon_inode:seccomp notify",
		"signalfd": "anon_inode:[signalfd]", "timerfd": "anon_inode:[timerfd]", "tun": "/dev/net/tun", "userfaultfd": "anon_inode:[userfaultfd]",
		"vsock": "socket:[", "xdp": "socket:[",
	}
	for kind := range makers {
		t.Run(kind, func(t *testing.T) {
			testenv.NeedWorking(t, kind, TryMake(kind))
			p := Start(t, fmt.Sprintf("make %s name=open; make %s name=closed cloexec=1 fd=30; exec { }", kind, kind))
			if link := links(process(p.PID))[p.Descriptor("open").FD]; want[kind] == "" || !strings.Contains(link, want[kind]) {
				t.Errorf("it is %s", link)
			}
			if p.CloseOnExec(t, "open") || !p.CloseOnExec(t, "closed") {
				t.Error("close-on-exec is not what was said")
			}
			if got := links(process(p.Children[0].PID)); len(got) != 4 {
				t.Errorf("the child holds %v", got)
			}
		})
	}
}

func TestPTY(t *testing.T) {
	p := Start(t, "pty name=p")
	if master, slave := links(process(p.PID))[p.Descriptor("p").FD], links(process(p.PID))[p.Descriptor("p2").FD]; !strings.HasSuffix(master, "/ptmx") || !strings.HasPrefix(slave, "/dev/pts/") {
		t.Errorf("ends %s and %s", master, slave)
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

// What a kind takes of the thread that makes it stays with no thread of the caller.
func TestTryMakeLeavesThreadsWhereTheyWere(t *testing.T) {
	testenv.NeedTUN(t)
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	// Where others want to run, a goroutine goes on with another thread after a
	// system call, unless it is locked to its own.
	var others sync.WaitGroup
	var over atomic.Bool
	for range 2 * runtime.GOMAXPROCS(0) {
		others.Go(func() {
			for !over.Load() {
				runtime.Gosched()
			}
		})
	}
	defer others.Wait()
	defer over.Store(true)
	for range 20 {
		if err := TryMake("tun"); err != nil {
			t.Fatal(err)
		}
		// The calling goroutine may be on any thread by now.
		if now, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || now != home {
			t.Fatalf("network namespace %s, %v; was %s", now, err, home)
		}
	}
}
