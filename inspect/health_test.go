package inspect_test

import (
	"net/netip"
	"testing"
	"time"

	"stray/fdscan"
	"stray/inspect"
)

// connection is one to a machine far away, healthy and quiet.
func connection(change func(s *fdscan.Socket, t *fdscan.TCPInfo)) *fdscan.Socket {
	tcp := &fdscan.TCPInfo{
		Size: 280, RTO: 200 * time.Millisecond, RTT: 20 * time.Millisecond, SndWnd: 65536,
		LastDataSent: time.Second, LastDataRecv: time.Second, LastAckRecv: time.Second,
	}
	s := &fdscan.Socket{
		Protocol: fdscan.TCP, Family: fdscan.Inet, State: fdscan.Established, Inode: inode, NetNS: 1, NetNSMine: true,
		Local:     fdscan.Endpoint{Addr: netip.MustParseAddr("10.1.2.3"), Port: 8080},
		Remote:    fdscan.Endpoint{Addr: netip.MustParseAddr("10.77.0.2"), Port: 51140},
		RecvQueue: new(uint32(0)), SendQueue: new(uint32(0)), Health: &fdscan.Health{TCP: tcp},
		Holders: []*fdscan.Holder{{Process: &fdscan.Process{PID: 812, Comm: "app", State: 'S'}, FD: 19, Slot: -1, Via: fdscan.ViaTable}},
	}
	change(s, tcp)
	return s
}

const inode = 4711

// defaults are what TCP goes by where nobody has changed it.
var defaults = &fdscan.Network{
	NetNS: 1, Known: true, Retries2: 15, SynRetries: 6, RTOMin: 200 * time.Millisecond, RTOMax: 2 * time.Minute,
	KeepaliveInterval: 75 * time.Second, KeepaliveProbes: 9,
}

// linear are the defaults of Linux 6.5 and later.
var linear = &fdscan.Network{Known: true, Retries2: 15, SynRetries: 6, SynLinear: 4, RTOMin: 200 * time.Millisecond, RTOMax: 2 * time.Minute}

// said is the diagnosis of a socket, by the limits that everybody has; "" for none.
func said(s *fdscan.Socket) string {
	v := &inspect.View{Snapshot: &fdscan.Snapshot{Networks: map[uint64]*fdscan.Network{1: defaults, 2: linear}}, Sockets: []*inspect.Socket{{Socket: s}}}
	v.Examine(inspect.DefaultLimits())
	text := ""
	for _, d := range v.Sockets[0].Diagnoses {
		text += d.Rule + " " + d.Severity.String() + ": " + d.Text
	}
	return text
}

func retransmitting(s *fdscan.Socket, t *fdscan.TCPInfo) {
	*s.SendQueue, t.NotsentBytes, t.Unacked = 14_000, 12_000, 2
	t.LastAckRecv, t.LastDataSent = 57*time.Second, 5*time.Second
	t.Retransmits, t.Backoff, t.TotalRetrans, t.RTO = 8, 8, 22, 51200*time.Millisecond
	t.TotalRTORecoveries, t.TotalRTOTime = 1, 56*time.Second
	s.Timer = &fdscan.Timer{Kind: "retransmit", Expires: 20 * time.Second}
}

func TestDiagnoses(t *testing.T) {
	for name, tt := range map[string]struct {
		socket *fdscan.Socket
		want   string
	}{
		"quiet": {connection(func(*fdscan.Socket, *fdscan.TCPInfo) {}), ""},
		"the phone sleeps": {
			connection(retransmitting),
			"FD302 warning: nothing acked for 57 s, 22 retransmissions, 2.0 kB unacknowledged, 12 kB unsent (the kernel gives up in about 16 min)",
		},
		"the same on a kernel that knows less": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				retransmitting(s, t)
				t.Size, t.TotalRTORecoveries, t.TotalRTOTime, t.SndWnd = 224, 0, 0, 0
			}),
			"FD302 warning: nothing acked for 57 s, 22 retransmissions, 2.0 kB unacknowledged, 12 kB unsent (the kernel gives up in about 16 min)",
		},
		"with a user timeout": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				retransmitting(s, t)
				s.Health.Options = &fdscan.ConnectionOptions{UserTimeout: 3 * time.Minute}
			}),
			"FD302 warning: nothing acked for 57 s, 22 retransmissions, 2.0 kB unacknowledged, 12 kB unsent (the kernel gives up in about 2 min, by its TCP_USER_TIMEOUT)",
		},
		// Ages count what is over, as those of the table do.
		"closed almost three minutes ago": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				s.State, t.LastDataSent, t.LastAckRecv = fdscan.CloseWait, time.Hour, 179*time.Second
			}),
			"FD301 warning: the peer closed 2 min ago, its end was read, and this side is not closed",
		},
		// The link is down: the timer does not double, and the count tells.
		"plateau": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				retransmitting(s, t)
				t.Retransmits, t.Backoff, t.RTO, t.TotalRetrans = 194, 4, 3200*time.Millisecond, 194
				t.LastAckRecv, t.TotalRTOTime = 10*time.Minute, 10*time.Minute
			}),
			"FD302 warning: nothing acked for 10 min, 194 retransmissions, 2.0 kB unacknowledged, 12 kB unsent (the kernel gives up in about 6 min)",
		},
		// A write on a connection that was idle for an hour, and one loss.
		"one loss after idling": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				retransmitting(s, t)
				t.Retransmits, t.Backoff, t.RTO, t.TotalRetrans = 1, 1, 400*time.Millisecond, 1
				t.LastAckRecv, t.TotalRTOTime = time.Hour, 300*time.Millisecond
			}), "",
		},
		"two looks clear it": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				retransmitting(s, t)
				s.Health.Trend = &fdscan.Trend{Over: 3 * time.Second, Heard: true}
			}), "",
		},
		"two looks make it certain": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				retransmitting(s, t)
				s.Health.Trend = &fdscan.Trend{Over: 3 * time.Second, SendQueue: 2000, Retransmissions: 1}
			}),
			"FD302 warning: nothing acked for 57 s, 22 retransmissions, 2.0 kB unacknowledged, 12 kB unsent, and in the last 3 s nothing came, Send-Q grew by 2.0 kB, 1 more retransmission (the kernel gives up in about 16 min)",
		},
		"a path over a satellite": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				retransmitting(s, t)
				t.RTT, t.RTO, t.LastAckRecv, t.Retransmits, t.Backoff, t.TotalRTOTime = 2*time.Second, 6*time.Second, 7*time.Second, 1, 1, 3*time.Second
			}), "",
		},
		// A window that is closed is probed; its peer is there, and answers.
		"stalled": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				*s.SendQueue, t.NotsentBytes, t.SndWnd = 3_850_000, 3_850_000, 0
				t.LastDataSent, t.LastAckRecv = 92*time.Second, 40*time.Second
				s.Timer = &fdscan.Timer{Kind: "probe", Expires: 50 * time.Second}
			}),
			"FD303 warning: 3.9 MB accepted by the kernel and undelivered for 92 s (the kernel goes on for ever while the peer answers its probes)",
		},
		"a slow reader": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				*s.SendQueue, t.NotsentBytes, t.SndWnd = 3_850_000, 3_850_000, 0
				t.LastDataSent, t.LastAckRecv = 8*time.Second, 8*time.Second
				s.Timer = &fdscan.Timer{Kind: "probe", Expires: time.Second}
			}), "",
		},
		"probes without an answer": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				*s.SendQueue, t.NotsentBytes, t.SndWnd, t.Probes, t.Backoff = 1_000_000, 1_000_000, 0, 6, 6
				t.LastDataSent, t.LastAckRecv = 40*time.Second, 30*time.Second
				s.Timer = &fdscan.Timer{Kind: "probe", Expires: 10 * time.Second}
			}),
			"FD302 warning: nothing acked for 30 s, 6 probes unanswered, 1.0 MB unsent (the kernel gives up in about 13 min)",
		},
		"an orphan": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				s.State, s.Inode, s.Holders = fdscan.FinWait1, 0, nil
				*s.SendQueue, t.NotsentBytes, t.SndWnd = 3_800_000, 3_800_000, 0
				t.LastDataSent, t.LastAckRecv = 92*time.Second, 4*time.Second
				s.Timer = &fdscan.Timer{Kind: "probe", Expires: time.Second}
			}),
			"FD303 warning: FIN_WAIT1, 3.8 MB unsent for 92 s, no process owns it: closed, or its process died (the kernel gives up in about 5 min)",
		},
		"idle, and nothing would notice": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				t.LastDataSent, t.LastDataRecv, t.LastAckRecv = 5*time.Hour, 5*time.Hour, 5*time.Hour
			}), "FD302 note: idle 5 h, no keepalive",
		},
		"idle with keepalive": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				t.LastDataSent, t.LastDataRecv, t.LastAckRecv = 5*time.Hour, 5*time.Hour, time.Hour
				s.Timer = &fdscan.Timer{Kind: "keepalive", Expires: time.Hour}
			}), "",
		},
		"idle, the peer being here": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				t.LastDataSent, t.LastDataRecv, t.LastAckRecv = 5*time.Hour, 5*time.Hour, 5*time.Hour
				s.Health.Peer = &fdscan.Socket{Protocol: fdscan.TCP}
			}), "",
		},
		"keepalive without an answer": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				t.LastDataSent, t.LastDataRecv, t.LastAckRecv, t.Probes = 3*time.Hour, 3*time.Hour, 2*time.Hour+5*time.Minute, 4
				s.Timer = &fdscan.Timer{Kind: "keepalive", Expires: 30 * time.Second}
				s.Health.Options = &fdscan.ConnectionOptions{Keepalive: true, Idle: 2 * time.Hour, Interval: 75 * time.Second, Count: 9}
			}),
			"FD302 warning: 4 keepalive probes unanswered, nothing heard for 2 h (the kernel gives up in about 7 min)",
		},
		"closed by the peer": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				s.State, *s.RecvQueue = fdscan.CloseWait, 1
				t.LastDataSent, t.LastDataRecv, t.LastAckRecv = time.Hour, time.Hour, 10*time.Minute
			}), "FD301 warning: the peer closed 10 min ago, its end is not read",
		},
		"shut down by a peer that waits": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				s.State, s.RecvQueue = fdscan.CloseWait, new(uint32(1))
				t.LastDataSent, t.LastDataRecv, t.LastAckRecv = time.Hour, time.Hour, 10*time.Minute
				s.Health.Peer = &fdscan.Socket{State: fdscan.FinWait2, NetNS: 1, Inode: 5, Holders: []*fdscan.Holder{{Process: &fdscan.Process{PID: 900, Comm: "client", State: 'S'}}}}
			}),
			"FD301 warning: the peer shut down its side 10 min ago and waits for this one, its end is not read; peer is pid 900 client",
		},
		"closed by the peer, which is being answered": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				s.State = fdscan.CloseWait
				t.LastDataSent, t.LastDataRecv, t.LastAckRecv = time.Second, time.Hour, 10*time.Minute
			}), "",
		},
		"closed by the peer before it was accepted": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				s.State, s.Inode, s.Holders = fdscan.CloseWait, 0, nil
				t.LastDataSent, t.LastDataRecv, t.LastAckRecv = time.Hour, time.Hour, 10*time.Minute
			}), "",
		},
		"half closed for long": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				s.State = fdscan.FinWait2
				t.LastDataSent, t.LastDataRecv, t.LastAckRecv = time.Hour, time.Hour, time.Hour
			}),
			"FD305 warning: shut down for writing, and nothing from the peer for 60 min: no timer ends that while a descriptor is open",
		},
		"half closed, and the peer still sends": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				s.State = fdscan.FinWait2
				t.LastDataSent, t.LastDataRecv, t.LastAckRecv = time.Hour, time.Second, time.Second
			}), "",
		},
		"a kernel without tcp_info for it": {
			connection(func(s *fdscan.Socket, _ *fdscan.TCPInfo) { s.State, s.Health.TCP = fdscan.FinWait2, nil }), "",
		},
		"connect without an answer": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				s.State, t.Retransmits, t.Backoff, t.RTO = fdscan.SynSent, 4, 4, 16*time.Second
				s.Timer = &fdscan.Timer{Kind: "retransmit", Expires: 10 * time.Second}
			}),
			"FD302 warning: connect has no answer, 5 SYNs sent (the kernel gives up in about 106 s)",
		},
		"connect with a user timeout": {
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				s.State, t.Retransmits, t.Backoff, t.RTO = fdscan.SynSent, 4, 4, 16*time.Second
				s.Timer = &fdscan.Timer{Kind: "retransmit", Expires: 10 * time.Second}
				s.Health.Options = &fdscan.ConnectionOptions{UserTimeout: 45 * time.Second}
			}),
			"FD302 warning: connect has no answer, 5 SYNs sent (the kernel gives up in about 30 s, by its TCP_USER_TIMEOUT)",
		},
		"connect whose first timeouts do not double": { // measured: 67 s after the first SYN comes the last, 131 s after it the end
			connection(func(s *fdscan.Socket, t *fdscan.TCPInfo) {
				s.NetNS, s.State, t.Retransmits, t.Backoff, t.RTO = 2, fdscan.SynSent, 9, 5, 32*time.Second
				s.Timer = &fdscan.Timer{Kind: "retransmit", Expires: 28 * time.Second}
			}),
			"FD302 warning: connect has no answer, 10 SYNs sent (the kernel gives up in about 92 s)",
		},
	} {
		if got := said(tt.socket); got != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, tt.want)
		}
		// What is diagnosed is suspect before more is known, too.
		if got := inspect.DefaultLimits().Suspect(false)(tt.socket); !got && tt.want != "" {
			t.Errorf("%s: not suspect", name)
		}
	}
}

// Every limit has a field, a default and a reason, and no two flags are alike.
func TestLimitsAreDocumented(t *testing.T) {
	limits := inspect.DefaultLimits()
	fields := map[*time.Duration]bool{}
	names := map[string]bool{}
	for _, l := range inspect.LimitTable() {
		if names[l.Name] || l.Means == "" || l.Reason == "" {
			t.Errorf("limit %+v", l)
		}
		names[l.Name] = true
		if l.Age == nil {
			continue
		}
		if age := l.Age(&limits); fields[age] || *age <= 0 {
			t.Errorf("limit %s is %s, or that of another name", l.Name, *age)
		} else {
			fields[age] = true
		}
	}
	if limits.Pile < 2 || len(names) != len(fields)+1 {
		t.Errorf("%d names for %d ages and a pile of %d", len(names), len(fields), limits.Pile)
	}
}
