package fdscan_test

import (
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/osthread"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

func TestAnotherNamespaceWithAProcess(t *testing.T) {
	testenv.NeedNetNS(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=here
		exec newnet=1 {
			listen tcp4 127.0.0.1:0 name=there
			bind tcp4 127.0.0.1:0 name=bound
			serve accept there
		}
	`)
	for _, name := range []string{"there", "bound"} {
		there := role.Socket(name)
		snap := ask(t, port(there))
		s := socket(t, snap, there.Inode)
		if s.NetNSMine || s.NetNS != there.NetNS || s.Cookie != there.Cookie {
			t.Errorf("socket %+v, want namespace %d", s, there.NetNS)
		}
		wantHolders(t, s.Holders, table(role, there.Inode)...)
		wantWhole(t, snap)
	}
}

// A process here may hold a socket of a namespace that has a process, too.
func TestSocketOfAnotherNamespaceHeldHere(t *testing.T) {
	testenv.NeedNetNS(t)
	role := proctest.Start(t, `
		netns { listen tcp4 127.0.0.1:0 name=there ; bind tcp4 127.0.0.1:0 name=bound ; listen tcp4 127.0.0.1:0 name=busy }
		fork { serve sleep }
		serve accept there
	`)
	for _, name := range []string{"there", "bound", "busy"} {
		there := role.Socket(name)
		if snap := ask(t, port(there)); slices.ContainsFunc(snap.Sockets, func(s *fdscan.Socket) bool { return s.Inode == there.Inode }) {
			t.Errorf("without --deep there are %s", sockets(snap))
		}
		snap := askDeep(t, port(there))
		s := socket(t, snap, there.Inode)
		if s.NetNSMine || s.NetNS != there.NetNS || s.Cookie != there.Cookie || s.Local.Port != uint16(there.Port()) {
			t.Errorf("socket %+v, want namespace %d", s, there.NetNS)
		}
		wantHolders(t, s.Holders, table(role, there.Inode)...)
	}
}

// keepNamespace mounts the network namespace of a role as "ip netns add" does,
// until the end of the test, and returns where.
func keepNamespace(t *testing.T, role *proctest.Process) string {
	t.Helper()
	testenv.NeedRoot(t)
	path := filepath.Join(t.TempDir(), "a name with spaces")
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if err := unix.Mount("/proc/"+itoa(role.PID)+"/ns/net", path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Whoever looks at all namespaces just now has it open.
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return path
}

func TestNamespaceThatOnlyAMountKeeps(t *testing.T) {
	testenv.NeedNetNS(t)
	role := proctest.Start(t, `exec newnet=1 { serve pause }`)
	netns, path := role.Children[0].NetNS, keepNamespace(t, role.Children[0])
	if err := unix.Kill(role.Children[0].PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	fd := listenIn(t, path)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	snap := ask(t, itoa(name.(*unix.SockaddrInet4).Port))
	s := socket(t, snap, st.Ino)
	if s.NetNSMine || s.NetNS != netns || s.State != fdscan.Listen {
		t.Errorf("socket %+v, want namespace %d", s, netns)
	}
	if len(s.Holders) != 1 || s.Holders[0].FD != fd || s.Holders[0].Process.PID != unix.Getpid() {
		t.Errorf("holders %v", holders(s.Holders))
	}
	wantWhole(t, snap)
}

// listenIn makes a listener in the namespace at path.
func listenIn(t *testing.T, path string) int {
	t.Helper()
	fd := -1
	err := osthread.Discard(func() error {
		ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(ns)
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return err
		}
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Listen(fd, 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// How connections fare in a namespace that nothing but sockets keeps.
func TestConnectionsOfANamespaceThatOnlySocketsKeep(t *testing.T) {
	testenv.NeedNetNS(t)
	role := proctest.Start(t, `netns { listen tcp4 127.0.0.1:0 name=web ; listen tcp4 127.0.0.1:0 name=idle } ; serve sleep`)
	web := role.Socket("web")
	targets, err := fdscan.ParseTarget(port(web))
	if err != nil {
		t.Fatal(err)
	}
	question := fdscan.ConnectionsQuestion{Targets: []fdscan.Target{targets}, All: true}
	named, deep := question, question
	named.PIDs, deep.Deep = []int{role.PID}, true
	for _, q := range []fdscan.ConnectionsQuestion{question, named, deep} {
		snap, err := (&fdscan.Scanner{}).Connections(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if q.PIDs == nil && !q.Deep {
			if slices.ContainsFunc(snap.Sockets, func(s *fdscan.Socket) bool { return s.Inode == web.Inode }) {
				t.Errorf("without --deep there are %s", sockets(snap))
			}
			continue
		}
		s := socket(t, snap, web.Inode)
		if s.NetNSMine || s.NetNS != web.NetNS || s.Health == nil || !snap.Networks[web.NetNS].Known {
			t.Errorf("socket %+v, want namespace %d", s, web.NetNS)
		}
		wantHolders(t, s.Holders, table(role, web.Inode)...)
	}
}
