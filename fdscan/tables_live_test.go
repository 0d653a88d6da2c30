package fdscan_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

// matching returns the sockets that a target asks for; a snapshot also holds
// others that decide about a bind.
func matching(t *testing.T, text string) (found []*fdscan.Socket) {
	t.Helper()
	target, err := fdscan.ParseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range ask(t, text).Sockets {
		if target.Matches(s) {
			found = append(found, s)
		}
	}
	return found
}

// Which sockets an address asks for: those that a connection to it would reach.
func TestAddressesOfTheFamilies(t *testing.T) {
	testenv.NeedIPv6(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=v4
		listen tcp4 127.0.0.2:0 name=other
		listen tcp4 0.0.0.0:0 name=any4
		listen tcp6 [::1]:0 name=v6
		listen tcp6 [::]:0 v6only=0 name=dual
		listen tcp6 [::]:0 v6only=1 name=any6
		listen tcp6 [::ffff:127.0.0.1]:0 name=mapped
	`)
	reached := map[string][]string{
		"v4":     {"", "127.0.0.1"},
		"other":  {"", "127.0.0.2"},
		"any4":   {"", "127.0.0.1", "127.0.0.2", "0.0.0.0"},
		"v6":     {"", "[::1]", "[::]"},
		"dual":   {"", "127.0.0.1", "127.0.0.2", "[::1]", "[::]"},
		"any6":   {"", "[::1]", "[::]"},
		"mapped": {"", "127.0.0.1"},
	}
	for name, addresses := range reached {
		s := role.Socket(name)
		for _, address := range []string{"", "127.0.0.1", "127.0.0.2", "[::1]"} {
			target := address + ":" + port(s)
			found := slices.ContainsFunc(matching(t, target), func(f *fdscan.Socket) bool { return f.Inode == s.Inode })
			if want := slices.Contains(addresses, address); found != want {
				t.Errorf("%s finds %s (%v): %v, want %v", target, name, s.Local, found, want)
			}
		}
		f := socket(t, ask(t, port(s)), s.Inode)
		if (f.Family == fdscan.Inet6) != s.Local.Addr().Is6() || f.Local.Addr != s.Local.Addr() {
			t.Errorf("%s is %+v", name, f)
		}
		if f.Family == fdscan.Inet6 && (f.V6Only == nil || *f.V6Only != (name == "any6" || name == "v6")) {
			t.Errorf("%s has v6only %v", name, f.V6Only)
		}
	}
}

func TestProtocols(t *testing.T) {
	testenv.NeedMPTCP(t)
	testenv.NeedUDPLite(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=tcp
		listen mptcp4 127.0.0.1:0 name=mptcp
		bind udp4 127.0.0.1:0 name=udp
		bind udplite4 127.0.0.1:0 name=udplite
		serve accept tcp
	`)
	finds := map[string][]string{
		"tcp":     {"", "tcp:"},
		"mptcp":   {"", "tcp:", "mptcp:"},
		"udp":     {"", "udp:"},
		"udplite": {"", "udplite:"},
	}
	for name, prefixes := range finds {
		s := role.Socket(name)
		for _, prefix := range []string{"", "tcp:", "mptcp:", "udp:", "udplite:"} {
			var found []string
			for _, f := range matching(t, prefix+port(s)) {
				if f.Inode == s.Inode {
					found = append(found, fmt.Sprint(f.Protocol, " ", f.Inode))
				}
			}
			var want []string
			if slices.Contains(prefixes, prefix) {
				want = []string{fmt.Sprint(name, " ", s.Inode)} // once, although MPTCP stands on TCP
			}
			if !slices.Equal(found, want) {
				t.Errorf("%s%s of %s finds %v, want %v", prefix, port(s), name, found, want)
			}
		}
	}
}

func TestMPTCPListenerAndItsConnections(t *testing.T) {
	testenv.NeedMPTCP(t)
	role := proctest.Start(t, `
		listen mptcp4 `+here+` name=web
		connect mptcp4 web name=client
		accept web name=server
		connect mptcp4 web name=waiting
		fork { serve sleep }
	`)
	web := role.Socket("web")
	snap := ask(t, port(web))
	got := map[string]int{}
	for _, s := range found(snap) {
		if s.Protocol != fdscan.MPTCP {
			t.Errorf("a twin: %s", sockets(snap))
		}
		what := string(s.State)
		if s.InBacklogOf != 0 {
			what += " in backlog"
		}
		got[what]++
	}
	want := map[string]int{"LISTEN": 1, "ESTABLISHED": 1, "ESTABLISHED in backlog": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sockets %v, want %v: %s", got, want, sockets(snap))
	}
	s := socket(t, snap, web.Inode)
	if s.Cookie != web.Cookie || s.Backlog == nil || s.Backlog.Queued != 1 {
		t.Errorf("listener %+v, backlog %+v", s, s.Backlog)
	}
	wantHolders(t, s.Holders, table(role, web.Inode)...)
}

func TestRangeOfPorts(t *testing.T) {
	role := proctest.Start(t, `
		netns { listen tcp4 127.0.0.1:4001 name=a ; listen tcp4 127.0.0.1:4003 name=b ; bind udp4 127.0.0.1:4002 name=c ; listen tcp4 127.0.0.1:4004 name=d }
	`)
	role.Socket("a")
	var found []int
	for _, s := range askDeep(t, "4001-4003").Sockets {
		if s.NetNS == role.Socket("a").NetNS {
			found = append(found, int(s.Local.Port))
		}
	}
	if !slices.Equal(found, []int{4001, 4002, 4003}) {
		t.Errorf("found %v", found)
	}
}

func TestUnixSockets(t *testing.T) {
	directory := t.TempDir()
	path, unlinked, copied := filepath.Join(directory, "web sock"), filepath.Join(directory, "unlinked"), filepath.Join(directory, "copy")
	abstract := "@" + filepath.Base(directory) + strconv.Itoa(int(time.Now().UnixNano()))
	role := proctest.Start(t,
		"listen unix "+strconv.Quote(path)+" name=path",
		"listen unix "+unlinked+" name=unlinked",
		"unlink "+unlinked,
		"listen unix "+abstract+" name=abstract",
		"bind unixgram "+copied+" name=datagram",
		"fork { serve accept path }",
	)
	for name, target := range map[string]string{
		"path":     "unix:" + path,
		"unlinked": "unix:" + unlinked,
		"abstract": "unix:" + abstract,
		"datagram": "unix:" + copied,
	} {
		s := role.Socket(name)
		snap := ask(t, target)
		f := socket(t, snap, s.Inode)
		if f.Protocol != fdscan.Unix || f.Local.Path != s.Path || f.UID == nil || f.Cookie != s.Cookie || len(snap.Sockets) != 1 {
			t.Errorf("%s finds %+v", target, f)
		}
		if want := map[bool]fdscan.State{true: fdscan.Bound, false: fdscan.Listen}[name == "datagram"]; f.State != want {
			t.Errorf("%s is in %s, want %s", target, f.State, want)
		}
		wantHolders(t, f.Holders, table(role, s.Inode)...)
	}
	// A file that is a socket's name asks for the socket.
	s := role.Socket("path")
	wantHolders(t, holdersOf(t, ask(t, path), s.Inode), table(role, s.Inode)...)
}

func TestUnixSocketOfAnotherNamespace(t *testing.T) {
	testenv.NeedNetNS(t)
	path := filepath.Join(t.TempDir(), "sock")
	role := proctest.Start(t, "exec newnet=1 { listen unix "+path+" name=web ; serve accept web }")
	s := role.Socket("web")
	for _, target := range []string{path, "unix:" + path} {
		f := socket(t, ask(t, target), s.Inode)
		if f.NetNSMine || f.NetNS != s.NetNS {
			t.Errorf("%s finds %+v", target, f)
		}
		wantHolders(t, f.Holders, table(role, s.Inode)...)
	}
}

func TestConnectionFromTheEphemeralRange(t *testing.T) {
	role := proctest.Start(t, `
		listen tcp4 `+here+` name=web
		connect tcp4 web name=client from=`+here+`
		accept web name=server
	`)
	client, web := role.Socket("client"), role.Socket("web")
	snap := ask(t, port(client))
	s := socket(t, snap, client.Inode)
	if s.State != fdscan.Established || s.Remote.Port != uint16(web.Port()) || s.InBacklogOf != 0 || len(found(snap)) != 1 {
		t.Errorf("found %s", sockets(snap))
	}
	wantHolders(t, s.Holders, table(role, client.Inode)...)
	if low, high := snap.Host.Bind.EphemeralLow, snap.Host.Bind.EphemeralHigh; low == 0 || s.Local.Port < low || s.Local.Port > high {
		t.Errorf("range %d to %d", low, high)
	}
	if s.ReuseAddr == nil {
		t.Error("its options decide about a bind, and were not read")
	}
}

func TestTimeWait(t *testing.T) {
	role := proctest.Start(t, `timewait tcp4 `+here+` name=tw`)
	snap := ask(t, port(role.Socket("tw")))
	if len(found(snap)) != 1 {
		t.Fatalf("sockets %s", sockets(snap))
	}
	s := found(snap)[0]
	if s.State != fdscan.TimeWait || s.Inode != 0 || s.UID != nil || len(s.Holders) != 0 || s.KernelOwned {
		t.Errorf("socket %+v", s)
	}
	if s.Timer == nil || s.Timer.Kind != "time_wait" || s.Timer.Expires <= 0 || s.Timer.Expires > time.Minute {
		t.Errorf("timer %+v", s.Timer)
	}
}

func TestOrphan(t *testing.T) {
	role := proctest.Start(t, `orphan tcp4 `+here+` name=o`)
	snap := ask(t, port(role.Socket("o")))
	if len(found(snap)) != 1 {
		t.Fatalf("sockets %s", sockets(snap))
	}
	s := found(snap)[0]
	if s.State != fdscan.FinWait1 || s.Inode != 0 || len(s.Holders) != 0 || s.KernelOwned || s.InBacklogOf != 0 {
		t.Errorf("socket %+v", s)
	}
	if s.Timer == nil || s.Timer.Expires < 0 || s.SendQueue == nil || *s.SendQueue == 0 {
		t.Errorf("timer %+v, queue %v", s.Timer, s.SendQueue)
	}
}

func TestBacklog(t *testing.T) {
	testenv.NeedIPv6(t)
	for _, network := range []string{"tcp4 127.0.0.1:0", "tcp6 [::1]:0", "tcp6 [::]:0"} {
		role := proctest.Start(t, "listen "+network+" name=web backlog=5", "backlog web 3")
		web := role.Socket("web")
		snap := ask(t, port(web))
		waiting := 0
		for _, s := range snap.Sockets {
			if s.State == fdscan.Established && s.InBacklogOf == web.Inode && len(s.Holders) == 0 && !s.KernelOwned {
				waiting++
			}
		}
		if s := socket(t, snap, web.Inode); waiting != 3 || s.Backlog == nil || *s.Backlog != (fdscan.Backlog{Queued: 3, Limit: 5}) {
			t.Errorf("%s: %d wait in the backlog of %+v: %s", network, waiting, s, sockets(snap))
		}
	}
}

func TestBacklogOfAWildcardAndAnAddress(t *testing.T) {
	role := proctest.Start(t, `listen tcp4 127.0.0.1:0 reuseport=1 name=address`)
	address := role.Socket("address")
	wildcard := proctest.Start(t, fmt.Sprintf("listen tcp4 0.0.0.0:%d reuseport=1 name=any ; connect tcp4 127.0.0.2:%[1]d name=a ; connect tcp4 127.0.0.1:%[1]d name=b", address.Port()))
	got := map[string]uint64{}
	for _, s := range ask(t, port(address)).Sockets {
		if s.State == fdscan.Established {
			got[s.Local.Addr.String()] = s.InBacklogOf
		}
	}
	want := map[string]uint64{"127.0.0.1": address.Inode, "127.0.0.2": wildcard.Socket("any").Inode}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("backlogs %v, want %v", got, want)
	}
}

func TestUsersAndCgroup(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, `exec uid=65534 { listen tcp4 127.0.0.1:0 name=web ; backlog web 1 ; serve accept web }`)
	s := socket(t, ask(t, port(role.Socket("web"))), role.Socket("web").Inode)
	if s.UID == nil || *s.UID != 65534 {
		t.Errorf("uid %v", s.UID)
	}
	if s.CgroupID == 0 || !strings.HasPrefix(s.Cgroup, "/") {
		t.Errorf("cgroup %d %q", s.CgroupID, s.Cgroup)
	}
}
