package fdscan_test

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

func TestEveryHolderOfAListener(t *testing.T) {
	role := proctest.Start(t, `
		listen tcp4 `+here+` name=web
		listen tcp4 `+here+` name=other
		dup web fd=9
		dup web fd=20 cloexec=1
		fork { close 9 ; serve accept web }
		fork { fork { serve sleep } }
		exec { serve epoll web }
		exec sleep 60
		serve accept web
	`)
	web := role.Socket("web")
	snap := ask(t, port(web))
	s := socket(t, snap, web.Inode)
	wantHolders(t, s.Holders, table(role, web.Inode)...)
	for _, p := range role.All() {
		for _, d := range p.Descriptors {
			for _, h := range s.Holders {
				if h.Process.PID == p.PID && h.FD == d.FD && (h.CloseOnExec == nil || *h.CloseOnExec != d.CloseOnExec) {
					t.Errorf("%s: FD_CLOEXEC %v, want %v", holder(h), h.CloseOnExec, d.CloseOnExec)
				}
			}
		}
	}
	if s.State != fdscan.Listen || s.Protocol != fdscan.TCP || !s.NetNSMine || s.Cookie != web.Cookie || s.Backlog == nil {
		t.Errorf("socket %+v", s)
	}
	if len(found(snap)) != 1 {
		t.Errorf("other sockets too: %s", sockets(snap))
	}
	wantWhole(t, snap)
}

func TestFactsOfAHolder(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		exec uid=65534 as=web)S(1 { session ; serve accept web }
	`)
	server := role.Children[0]
	snap := ask(t, port(role.Socket("web")))
	p := snap.Processes[server.PID]
	if p == nil {
		t.Fatal("the server is no holder")
	}
	if p.PPID != role.PID || p.StartTicks != server.StartTicks || p.Session != p.PID || p.Group != p.PID {
		t.Errorf("process %+v, want parent %d, started at %d", p, role.PID, server.StartTicks)
	}
	if p.UID != 65534 || p.User != "nobody" || p.Comm != "web)S(1" || p.NetNS != server.NetNS {
		t.Errorf("process %+v", p)
	}
	if p.ExeInode == 0 || p.StackStart == 0 || len(p.Cmdline) != 1 {
		t.Errorf("process %+v", p)
	}
	for q := p; q.PID != 1; {
		if q.PPID == 0 {
			break // a pid namespace of its own ends here
		}
		if q = snap.Processes[q.PPID]; q == nil {
			t.Fatal("the snapshot lacks an ancestor")
		}
	}
}

func TestOneTableSharedByProcesses(t *testing.T) {
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		fork share=1 { serve accept web }
		fork share=1 { serve sleep }
		fork { serve sleep }
		serve pause
	`)
	web := role.Socket("web")
	s := socket(t, ask(t, port(web)), web.Inode)
	wantHolders(t, s.Holders, table(role, web.Inode)...)
	sharers := []int{role.PID, role.Children[0].PID, role.Children[1].PID}
	slices.Sort(sharers)
	for _, h := range s.Holders {
		var want []int
		if slices.Contains(sharers, h.Process.PID) {
			want = slices.DeleteFunc(slices.Clone(sharers), func(pid int) bool { return pid == h.Process.PID })
		}
		if !slices.Equal(h.SharesTableWith, want) {
			t.Errorf("%s shares its table with %v, want %v", holder(h), h.SharesTableWith, want)
		}
	}
}

func TestTableOfAThreadAlone(t *testing.T) {
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		listen tcp4 127.0.0.1:0 name=other
		thread own=1 { close other ; serve sleep }
		thread { serve sleep }
		close web
		serve accept other
	`)
	web, other := role.Socket("web"), role.Socket("other")
	snap := ask(t, port(web), port(other))
	wantHolders(t, holdersOf(t, snap, web.Inode), table(role, web.Inode)...)
	if h := holdersOf(t, snap, web.Inode)[0]; h.TID == 0 || h.CloseOnExec == nil || h.Via != fdscan.ViaThread {
		t.Errorf("the thread's holder is %+v", h)
	}
	wantHolders(t, holdersOf(t, snap, other.Inode), table(role, other.Inode)...)
	wantWhole(t, snap)
}

func TestZombieLeaderWithLivingThreads(t *testing.T) {
	role := proctest.Start(t, `
		exec {
			listen tcp4 127.0.0.1:0 name=web
			thread { serve accept web }
			thread { serve sleep }
			leader-exit
		}
	`)
	web, server := role.Socket("web"), role.Children[0]
	snap := ask(t, port(web))
	s := socket(t, snap, web.Inode)
	if len(s.Holders) != 1 {
		t.Fatalf("holders %v, want one", holders(s.Holders))
	}
	h := s.Holders[0]
	if h.Process.PID != server.PID || !slices.Contains(server.TIDs, h.TID) || h.TID == server.PID || h.Via != fdscan.ViaThread {
		t.Errorf("holder %s, want a living thread of pid %d, %v", holder(h), server.PID, server.TIDs)
	}
	if h.Process.State != 'Z' || h.CloseOnExec == nil {
		t.Errorf("holder %+v of %+v", h, h.Process)
	}
	if s.ReuseAddr == nil {
		t.Errorf("its options were not read; gaps %+v", snap.Gaps)
	}
	wantWhole(t, snap)
}

func TestNestedPIDNamespace(t *testing.T) {
	testenv.NeedPIDNS(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		exec newpid=1 { fork { serve accept web } ; exec newpid=1 { serve accept web } ; serve sleep }
	`)
	web := role.Socket("web")
	snap := ask(t, port(web))
	wantHolders(t, holdersOf(t, snap, web.Inode), table(role, web.Inode)...)
	outer, forked, inner := role.Children[0].PID, role.Children[0].Children[0].PID, role.Children[0].Children[1].PID
	for pid, levels := range map[int]int{role.PID: 1, outer: 2, forked: 2, inner: 3} {
		p := snap.Processes[pid]
		if len(p.NSPIDs) != levels || p.NSPIDs[0] != pid {
			t.Errorf("pid %d is known as %v, want %d pids", pid, p.NSPIDs, levels)
		}
	}
	if first := snap.Processes[inner].NSPIDs; first[len(first)-1] != 1 {
		t.Errorf("the first process of a pid namespace is known as %v", first)
	}
}

func TestReusePortGroup(t *testing.T) {
	role := proctest.Start(t, `
		listen tcp4 `+here+` reuseport=1 name=first
		exec { serve accept first }
		serve accept first
	`)
	first := role.Socket("first")
	second := proctest.Start(t, `
		listen tcp4 `+first.Local.String()+` reuseport=1 reuseaddr=1 name=second
		serve accept second
	`)
	snap := ask(t, port(first))
	if len(found(snap)) != 2 {
		t.Fatalf("sockets %s, want two", sockets(snap))
	}
	a, b := socket(t, snap, first.Inode), socket(t, snap, second.Socket("second").Inode)
	wantHolders(t, a.Holders, table(role, a.Inode)...)
	wantHolders(t, b.Holders, table(second, b.Inode)...)
	for s, reuseAddr := range map[*fdscan.Socket]bool{a: false, b: true} {
		if s.ReusePort == nil || !*s.ReusePort || s.ReuseAddr == nil || *s.ReuseAddr != reuseAddr {
			t.Errorf("inode %d: SO_REUSEPORT %v, SO_REUSEADDR %v", s.Inode, s.ReusePort, s.ReuseAddr)
		}
	}
}

func TestOnlyTheseProcesses(t *testing.T) {
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		fork { serve accept web }
		fork { serve sleep }
		serve accept web
	`)
	web, child := role.Socket("web"), role.Children[0]
	snap := look(t, &fdscan.Scanner{}, fdscan.Question{PIDs: []int{child.PID}}, port(web))
	wantHolders(t, holdersOf(t, snap, web.Inode), table(child, web.Inode)...)
}

func TestPipeByInode(t *testing.T) {
	role := proctest.Start(t, `
		pipe name=p
		listen tcp4 127.0.0.1:0 name=web
		fork { close p ; serve sleep }
	`)
	d := role.Descriptor("p")
	snap := ask(t, inode(d.Inode))
	if len(snap.Objects) != 1 || len(snap.Sockets) != 0 {
		t.Fatalf("objects %+v, sockets %s", snap.Objects, sockets(snap))
	}
	if o := snap.Objects[0]; o.Kind != "pipe" || o.Inode != d.Inode {
		t.Errorf("object %+v", o)
	}
	wantHolders(t, snap.Objects[0].Holders, table(role, d.Inode)...)
}

func TestSocketsByInode(t *testing.T) {
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		socket tcp4 name=fresh
		pair name=left
		socket udp4 name=datagram
		fork { serve accept web }
	`)
	for _, tt := range []struct {
		name     string
		state    fdscan.State
		protocol fdscan.Protocol
	}{
		{"web", fdscan.Listen, fdscan.TCP},
		{"fresh", fdscan.Close, fdscan.TCP}, // in no table: it has to be asked itself
		{"left", fdscan.Established, fdscan.Unix},
		{"datagram", fdscan.Close, fdscan.UDP},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := role.Descriptor(tt.name)
			s := socket(t, ask(t, inode(d.Inode)), d.Inode)
			if s.State != tt.state || s.Protocol != tt.protocol || !s.NetNSMine {
				t.Errorf("socket %+v, want %s %s", s, tt.protocol, tt.state)
			}
			wantHolders(t, s.Holders, table(role, d.Inode)...)
		})
	}
}

func TestUnboundUnixSocketByInode(t *testing.T) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	if s := socket(t, ask(t, inode(st.Ino)), st.Ino); s.State != fdscan.Close || s.Local.Path != "" {
		t.Errorf("socket %+v, want an unnamed one in CLOSE", s)
	}
}
