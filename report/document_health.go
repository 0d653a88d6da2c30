package report

import (
	"time"

	"stray/fdscan"
	"stray/inspect"
)

// Health is how a connection or a listener fares.
type Health struct {
	// TCP is null for what is no TCP, and where there is no tcp_info.
	TCP *TCP `json:"tcp"`
	// Peer is the other end, when it is on this machine.
	Peer     *HealthPeer  `json:"peer"`
	Waiting  *Waiting     `json:"waiting"`
	Dropped  *uint32      `json:"dropped"`
	Subflows []Subflow    `json:"subflows"`
	Trend    *HealthTrend `json:"trend"`
	// Diagnoses say what is wrong.
	Diagnoses []Diagnosis `json:"diagnoses"`
}

// TCP is the part of struct tcp_info that tells of health.
type TCP struct {
	Retransmits       uint8    `json:"retransmits"`
	TotalRetransmits  uint32   `json:"total_retransmissions"`
	Probes            uint8    `json:"probes"`
	Backoff           uint8    `json:"backoff"`
	RTO               float64  `json:"rto_seconds"`
	RTT               float64  `json:"rtt_seconds"`
	LastDataSent      float64  `json:"last_data_sent_seconds"`
	LastDataRecv      float64  `json:"last_data_recv_seconds"`
	LastAckRecv       float64  `json:"last_ack_recv_seconds"`
	Unacknowledged    uint64   `json:"unacknowledged"`
	Unsent            uint64   `json:"unsent"`
	Unread            uint32   `json:"unread"`
	BytesAcked        uint64   `json:"bytes_acked"`
	BytesReceived     uint64   `json:"bytes_received"`
	CongestionControl *string  `json:"congestion_control"`
	CongestionWindow  uint32   `json:"congestion_window"`
	PeerWindow        uint32   `json:"peer_window"`
	WindowLimited     float64  `json:"window_limited_seconds"`
	SendBufferLimited float64  `json:"send_buffer_limited_seconds"`
	ShutRead          bool     `json:"shut_read"`
	ShutWrite         bool     `json:"shut_write"`
	Keepalive         *bool    `json:"keepalive"`
	KeepaliveIdle     *float64 `json:"keepalive_idle_seconds"`
	KeepaliveInterval *float64 `json:"keepalive_interval_seconds"`
	KeepaliveProbes   *int     `json:"keepalive_probes"`
	UserTimeout       *float64 `json:"user_timeout_seconds"`
}

// HealthPeer is the other end of a connection on this machine.
type HealthPeer struct {
	NetNS     *uint64      `json:"netns"`
	State     string       `json:"state"`
	Inode     *uint64      `json:"inode"`
	Unread    uint32       `json:"unread"`
	Processes []PeerHolder `json:"processes"`
}

// PeerHolder is a process at the other end.
type PeerHolder struct {
	PID  int    `json:"pid"`
	FD   *int   `json:"fd"`
	Comm string `json:"comm"`
	// State is that of /proc/PID/stat: T is stopped.
	State string `json:"state"`
}

// Waiting is what waits for a listener.
type Waiting struct {
	Connections int     `json:"connections"`
	Closed      int     `json:"closed"`
	Oldest      float64 `json:"oldest_seconds"`
	HalfOpen    int     `json:"half_open"`
}

// Subflow is one of the TCP connections of an MPTCP connection.
type Subflow struct {
	State  string    `json:"state"`
	Local  Endpoint  `json:"local"`
	Remote *Endpoint `json:"remote"`
	TCP    *TCP      `json:"tcp"`
}

// HealthTrend is what two looks show.
type HealthTrend struct {
	Over            float64 `json:"over_seconds"`
	SendQueue       int64   `json:"send_queue"`
	RecvQueue       int64   `json:"recv_queue"`
	Acked           uint64  `json:"acked"`
	Received        uint64  `json:"received"`
	Retransmissions uint32  `json:"retransmissions"`
	Dropped         uint32  `json:"dropped"`
	Heard           bool    `json:"heard"`
}

// Diagnosis is what is wrong with a socket.
type Diagnosis struct {
	Ailment  string   `json:"ailment"`
	Rule     string   `json:"rule"`
	Severity string   `json:"severity"`
	For      *float64 `json:"for_seconds"`
	Text     string   `json:"text"`
}

func newHealth(s *inspect.Socket) *Health {
	h := s.Health
	if h == nil {
		return nil
	}
	j := &Health{
		TCP: newTCP(s.Socket),
		Subflows: list(h.Subflows, func(sub *fdscan.Socket) Subflow {
			flow := Subflow{string(sub.State), newEndpoint(sub.Local), nil, newTCP(sub)}
			if sub.Remote != (fdscan.Endpoint{}) {
				flow.Remote = new(newEndpoint(sub.Remote))
			}
			return flow
		}),
		Diagnoses: list(s.Diagnoses, func(d inspect.Diagnosis) Diagnosis {
			return Diagnosis{string(d.Ailment), d.Rule, d.Severity.String(), orNull(d.For.Seconds()), text(d.Text)}
		}),
	}
	if p := inspect.PeerOf(s.Socket); p != nil {
		j.Peer = &HealthPeer{orNull(p.NetNS), string(p.State), orNull(p.Inode), p.Unread(), list(p.Holders, func(h *fdscan.Holder) PeerHolder {
			return PeerHolder{h.Process.PID, descriptor(h.FD), text(h.Process.Comm), string(rune(h.Process.State))}
		})}
	}
	if w := h.Waiting; w != nil {
		j.Waiting = &Waiting{w.Connections, w.Closed, w.Oldest.Seconds(), w.HalfOpen}
	}
	if h.Memory != nil {
		j.Dropped = &h.Memory.Drops
	}
	if t := h.Trend; t != nil {
		j.Trend = &HealthTrend{t.Over.Seconds(), t.SendQueue, t.RecvQueue, t.Acked, t.Received, t.Retransmissions, t.Dropped, t.Heard}
	}
	return j
}

func newTCP(s *fdscan.Socket) *TCP {
	h := s.Health
	if h == nil || h.TCP == nil || s.State == fdscan.Listen {
		return nil
	}
	t := h.TCP
	unsent, unacknowledged := inspect.Unsent(s)
	j := &TCP{
		Retransmits: t.Retransmits, TotalRetransmits: t.TotalRetrans, Probes: t.Probes, Backoff: t.Backoff, RTO: t.RTO.Seconds(), RTT: t.RTT.Seconds(),
		LastDataSent: t.LastDataSent.Seconds(), LastDataRecv: t.LastDataRecv.Seconds(), LastAckRecv: t.LastAckRecv.Seconds(),
		Unacknowledged: unacknowledged, Unsent: unsent, Unread: s.Unread(), BytesAcked: t.BytesAcked, BytesReceived: t.BytesReceived,
		CongestionControl: orNull(text(h.Congestion)), CongestionWindow: t.SndCwnd, PeerWindow: t.SndWnd,
		WindowLimited: t.RwndLimited.Seconds(), SendBufferLimited: t.SndbufLimited.Seconds(), ShutRead: h.ShutRead, ShutWrite: h.ShutWrite,
	}
	if o := h.Options; o != nil {
		inSeconds := func(d time.Duration) *float64 { return new(d.Seconds()) }
		j.Keepalive, j.KeepaliveIdle, j.KeepaliveInterval, j.KeepaliveProbes = &o.Keepalive, inSeconds(o.Idle), inSeconds(o.Interval), &o.Count
		j.UserTimeout = inSeconds(o.UserTimeout)
	}
	return j
}
