package proctest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// The table of a role is what its script makes, and nothing of this process's.
func TestRoleInheritsNothing(t *testing.T) {
	leaky, err := unix.MemfdCreate("leaky", 0) // without FD_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leaky)
	p := Start(t, "listen tcp4 127.0.0.1:0; dup fd=9; exec { listen tcp4 127.0.0.1:0 }; fork { close 9 }")
	want := map[int][]int{p.PID: {0, 1, 2, 3, 9}, p.Children[0].PID: {0, 1, 2, 3, 4, 9}, p.Children[1].PID: {0, 1, 2, 3}}
	for pid, fds := range want {
		if got := slices.Sorted(maps.Keys(links(process(pid)))); !slices.Equal(got, fds) {
			t.Errorf("pid %d holds %v, want %v", pid, got, fds)
		}
	}
	for fd, link := range links(process(p.PPID)) {
		if strings.Contains(link, "leaky") {
			t.Errorf("the supervisor holds the runner's descriptor as %d", fd)
		}
	}
}

func TestListen(t *testing.T) {
	testenv.NeedIPv6(t)
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=plain
		listen tcp6 [::]:0 name=dual v6only=0 reuseport=1 cloexec=1 nonblock=1 backlog=7
		listen tcp6 [::1]:0 name=only v6only=1 reuseaddr=1 fd=20`)
	for name, table := range map[string]string{"plain": "tcp", "dual": "tcp6", "only": "tcp6"} {
		s, d := p.Socket(name), p.Descriptor(name)
		r := onlyRow(t, p.PID, table, s.Port())
		if r.state != "0A" || r.inode != s.Inode || d.Inode != s.Inode {
			t.Errorf("%s: %+v, facts %+v", name, r, s)
		}
		if link := links(process(p.PID))[d.FD]; link != socketLink(s.Inode) {
			t.Errorf("%s: fd %d leads to %s", name, d.FD, link)
		}
		if d.CloseOnExec != (name == "dual") || closeOnExec(t, p.PID, d.FD) != d.CloseOnExec {
			t.Errorf("%s: close-on-exec %t", name, d.CloseOnExec)
		}
	}
	if fd := p.Descriptor("only").FD; fd != 20 {
		t.Errorf("fd=20 gave %d", fd)
	}
	for _, tt := range []struct {
		name                    string
		level, option, expected int
	}{
		{"plain", unix.SOL_SOCKET, unix.SO_REUSEADDR, 0},
		{"plain", unix.SOL_SOCKET, unix.SO_REUSEPORT, 0},
		{"dual", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1},
		{"dual", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0},
		{"only", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
		{"only", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
	} {
		if got := sockopt(t, p.PID, p.Descriptor(tt.name).FD, tt.level, tt.option); got != tt.expected {
			t.Errorf("%s: option %d is %d", tt.name, tt.option, got)
		}
	}
	copied := borrow(t, p.PID, p.Descriptor("dual").FD)
	if flags, err := unix.FcntlInt(uintptr(copied), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("nonblock=1: flags %#x, %v", flags, err)
	}
	if info, err := unix.GetsockoptTCPInfo(copied, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil || info.Sacked != 7 {
		t.Errorf("backlog=7: limit %d, %v", info.Sacked, err)
	}
	if cookie, err := unix.GetsockoptUint64(copied, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil || cookie != p.Socket("dual").Cookie {
		t.Errorf("cookie %d, %v; facts %d", cookie, err, p.Socket("dual").Cookie)
	}
}

// A bound TCP socket that does not listen is in no table of /proc/net.
func TestBind(t *testing.T) {
	p := Start(t, "bind tcp4 127.0.0.1:0 name=b")
	port := p.Socket("b").Port()
	if found := rows(t, p.PID, "tcp", port); len(found) != 0 {
		t.Errorf("rows %+v", found)
	}
	if err := canBind(t, port); err != unix.EADDRINUSE {
		t.Errorf("bind to its port: %v, want EADDRINUSE", err)
	}
}

func TestSocket(t *testing.T) {
	p := Start(t, "socket tcp4 name=fresh cloexec=1")
	s, d := p.Socket("fresh"), p.Descriptor("fresh")
	if links(process(p.PID))[d.FD] != socketLink(s.Inode) || s.Port() != 0 || !p.CloseOnExec(t, "fresh") {
		t.Errorf("socket %+v, descriptor %+v", s, d)
	}
}

func TestDatagramSockets(t *testing.T) {
	testenv.NeedIPv6(t)
	p := Start(t, "bind udp4 127.0.0.1:0 name=four; bind udp6 [::1]:0 name=six")
	for name, table := range map[string]string{"four": "udp", "six": "udp6"} {
		if r := onlyRow(t, p.PID, table, p.Socket(name).Port()); r.inode != p.Socket(name).Inode {
			t.Errorf("%s: %+v, facts %+v", name, r, p.Socket(name))
		}
	}
}

func TestUDPLite(t *testing.T) {
	testenv.NeedUDPLite(t)
	p := Start(t, "bind udplite4 127.0.0.1:0")
	if r := onlyRow(t, p.PID, "udplite", p.Socket("").Port()); r.inode != p.Socket("").Inode {
		t.Errorf("%+v, facts %+v", r, p.Socket(""))
	}
}

func TestMPTCP(t *testing.T) {
	testenv.NeedMPTCP(t)
	p := Start(t, "listen mptcp4 127.0.0.1:0 name=m")
	if got := sockopt(t, p.PID, p.Descriptor("m").FD, unix.SOL_SOCKET, unix.SO_PROTOCOL); got != unix.IPPROTO_MPTCP {
		t.Errorf("protocol %d", got)
	}
	if got := sockopt(t, p.PID, p.Descriptor("m").FD, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); got != 1 {
		t.Error("it does not listen")
	}
}

func TestUnixSockets(t *testing.T) {
	directory := t.TempDir()
	odd := directory + "/a b\x1b;{"
	p := Start(t, fmt.Sprintf(`
		listen unix %s/plain name=plain
		listen unixpacket @proctest-%s name=abstract
		bind unixgram %q name=odd
		unlink %s/plain`, directory, t.Name(), odd, directory))
	table := read(t, process(p.PID)+"/net/unix")
	for name, want := range map[string]string{
		"plain":    "00010000 0001 01 %d " + directory + "/plain\n",
		"abstract": "00010000 0005 01 %d @proctest-TestUnixSockets\n",
		"odd":      "00000000 0002 01 %d " + odd + "\n",
	} {
		s := p.Socket(name)
		want = strings.ReplaceAll(fmt.Sprintf(want, s.Inode), " ", "")
		if !strings.Contains(strings.ReplaceAll(table, " ", ""), want) {
			t.Errorf("%s: no %q in /proc/net/unix", name, want)
		}
	}
	if path := p.Socket("odd").Path; path != odd {
		t.Errorf("path %q, want %q", path, odd)
	}
}

func TestConnectAndAccept(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=l
		connect tcp4 l from=127.0.0.2:0 name=c cloexec=1
		accept l name=s`)
	client, server := p.Socket("c"), p.Socket("s")
	if server.Local != p.Socket("l").Local || server.Remote != client.Local || client.Remote != server.Local {
		t.Errorf("client %+v, server %+v", client, server)
	}
	if r := connectionRow(t, p.PID, client); r.state != "01" || r.inode != client.Inode || r.local[:8] != "0200007F" {
		t.Errorf("client %+v", r)
	}
	if !closeOnExec(t, p.PID, p.Descriptor("c").FD) || closeOnExec(t, p.PID, p.Descriptor("s").FD) {
		t.Error("cloexec=1 is about the client only")
	}
	var states []string
	for _, r := range rows(t, p.PID, "tcp", server.Port()) {
		states = append(states, r.state)
		if r.state == "01" && r.inode != server.Inode {
			t.Errorf("server %+v, facts %+v", r, server)
		}
	}
	if slices.Sort(states); !slices.Equal(states, []string{"01", "0A"}) {
		t.Errorf("states %v", states)
	}
}

// A role connects to what an ancestor listens on, by its name.
func TestConnectToAncestor(t *testing.T) {
	p := Start(t, "listen tcp4 127.0.0.1:0 name=l cloexec=1; exec { connect tcp4 l name=c }")
	if got, want := p.Socket("c").Remote, p.Socket("l").Local; got != want {
		t.Errorf("connected to %v, want %v", got, want)
	}
	if found := links(process(p.Children[0].PID)); len(found) != 4 {
		t.Errorf("the child holds %v", found)
	}
}
