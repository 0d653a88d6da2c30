package proctest

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

func TestTimeWait(t *testing.T) {
	testenv.NeedIPv6(t)
	p := Start(t, "timewait tcp4 127.0.0.1:0 name=four; timewait tcp6 [::1]:0 name=six")
	for name, table := range map[string]string{"four": "tcp", "six": "tcp6"} {
		// Nothing else is left on the port: not the listener, not the peer.
		if r := onlyRow(t, p.PID, table, p.Socket(name).Port()); r.state != "06" || r.inode != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if err := canBind(t, p.Socket("four").Port()); err != unix.EADDRINUSE {
		t.Errorf("bind to the port: %v", err)
	}
	if len(p.Descriptors) != 0 {
		t.Errorf("descriptors %+v are left", p.Descriptors)
	}
}

func TestOrphan(t *testing.T) {
	p := Start(t, "orphan tcp4 127.0.0.1:0")
	r := onlyRow(t, p.PID, "tcp", p.Socket("orphan").Port())
	if r.state != "04" || r.inode != 0 || r.sendQueue == 0 {
		t.Errorf("%+v", r)
	}
	client := p.Socket("orphanclient")
	if peer := connectionRow(t, p.PID, client); peer.state != "01" || peer.inode != client.Inode || peer.recvQueue == 0 {
		t.Errorf("peer %+v", peer)
	}
}

func TestBacklog(t *testing.T) {
	p := Start(t, "listen tcp4 127.0.0.1:0 name=l backlog=2; backlog l 5; listen unix @proctest-backlog; backlog 2")
	listener := p.Socket("l")
	var waiting int
	for _, r := range rows(t, p.PID, "tcp", listener.Port()) {
		switch r.state {
		case "0A": // one more than the limit fits
			if r.inode != listener.Inode || r.recvQueue != 3 {
				t.Errorf("listener %+v", r)
			}
		case "01":
			waiting++
			if r.inode != 0 {
				t.Errorf("%+v has been accepted", r)
			}
		}
	}
	if waiting != 3 {
		t.Errorf("%d connections wait", waiting)
	}
	states := map[string]int{}
	for i, name := range []string{"client", "client2", "client3", "client4", "client5"} {
		d := p.Descriptor(name)
		info, err := unix.GetsockoptTCPInfo(borrow(t, p.PID, d.FD), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		const established, synSent = 1, 2
		switch {
		case i < 3 && info.State == established:
			states["established"]++
		case i >= 3 && info.State == synSent:
			states["waiting"]++
		}
	}
	if states["established"] != 3 || states["waiting"] != 2 {
		t.Errorf("states %v", states)
	}
	if p.Descriptor("client7").Inode == 0 {
		t.Error("no client of the unix listener")
	}
}

// Connections come to every state by closing and shutting down their ends.
func TestConnectionStates(t *testing.T) {
	const connection = "listen tcp4 127.0.0.1:0 name=l; connect tcp4 l name=c; accept l name=s; close l; "
	for _, tt := range []struct{ state, script, client, server string }{
		{"half-closed", "shutdown c write; await s CLOSE_WAIT", "05", "08"},
		{"closed", "close c; await s CLOSE_WAIT", "05", "08"},
		{"last ack", "shutdown c write; await s CLOSE_WAIT; fill s; shutdown s write; await s LAST_ACK", "05", "09"},
		{"unread", "send c 100; send c 23", "01", "01"},
		{"stalled", "fill c", "01", "01"},
	} {
		t.Run(tt.state, func(t *testing.T) {
			p := Start(t, connection, tt.script)
			client, server := connectionRow(t, p.PID, p.Socket("c")), connectionRow(t, p.PID, p.Socket("s"))
			for end := time.Now().Add(10 * time.Second); client.state != tt.client && time.Now().Before(end); time.Sleep(time.Millisecond) {
				client = connectionRow(t, p.PID, p.Socket("c")) // what the server acknowledges it hears later
			}
			if client.state != tt.client || server.state != tt.server {
				t.Errorf("client %+v, server %+v", client, server)
			}
			switch tt.state {
			case "unread":
				if server.recvQueue != 123 {
					t.Errorf("%d bytes unread", server.recvQueue)
				}
			case "stalled":
				if client.sendQueue == 0 || server.recvQueue == 0 {
					t.Errorf("client %+v, server %+v", client, server)
				}
			}
		})
	}
}

func TestConnectNonblocking(t *testing.T) {
	p := Start(t, "listen tcp4 127.0.0.1:0 name=l backlog=0; backlog l 1; connect tcp4 l name=c nonblock=1")
	found := rows(t, p.PID, "tcp", p.Socket("c").Port())
	if !slices.ContainsFunc(found, func(r row) bool { return r.inode == p.Socket("c").Inode && r.state == "02" }) {
		t.Errorf("rows %+v", found)
	}
}
