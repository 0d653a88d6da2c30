package inspect_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/internal/testenv"
	"stray/internal/wiretest"
)

// hasty are limits that a test can wait for.
func hasty() inspect.Limits {
	return inspect.Limits{
		Silence: 300 * time.Millisecond, Idle: 200 * time.Millisecond, Stalled: 300 * time.Millisecond, CloseWait: 200 * time.Millisecond,
		HalfClosed: 200 * time.Millisecond, Long: time.Hour, Waiting: 200 * time.Millisecond, Pile: 3,
	}
}

// conns judges what a process holds, by limits, in one look.
func conns(t testing.TB, limits inspect.Limits, pids ...int) *inspect.Connections {
	t.Helper()
	snap, err := (&fdscan.Scanner{}).Connections(t.Context(), fdscan.ConnectionsQuestion{PIDs: pids, Suspect: limits.Suspect(false)})
	if err != nil {
		t.Fatal(err)
	}
	return inspect.JudgeConnections(snap, inspect.Examination{Limits: limits, Rules: rules.All(), PIDs: pids})
}

// connsTwice judges in two looks.
func connsTwice(t testing.TB, limits inspect.Limits, between func(), pids ...int) *inspect.Connections {
	t.Helper()
	q := fdscan.ConnectionsQuestion{PIDs: pids, Suspect: limits.Suspect(true), All: true}
	look := func() *fdscan.Snapshot {
		snap, err := (&fdscan.Scanner{}).Connections(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}
	before := look()
	between()
	after := look()
	after.Follow(before)
	return inspect.JudgeConnections(after, inspect.Examination{Limits: limits, Rules: rules.All(), PIDs: pids, Twice: true})
}

func messages(c *inspect.Connections) (all []string) {
	for _, f := range c.Findings {
		all = append(all, fmt.Sprintf("%s %s %s", f.Rule.ID, f.Severity, f.Message))
	}
	return all
}

// eventually asks until one of the findings matches: what the kernel has to do
// first, it does in its own time.
func eventually(t testing.TB, limits inspect.Limits, pattern string, pids ...int) *inspect.Connections {
	t.Helper()
	want := regexp.MustCompile(pattern)
	said := map[string]bool{}
	for end := time.Now().Add(20 * time.Second); ; {
		c := conns(t, limits, pids...)
		if slices.ContainsFunc(messages(c), want.MatchString) {
			return c
		}
		for _, m := range messages(c) {
			said[m] = true
		}
		if time.Now().After(end) {
			var seen []string
			for _, s := range connsTwice(t, limits, func() {}, pids...).Sockets {
				if !strings.HasPrefix(s.Address(), "10.77.") {
					continue
				}
				seen = append(seen, fmt.Sprintf("%s %s→%s timer %+v %+v", s.State, s.Address(), inspect.EndpointText(s.Protocol, s.Remote), s.Timer, s.Health.TCP))
			}
			t.Fatalf("no finding matches %s; findings %q; sockets %s", pattern, slices.Collect(maps.Keys(said)), strings.Join(seen, "\n"))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// quietly fails if anything is said.
func quietly(t testing.TB, c *inspect.Connections) {
	t.Helper()
	if said := messages(c); len(said) > 0 {
		t.Errorf("of what is well it says %q", said)
	}
}

// pair connects a client at the near end with a server at the far end.
func pair(t testing.TB, w *wiretest.Wire) (server, client *wiretest.Talker, serverFD, clientFD int, address string) {
	t.Helper()
	server, client = w.Far.Talk(t, "server"), w.Near.Talk(t, "client")
	listener, address := server.Listen(w.Far.Address, 16)
	clientFD, _ = client.Dial(address)
	return server, client, server.Accept(listener), clientFD, address
}

func TestLinkDown(t *testing.T) {
	w := wiretest.New(t)
	_, client, _, fd, address := pair(t, w)
	w.Near.Down(t)
	client.Do("write", fd, 2000)
	c := eventually(t, hasty(), fmt.Sprintf(`^FD302 warning pid %d \(client\): 10\.77\.0\.1:\d+ → %s fd %d looks dead: nothing acked for .*, \d+ (retransmissions|probes unanswered), 2\.0 kB (unacknowledged|unsent) \(the kernel gives up in about \d+ \w+\)`,
		client.PID, regexp.QuoteMeta(address), fd), client.PID)
	if c.Findings[0].FD != fd || !slices.Contains(c.Findings[0].Next, "stray explain FD302") {
		t.Errorf("finding %+v", c.Findings[0])
	}
	// Two looks are certain, and say what grows.
	c = connsTwice(t, hasty(), func() { client.Do("write", fd, 5000) }, client.PID)
	if said := messages(c); len(said) != 1 || !strings.Contains(said[0], "nothing came, Send-Q grew by 5.0 kB") {
		t.Errorf("two looks say %q", said)
	}
}

func TestPacketsDropped(t *testing.T) {
	w := wiretest.New(t)
	_, client, _, fd, address := pair(t, w)
	client.Do("set", fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 3_600_000)
	w.Far.Deafen(t)
	client.Do("write", fd, 100_000)
	eventually(t, hasty(), regexp.QuoteMeta(address)+` fd \d+ looks dead: nothing acked for .* retransmissions, \d+ kB unacknowledged, \d+ kB unsent \(the kernel gives up in about 60 min, by its TCP_USER_TIMEOUT\)`, client.PID)
}

// The kernel gives up when it is said to: within as much again, since its timer has
// to run out first.
func TestKernelGivesUpAsForetold(t *testing.T) {
	w := wiretest.New(t)
	w.Near.Sysctl(t, "tcp_retries2", "3")
	_, client, _, fd, _ := pair(t, w)
	w.Far.Deafen(t)
	client.Do("write", fd, 1000)
	foretold := regexp.MustCompile(`gives up in about (\d+) (m?s)\)`)
	c := eventually(t, hasty(), foretold.String(), client.PID)
	m := foretold.FindStringSubmatch(messages(c)[0])
	left, err := time.ParseDuration(m[1] + m[2])
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for len(conns(t, hasty(), client.PID).Shown) > 0 {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("it has not given up 20 s after it was said to in %s", left)
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(began)
	t.Logf("foretold %s, took %s", left, took)
	if took < left-time.Second || took > 2*left+time.Second {
		t.Errorf("it was said to give up in %s, and did in %s", left, took)
	}
}

func TestConnectWithoutAnswer(t *testing.T) {
	w := wiretest.New(t)
	w.Far.Deafen(t)
	client := w.Near.Talk(t, "client")
	client.Tell("dial " + w.Far.Address + ":80")
	eventually(t, hasty(), `^FD302 warning .*:80 fd \d+ looks dead: connect has no answer, \d SYNs sent \(the kernel gives up in about `, client.PID)
}

// The peer reads nothing, being stopped; and when the sender dies, the kernel is
// left alone with what it has taken.
func TestPeerStopped(t *testing.T) {
	w := wiretest.New(t)
	w.Near.Sysctl(t, "tcp_rto_max_ms", "120000") // which is for how long the orphan lasts
	server, client, _, fd, address := pair(t, w)
	server.Stop()
	if n := client.Do("write", fd, 64<<20)[0]; n < 100_000 {
		t.Fatalf("the kernel has taken %d bytes", n)
	}
	eventually(t, hasty(), fmt.Sprintf(`^FD303 warning pid %d \(client\): 10\.77\.0\.1:\d+ → %s fd %d is stalled: [\d.]+ \wB accepted by the kernel and undelivered for .*; peer is pid %d server, STOPPED, in another network namespace, [\d.]+ \wB unread`,
		client.PID, regexp.QuoteMeta(address), fd, server.PID), client.PID)
	w.Near.Talk(t, "witness") // a namespace without a process is out of sight
	client.Kill()
	c := eventually(t, hasty(), `FIN_WAIT1, [\d.]+ \wB unsent.* for .*, no process owns it: closed, or its process died \(the kernel gives up in about [\d.]+ \w+\); peer is pid \d+ server, STOPPED`)
	for _, f := range c.Findings {
		if f.Rule.ID == "FD303" && f.Process == nil && f.FD != -1 {
			t.Errorf("an orphan has a descriptor: %+v", f)
		}
	}
}

func TestPeerClosed(t *testing.T) {
	w := wiretest.New(t)
	server, client := w.Far.Talk(t, "server"), w.Near.Talk(t, "client")
	listener, address := server.Listen(w.Far.Address, 16)
	limits := hasty()
	for i := range limits.Pile {
		client.Dial(address)
		fd := server.Accept(listener)
		server.Do("write", fd, 100)
		server.Do("close", fd)
		want, said := "warning", `100 B unread`
		if i == limits.Pile-1 {
			want, said = "error", `3 connections are closed by their peers and kept, the worst .*: the peer closed .* ago, its end is not read, 100 B unread`
		}
		if i != 1 {
			eventually(t, limits, "^FD301 "+want+` .*`+said, client.PID)
		}
	}
}

func TestPeerClosedAndEndRead(t *testing.T) {
	w := wiretest.New(t)
	server, client, serverFD, fd, _ := pair(t, w)
	server.Do("close", serverFD)
	client.Do("read", fd, 1)
	eventually(t, hasty(), `^FD301 warning .* is closed by its peer and kept: the peer closed .* ago, its end was read, and this side is not closed$`, client.PID)
	client.Do("close", fd)
	quietly(t, conns(t, hasty(), client.PID))
}

func TestHalfClosed(t *testing.T) {
	w := wiretest.New(t)
	_, client, _, fd, address := pair(t, w)
	client.Do("shut", fd)
	eventually(t, hasty(), `^FD305 note .*`+regexp.QuoteMeta(address)+` fd \d+ is half closed: shut down for writing, and nothing from the peer for .*; peer is pid \d+ server`, client.PID)
	limits := hasty()
	limits.Long = limits.HalfClosed
	eventually(t, limits, `^FD305 warning`, client.PID)
}

func TestIdleWithoutKeepalive(t *testing.T) {
	w := wiretest.New(t)
	_, client, _, fd, _ := pair(t, w)
	// The peer is on this machine, where its end would be told of.
	limits := inspect.DefaultLimits()
	limits.Idle = 0
	quietly(t, conns(t, limits, client.PID))
	client.Do("set", fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	quietly(t, conns(t, limits, client.PID))
}

func TestKeepaliveUnanswered(t *testing.T) {
	w := wiretest.New(t)
	_, client, _, fd, _ := pair(t, w)
	for option, value := range map[int]int{unix.TCP_KEEPIDLE: 1, unix.TCP_KEEPINTVL: 1, unix.TCP_KEEPCNT: 60} {
		client.Do("set", fd, unix.IPPROTO_TCP, option, value)
	}
	client.Do("set", fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	w.Far.Deafen(t)
	eventually(t, hasty(), `^FD302 warning .* looks dead: \d+ keepalive probes unanswered, nothing heard for .* \(the kernel gives up in about \d+ s\)`, client.PID)
}

// What is well stays unsaid, by the limits that everybody has.
func TestHealthyConnections(t *testing.T) {
	w := wiretest.New(t)
	server, client, serverFD, fd, _ := pair(t, w)
	limits := inspect.DefaultLimits()
	quietly(t, conns(t, limits, server.PID, client.PID)) // idle
	// A bulk transfer to a reader that is slow: the queue is full, and moves.
	for range 20 {
		client.Do("write", fd, 16<<20)
		server.Do("read", serverFD, 1<<20)
		quietly(t, conns(t, hasty(), server.PID, client.PID))
	}
	quietly(t, connsTwice(t, limits, func() { server.Do("read", serverFD, 1<<20) }, server.PID, client.PID))
	// A request and its answer.
	for {
		if n := server.Do("read", serverFD, 1<<20)[0]; n < 1<<20 {
			break
		}
	}
	server.Do("write", serverFD, 10)
	client.Do("read", fd, 10)
	quietly(t, conns(t, hasty(), server.PID, client.PID))
}

func TestDatagramsDropped(t *testing.T) {
	testenv.NeedNetNS(t)
	w := wiretest.New(t)
	server, client := w.Far.Talk(t, "server"), w.Near.Talk(t, "client")
	n := server.Do("udp", w.Far.Address+":0")
	m := client.Do("udp", w.Near.Address+":0")
	server.Do("set", n[0], unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)
	client.Do("send", m[0], fmt.Sprintf("%s:%d", w.Far.Address, n[1]), 1000, 50)
	eventually(t, hasty(), `^FD306 warning .* overflows: its receive queue is full, \d+ datagrams dropped since it was opened`, server.PID)
	c := connsTwice(t, hasty(), func() { client.Do("send", m[0], fmt.Sprintf("%s:%d", w.Far.Address, n[1]), 1000, 7) }, server.PID)
	if said := messages(c); len(said) != 1 || !strings.Contains(said[0], "7 datagrams dropped in the last ") {
		t.Errorf("two looks say %q", said)
	}
}

// A path over a satellite is slow, and well: requests, and a transfer.
func TestHighLatency(t *testing.T) {
	w := wiretest.NewSlow(t, 150*time.Millisecond)
	server, client, serverFD, fd, _ := pair(t, w)
	limits := hasty()
	limits.Silence, limits.Stalled = 2*time.Second, 2*time.Second
	for range 2 {
		client.Do("write", fd, 100_000)
		quietly(t, conns(t, limits, server.PID, client.PID))
		server.Do("read", serverFD, 1<<20) // waits for what has arrived
		quietly(t, conns(t, limits, server.PID, client.PID))
	}
	c := connsTwice(t, inspect.DefaultLimits(), func() {}, client.PID)
	for _, s := range c.Sockets {
		if s.Protocol == fdscan.TCP && s.Health.TCP.RTT < 150*time.Millisecond {
			t.Errorf("the round trip is %s: this path is fast", s.Health.TCP.RTT)
		}
	}
	quietly(t, c)
}
