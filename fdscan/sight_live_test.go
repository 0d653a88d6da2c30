package fdscan_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

const nobody = 65534

func TestNobodySeesTheSocketAndItsUser(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=roots cloexec=1
		exec uid=1234 { bind tcp4 127.0.0.1:0 name=others ; serve pause }
		exec uid=65534 { listen tcp4 127.0.0.1:0 name=own ; listen unix @fdscan-sight name=path ; serve accept own }
		serve accept roots
	`)
	for name, uid := range map[string]uint32{"roots": 0, "others": 1234} {
		s := role.Socket(name)
		snap := elsewhere{UID: nobody, Targets: []string{port(s)}}.ask(t)
		f := socket(t, snap, s.Inode)
		if len(f.Holders) != 0 || f.UID == nil || *f.UID != uid || f.KernelOwned || f.CgroupID == 0 {
			t.Errorf("%s: %+v", name, f)
		}
		if !snap.TablesComplete || snap.HoldersComplete {
			t.Errorf("%s: tables complete %v, holders complete %v", name, snap.TablesComplete, snap.HoldersComplete)
		}
		named := slices.ContainsFunc(snap.Gaps, func(g fdscan.Gap) bool {
			return g.Scope == fdscan.ScopeHolders && g.PID == role.PID && g.Needs == "CAP_SYS_PTRACE"
		})
		if !named {
			t.Errorf("%s: no gap names pid %d: %+v", name, role.PID, snap.Gaps)
		}
	}
	own := role.Socket("own")
	server := role.Children[1]
	for target, s := range map[string]proctest.Socket{port(own): own, "unix:@fdscan-sight": role.Socket("path")} {
		snap := elsewhere{UID: nobody, Targets: []string{target}}.ask(t)
		f := socket(t, snap, s.Inode)
		wantHolders(t, f.Holders, table(server, s.Inode)...)
		if h := f.Holders[0]; h.CloseOnExec == nil || len(h.Process.Evidence.Waits) == 0 || h.Process.Exe == "" {
			t.Errorf("of one's own process: %+v %+v", h, h.Process)
		}
	}
}

func TestNobodyAndAFreePort(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, `listen tcp4 `+here+` name=web ; close web`)
	snap := elsewhere{UID: nobody, Targets: []string{port(role.Socket("web"))}}.ask(t)
	if len(found(snap)) != 0 || !snap.TablesComplete || !snap.HoldersComplete {
		t.Errorf("sockets %s, tables complete %v, holders complete %v", sockets(snap), snap.TablesComplete, snap.HoldersComplete)
	}
}

func TestNobodyReadsAnotherNamespaceAsText(t *testing.T) {
	testenv.NeedNetNS(t)
	testenv.NeedIPv6(t)
	role := proctest.Start(t, `
		exec newnet=1 {
			listen tcp4 127.0.0.1:0 name=v4
			listen tcp6 [::1]:0 name=v6
			bind udp4 127.0.0.1:0 name=udp
			bind udplite6 [::1]:0 name=udplite
			listen unix @fdscan-netns name=path
			backlog v4 2
			serve accept v6
		}
	`)
	for name, want := range map[string]fdscan.State{"v4": fdscan.Listen, "v6": fdscan.Listen, "udp": fdscan.Bound, "udplite": fdscan.Bound, "path": fdscan.Listen} {
		s := role.Socket(name)
		target := port(s)
		if s.Path != "" {
			target = "unix:" + s.Path
		}
		snap := elsewhere{UID: nobody, Targets: []string{target}}.ask(t)
		f := socket(t, snap, s.Inode)
		if f.State != want || f.NetNSMine || f.Local.Addr != s.Local.Addr() || f.Local.Path != s.Path {
			t.Errorf("%s: %+v", name, f)
		}
		if s.Path == "" && (f.UID == nil || *f.UID != 0) {
			t.Errorf("%s: uid %v", name, f.UID)
		}
		if !snap.TablesComplete {
			t.Errorf("%s: %+v", name, snap.Gaps)
		}
		told := slices.ContainsFunc(snap.Gaps, func(g fdscan.Gap) bool { return g.Scope == fdscan.ScopeElsewhere && g.Needs == "CAP_SYS_ADMIN" })
		if !told {
			t.Errorf("%s: no gap says so: %+v", name, snap.Gaps)
		}
	}
	v4 := role.Socket("v4")
	waiting := 0
	for _, s := range (elsewhere{UID: nobody, Targets: []string{port(v4)}}).ask(t).Sockets {
		if s.InBacklogOf == v4.Inode && s.UID == nil {
			waiting++
		}
	}
	if waiting != 2 {
		t.Errorf("%d connections wait in the backlog, want 2", waiting)
	}
}

// Who may read the kernel's memory, and may not look into others, is told no more of
// them than by a walk; and what they have is not the kernel's own.
func TestMemoryOfWhomMayNotBeLookedInto(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedWorking(t, "BPF iterators", (fdscan.BPFWalker{ProcWalker: fdscan.ProcWalker{Root: "/proc"}}).Usable())
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=roots
		exec uid=65534 { listen tcp4 127.0.0.1:0 name=own ; serve accept own }
		serve accept roots
	`)
	own, server := role.Socket("own"), role.Children[0]
	roots := role.Socket("roots")
	for name, e := range map[string]elsewhere{"lookup": {Targets: []string{port(roots)}}, "deep": {Targets: []string{port(roots)}, Deep: true}, "survey": {Survey: true}} {
		e.Memory = true
		snap := e.ask(t)
		s := socket(t, snap, roots.Inode)
		if s.KernelOwned || slices.ContainsFunc(s.Holders, func(h *fdscan.Holder) bool { return h.Process.PID == role.PID }) || snap.HoldersComplete {
			t.Errorf("%s: holders complete %v, %+v", name, snap.HoldersComplete, s)
		}
		gap := fdscan.Gap{Op: "read /proc/PID/fd", PID: role.PID, FD: -1, Err: unix.EACCES.Error(), Needs: "CAP_SYS_PTRACE", Scope: fdscan.ScopeHolders}
		if !slices.Contains(snap.Gaps, gap) {
			t.Errorf("%s: pid %d is no gap: %+v", name, role.PID, snap.Gaps)
		}
	}
	sender := proctest.Start(t, `listen tcp4 127.0.0.1:0 name=web ; pair name=queue ; scm web over=queue`)
	web := sender.Socket("web")
	snap := elsewhere{Memory: true, Targets: []string{port(web)}}.ask(t)
	if s := socket(t, snap, web.Inode); s.KernelOwned || len(s.Holders) > 0 || snap.HoldersComplete {
		t.Errorf("in a message: holders complete %v, %+v", snap.HoldersComplete, s)
	}
	snap = elsewhere{Memory: true, Targets: []string{port(own)}}.ask(t)
	wantHolders(t, socket(t, snap, own.Inode).Holders, table(server, own.Inode)...)
	if !snap.HoldersComplete {
		t.Errorf("of what is one's own: %+v", snap.Gaps)
	}
}

func TestHiddenProcessesAreAGap(t *testing.T) {
	testenv.NeedPIDNS(t)
	for _, option := range []string{"hidepid=invisible", "hidepid=ptraceable", "hidepid=noaccess"} {
		e := elsewhere{UID: nobody, NewPID: true, NewNet: true, Hidepid: option, Targets: []string{"4799"}, Before: vxlan}
		testenv.NeedTool(t, "ip", "iproute2")
		snap := e.ask(t)
		if snap.HoldersComplete || !snap.TablesComplete || snap.Sockets[0].KernelOwned {
			t.Errorf("%s: tables complete %v, holders complete %v, %+v", option, snap.TablesComplete, snap.HoldersComplete, snap.Sockets[0])
		}
	}
}

// vxlan makes the kernel hold UDP port 4799 for itself.
var vxlan = []string{
	"ip link set lo up",
	"ip link add fdscan type vxlan id 7 dstport 4799 dev lo",
	"ip link set fdscan up",
}

func TestSocketOfTheKernel(t *testing.T) {
	testenv.NeedNetNS(t)
	testenv.NeedPIDNS(t)
	testenv.NeedTool(t, "ip", "iproute2")
	snap := elsewhere{NewPID: true, NewNet: true, Before: vxlan, Targets: []string{"4799"}}.ask(t)
	if len(snap.Sockets) == 0 {
		t.Fatal("there is none")
	}
	for _, s := range snap.Sockets {
		if !s.KernelOwned || s.Protocol != fdscan.UDP || s.State != fdscan.Bound || len(s.Holders) != 0 {
			t.Errorf("socket %+v; gaps %+v", s, snap.Gaps)
		}
	}
	if !snap.HoldersComplete {
		t.Errorf("gaps %+v", snap.Gaps)
	}
}

// watcher is a Walker that counts, and that hides or changes things on the way.
type watcher struct {
	fdscan.ProcWalker
	walks  int
	before func(walk int)
	show   func(walk int, r fdscan.Ref) bool
}

func (w *watcher) Walk(ctx context.Context, want fdscan.Want, found func(fdscan.Ref), gap func(fdscan.Gap)) error {
	w.walks++
	if w.before != nil {
		w.before(w.walks)
	}
	return w.ProcWalker.Walk(ctx, want, func(r fdscan.Ref) {
		if w.show == nil || w.show(w.walks, r) {
			found(r)
		}
	}, func(g fdscan.Gap) {
		if g.PID != 1 { // out of sight where tests run in a container
			gap(g)
		}
	})
}

func newWatcher() *watcher { return &watcher{ProcWalker: fdscan.ProcWalker{Root: "/proc"}} }

func TestFreePortWalksNothing(t *testing.T) {
	role := proctest.Start(t, "listen tcp4 "+here+" name=web ; close web ; timewait tcp4 "+here+" name=tw")
	for _, name := range []string{"web", "tw"} {
		w := newWatcher()
		look(t, &fdscan.Scanner{Walker: w}, fdscan.Question{}, port(role.Socket(name)))
		if w.walks != 0 {
			t.Errorf("%s: %d walks", name, w.walks)
		}
	}
}

// listener makes a listener of this process.
func listener(t *testing.T) (fd int, inode uint64, port int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: netip.MustParseAddrPort(here).Addr().As4()}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	name, err := unix.Getsockname(fd)
	if err := errors.Join(err, unix.Fstat(fd, &st)); err != nil {
		t.Fatal(err)
	}
	return fd, st.Ino, name.(*unix.SockaddrInet4).Port
}

func TestSocketThatIsClosedBeforeTheWalk(t *testing.T) {
	fd, _, port := listener(t)
	w := newWatcher()
	w.before = func(walk int) {
		if walk == 1 {
			unix.Close(fd)
		}
	}
	snap := look(t, &fdscan.Scanner{Walker: w}, fdscan.Question{}, itoa(port))
	if len(found(snap)) != 0 {
		t.Errorf("still there: %s", sockets(snap))
	}
}

func TestSocketThatIsClosedAfterTheWalk(t *testing.T) {
	fd, _, port := listener(t)
	w := newWatcher()
	w.show = func(_ int, r fdscan.Ref) bool {
		if r.PID == unix.Getpid() && r.FD == fd {
			unix.Close(fd)
		}
		return true
	}
	snap := look(t, &fdscan.Scanner{Walker: w}, fdscan.Question{}, itoa(port))
	if len(found(snap)) != 0 {
		t.Errorf("still there: %s with %v", sockets(snap), holders(snap.Sockets[0].Holders))
	}
}

// A socket that is handed on during the walk is found by another one.
func TestSocketThatMovesDuringTheWalk(t *testing.T) {
	fd, inode, port := listener(t)
	defer unix.Close(fd)
	w := newWatcher()
	w.show = func(walk int, r fdscan.Ref) bool { return walk > 1 }
	snap := look(t, &fdscan.Scanner{Walker: w}, fdscan.Question{}, itoa(port))
	wantHolders(t, holdersOf(t, snap, inode), fmt.Sprintf("pid %d fd %d", unix.Getpid(), fd))
	if s := socket(t, snap, inode); s.KernelOwned {
		t.Errorf("socket %+v", s)
	}
}

// A number that has been reused since the walk saw it is not named.
func TestDescriptorThatIsReusedAfterTheWalk(t *testing.T) {
	fd, inode, port := listener(t)
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 50)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied)
	defer unix.Close(fd)
	w := newWatcher()
	w.show = func(_ int, r fdscan.Ref) bool {
		if r.PID == unix.Getpid() && r.FD == fd {
			null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				unix.Dup3(null, fd, unix.O_CLOEXEC)
				unix.Close(null)
			}
		}
		return true
	}
	snap := look(t, &fdscan.Scanner{Walker: w}, fdscan.Question{}, itoa(port))
	wantHolders(t, holdersOf(t, snap, inode), fmt.Sprintf("pid %d fd %d", unix.Getpid(), copied))
}

// A system call keeps the socket whose descriptor another thread has closed.
func TestAcceptOnAClosedDescriptor(t *testing.T) {
	fd, inode, port := listener(t)
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)
	var accepting sync.WaitGroup
	tids := make(chan int)
	accepting.Go(func() {
		tids <- unix.Gettid()
		if accepted, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC); err == nil {
			unix.Close(accepted)
		}
	})
	tid := <-tids
	for !inCall(tid, unix.SYS_ACCEPT4) {
		time.Sleep(time.Millisecond)
	}
	unix.Close(fd)
	defer func() {
		unix.Connect(client, &unix.SockaddrInet4{Addr: netip.MustParseAddrPort(here).Addr().As4(), Port: port})
		accepting.Wait()
	}()
	snap := look(t, &fdscan.Scanner{Walker: newWatcher()}, fdscan.Question{}, itoa(port))
	s := socket(t, snap, inode)
	if s.KernelOwned || len(s.Holders) != 0 || snap.HoldersComplete {
		t.Errorf("socket %+v", s)
	}
	if !slices.ContainsFunc(snap.Gaps, func(g fdscan.Gap) bool { return g.PID == unix.Getpid() && g.TID == tid && g.FD == fd }) {
		t.Errorf("gaps %+v", snap.Gaps)
	}
}

// The memory of an io_uring instance keeps it, and its files, when its
// descriptor is closed.
func TestRingWithoutADescriptor(t *testing.T) {
	testenv.NeedIOURing(t)
	fd, inode, port := listener(t)
	var params [120]byte
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	memory, err := unix.Mmap(int(ring), 0, unix.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	const registerFiles = 2
	files := [1]int32{int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, ring, registerFiles, uintptr(unsafe.Pointer(&files)), 1, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	unix.Close(fd)
	unix.Close(int(ring))
	snap := look(t, &fdscan.Scanner{Walker: newWatcher()}, fdscan.Question{}, itoa(port))
	s := socket(t, snap, inode)
	if s.KernelOwned || len(s.Holders) != 0 || snap.HoldersComplete {
		t.Errorf("socket %+v", s)
	}
	if !slices.ContainsFunc(snap.Gaps, func(g fdscan.Gap) bool { return g.PID == unix.Getpid() }) {
		t.Errorf("gaps %+v", snap.Gaps)
	}
}

// inCall reports whether a thread of this process waits in a system call.
func inCall(tid, call int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
	return err == nil && strings.HasPrefix(string(text), fmt.Sprint(call, " "))
}

// inProcessCall reports whether another process does.
func inProcessCall(pid, call int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	return err == nil && strings.HasPrefix(string(text), fmt.Sprint(call, " "))
}
