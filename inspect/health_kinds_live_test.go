package inspect_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/inspect"
	"stray/internal/testenv"
	"stray/internal/wiretest"
)

// multipath connects a client at the near end with a server at the far end, by
// MPTCP.
func multipath(t testing.TB, w *wiretest.Wire) (server, client *wiretest.Talker, serverFD, clientFD int) {
	t.Helper()
	testenv.NeedMPTCP(t)
	server, client = w.Far.Talk(t, "server"), w.Near.Talk(t, "client")
	n := server.Do("listen", w.Far.Address+":0", 16, unix.IPPROTO_MPTCP)
	m := client.Do("dial", fmt.Sprintf("%s:%d", w.Far.Address, n[1]), 0, unix.IPPROTO_MPTCP)
	return server, client, server.Accept(n[0]), m[0]
}

// An MPTCP connection is one connection: its subflows tell how it fares.
func TestMultipath(t *testing.T) {
	w := wiretest.New(t)
	server, client, serverFD, fd := multipath(t, w)
	client.Do("write", fd, 1000)
	server.Do("read", serverFD, 1000)
	quietly(t, conns(t, hasty(), server.PID, client.PID))
	c := connsTwice(t, hasty(), func() {}, client.PID)
	var found []string
	for _, s := range c.Sockets {
		if s.Protocol != fdscan.Unix {
			found = append(found, fmt.Sprintf("%s %s %d subflows, held %d times", s.Protocol, s.State, len(s.Health.Subflows), len(s.Holders)))
		}
	}
	if got := strings.Join(found, "; "); got != "mptcp ESTABLISHED 1 subflows, held 1 times" {
		t.Errorf("the client has %s", got)
	}
	if n := c.Looked.Connections; n != 1 {
		t.Errorf("%d connections were looked at, want 1", n)
	}

	w.Far.Deafen(t)
	client.Do("write", fd, 5000)
	eventually(t, hasty(), fmt.Sprintf(`^FD302 warning pid %d \(client\): 10\.77\.0\.1:\d+ → %s:\d+ fd %d looks dead: nothing acked for `, client.PID, regexp.QuoteMeta(w.Far.Address), fd), client.PID)
}

// Of a peer that does not read, the subflow knows a byte, and the connection the
// rest.
func TestMultipathPeerStopped(t *testing.T) {
	w := wiretest.New(t)
	server, client, _, fd := multipath(t, w)
	server.Stop()
	if n := client.Do("write", fd, 64<<20)[0]; n < 100_000 {
		t.Fatalf("the kernel has taken %d bytes", n)
	}
	c := eventually(t, hasty(), fmt.Sprintf(`^FD303 warning pid %d \(client\): .* fd %d is stalled: [\d.]+ [kM]B accepted by the kernel and undelivered for .*; peer is pid %d server, STOPPED`, client.PID, fd, server.PID), client.PID)
	for _, s := range c.Shown {
		if unsent, _ := inspect.Unsent(s.Socket); unsent < 100_000 {
			t.Errorf("%d bytes of it are unsent", unsent)
		}
	}
	// One by whom all of it is on its way, to a peer that reads, is busy.
	server2, client2, serverFD, fd := multipath(t, wiretest.New(t))
	for range 10 {
		client2.Do("write", fd, 16<<20)
		server2.Do("read", serverFD, 1<<20)
	}
	quietly(t, conns(t, inspect.DefaultLimits(), server2.PID, client2.PID))
}

func TestMultipathPeerClosed(t *testing.T) {
	w := wiretest.New(t)
	server, client, serverFD, fd := multipath(t, w)
	server.Do("close", serverFD)
	eventually(t, hasty(), fmt.Sprintf(`^FD301 warning pid %d \(client\): .* fd %d is closed by its peer and kept: the peer closed `, client.PID, fd), client.PID)
}

// What waits for an MPTCP listener is told of once, with its listener.
func TestMultipathBacklog(t *testing.T) {
	testenv.NeedMPTCP(t)
	w := wiretest.New(t)
	server, client := w.Far.Talk(t, "server"), w.Near.Talk(t, "client")
	n := server.Do("listen", w.Far.Address+":0", 4, unix.IPPROTO_MPTCP)
	client.Do("dial", fmt.Sprintf("%s:%d", w.Far.Address, n[1]), 0, unix.IPPROTO_MPTCP)
	eventually(t, hasty(), `^FD304 warning .* 1 connection waits in its backlog of 4, one has waited for `, server.PID)
}

// A unix socket tells no ages: that its end is closed takes bytes that nobody
// reads, or a second look; and of pairs, which many programs keep, a pile.
func TestUnixPeerClosed(t *testing.T) {
	k := wiretest.TalkHere(t, "pair")
	n := k.Do("pair", 0)
	quietly(t, conns(t, hasty(), k.PID))
	k.Do("close", n[1])
	quietly(t, conns(t, hasty(), k.PID))
	quietly(t, connsTwice(t, hasty(), func() {}, k.PID))
	for range hasty().Pile - 1 {
		k.Do("close", k.Do("pair", 0)[1])
	}
	c := connsTwice(t, hasty(), func() {}, k.PID)
	if said := messages(c); len(said) != 1 || !regexp.MustCompile(fmt.Sprintf(`^FD301 note pid %d \(pair\): 3 connections are closed by their peers and kept, the worst unix \(unnamed\) fd \d+: the other end has been closed for \d+ \w+ at least, and this one is not$`, k.PID)).MatchString(said[0]) {
		t.Errorf("two looks say %q", said)
	}

	n = k.Do("pair", 0)
	k.Do("write", n[1], 500)
	k.Do("close", n[1])
	if said := messages(conns(t, hasty(), k.PID)); len(said) != 1 || !strings.Contains(said[0], "(since when, the kernel does not tell), 500 B unread") {
		t.Errorf("one look says %q", said)
	}
}

func TestUnixPeerStopped(t *testing.T) {
	here, there := wiretest.TalkHere(t, "writer"), wiretest.TalkHere(t, "reader")
	path := t.TempDir() + "/s"
	n := there.Do("unix-listen", path)
	m := here.Do("unix-dial", path)
	there.Accept(n[0])
	here.Do("write", m[0], 4<<20)
	quietly(t, conns(t, hasty(), here.PID)) // a full queue may be read at any time
	there.Stop()
	if said := messages(conns(t, hasty(), here.PID)); len(said) != 1 || !regexp.MustCompile(fmt.Sprintf(`^FD303 warning pid %d \(writer\): .* is stalled: [\d.]+ kB \(in the kernel's memory\) that the other end does not read; peer is pid %d reader, STOPPED, [\d.]+ kB unread`, here.PID, there.PID)).MatchString(said[0]) {
		t.Errorf("it says %q", said)
	}
}
