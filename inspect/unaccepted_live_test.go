package inspect_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"stray/inspect"
	"stray/internal/wiretest"
)

// unaccepted are limits that are hasty about backlogs only: however slow a loaded
// machine is, nothing else is said.
func unaccepted() inspect.Limits {
	limits := inspect.DefaultLimits()
	limits.Waiting = hasty().Waiting
	return limits
}

func TestNobodyAccepts(t *testing.T) {
	w := wiretest.New(t)
	server, client := w.Far.Talk(t, "server"), w.Near.Talk(t, "client")
	fd, address := server.Listen(w.Far.Address, 2)
	client.Dial(address)
	eventually(t, hasty(), fmt.Sprintf(`^FD304 warning pid %d \(server\): listener %s fd %d: 1 connection waits in its backlog of 2, one has waited for `, server.PID, regexp.QuoteMeta(address), fd), server.PID)
	client.Dial(address)
	client.Dial(address)
	eventually(t, hasty(), `^FD304 error .*: its backlog is full: 3 of 2, new connections are dropped, one has waited for `, server.PID)
	for range 3 {
		server.Accept(fd)
	}
	quietly(t, conns(t, unaccepted(), server.PID))
}

// Handshakes that nobody ends, as in a flood, fill a queue of their own.
func TestHandshakesUnanswered(t *testing.T) {
	w := wiretest.New(t)
	server := w.Far.Talk(t, "server")
	_, address := server.Listen(w.Far.Address, 1)
	w.Near.Deafen(t)
	for range 3 {
		w.Near.Talk(t, "client").Tell("dial " + address)
	}
	eventually(t, unaccepted(), fmt.Sprintf(`^FD304 warning pid %d \(server\): listener %s fd \d+: [23] handshakes are half open, as many as its backlog of 1 takes, and [123] of them have not been answered for a second or more`, server.PID, regexp.QuoteMeta(address)), server.PID)
}

// Each worker of a group (SO_REUSEPORT) that hangs is told of, and none that does
// not.
func TestNobodyAcceptsInAGroup(t *testing.T) {
	w := wiretest.New(t)
	one, other, client := w.Far.Talk(t, "one"), w.Far.Talk(t, "other"), w.Near.Talk(t, "client")
	n := one.Do("listen", w.Far.Address+":0", 64, 0, 1)
	address := fmt.Sprintf("%s:%d", w.Far.Address, n[1])
	m := other.Do("listen", address, 64, 0, 1)
	for range 40 { // the kernel deals them out by a hash: both get some
		client.Dial(address)
	}
	for _, k := range []*wiretest.Talker{one, other} {
		eventually(t, hasty(), fmt.Sprintf(`^FD304 warning pid %d .*connections? waits? in its backlog of 64, one has waited for .*, one of 2 such listeners of its address`, k.PID), one.PID, other.PID)
	}
	queued := 0
	for _, s := range connsTwice(t, hasty(), func() {}, other.PID).Sockets {
		if s.Backlog != nil {
			queued = int(s.Backlog.Queued)
		}
	}
	for range queued {
		other.Accept(m[0])
	}
	if said := messages(conns(t, unaccepted(), one.PID, other.PID)); len(said) != 1 || !strings.Contains(said[0], fmt.Sprintf("pid %d ", one.PID)) {
		t.Errorf("of one worker that hangs it says %q", said)
	}
}

// A worker that hangs is missed by one look while another has more in its queue; it
// is not called well, and two looks tell.
func TestNobodyAcceptsInABusyGroup(t *testing.T) {
	w := wiretest.New(t)
	hung, busy, client := w.Far.Talk(t, "hung"), w.Far.Talk(t, "busy"), w.Near.Talk(t, "client")
	n := hung.Do("listen", w.Far.Address+":0", 64, 0, 1)
	address := fmt.Sprintf("%s:%d", w.Far.Address, n[1])
	m := busy.Do("listen", address, 64, 0, 1)
	queued := func(k *wiretest.Talker) (n int) {
		for _, s := range connsTwice(t, unaccepted(), func() {}, k.PID).Sockets {
			if s.Backlog != nil {
				n = int(s.Backlog.Queued)
			}
		}
		return n
	}
	// What the kernel deals out by a hash comes to both of them.
	deal := func(want func() bool) {
		for range 60 {
			if want() {
				return
			}
			client.Dial(address)
		}
		t.Fatal("the kernel gives all connections to one of two listeners")
	}
	accept := func() {
		for range queued(busy) {
			busy.Accept(m[0])
		}
	}
	deal(func() bool { return queued(hung) >= 2 })
	old, then := queued(hung), time.Now()
	accept()
	limits := unaccepted()
	limits.Waiting = 2 * time.Second
	eventually(t, limits, fmt.Sprintf(`^FD304 warning pid %d `, hung.PID), hung.PID, busy.PID)
	// However long the rest takes, what comes now is younger than this.
	between := then.Add(time.Since(then) / 2)
	deal(func() bool { return queued(busy) >= old })
	limits.Waiting = time.Since(between)
	if said := messages(conns(t, limits, hung.PID, busy.PID)); len(said) != 2 || !strings.HasPrefix(said[0], "FD304 note ") || !strings.HasPrefix(said[1], "FD304 note ") ||
		!strings.Contains(said[0], "of the 2 listeners of its address for which some wait, one does not accept: one has waited for ") {
		t.Errorf("one look says %q", said)
	}
	limits.Waiting = time.Since(between)
	c := connsTwice(t, limits, func() {
		accept()
		deal(func() bool { return queued(busy) >= 1 })
	}, hung.PID, busy.PID)
	if said := messages(c); len(said) != 1 || !strings.HasPrefix(said[0], fmt.Sprintf("FD304 warning pid %d ", hung.PID)) {
		t.Errorf("two looks say %q", said)
	}
}
