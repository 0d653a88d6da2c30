package inspect

import (
	"math/bits"
	"time"

	"stray/fdscan"
)

// outlook says how long the kernel goes on with a connection from which nothing
// comes, in words for a bracket; "" when that cannot be told.
func (x *examiner) outlook(s *fdscan.Socket) string {
	t, n := s.Health.TCP, x.network
	if t == nil || n == nil || !n.Known {
		return ""
	}
	user := time.Duration(0)
	if s.Health.Options != nil {
		user = s.Health.Options.UserTimeout
	}
	switch {
	case s.State == fdscan.SynSent:
		if user > 0 {
			return givesUp(about(max(user-sinceFirst(t, n), expires(s))), true)
		}
		return givesUp(about(synTimeouts(s, n)), false)
	case s.Timer == nil:
		return ""
	case s.Timer.Kind == "probe" && s.Inode == 0:
		return givesUp(about(orphanProbes(s, n)), false)
	case s.Timer.Kind == "probe" && user > 0:
		return "the kernel gives up after a TCP_USER_TIMEOUT of " + about(user)
	case s.Timer.Kind == "probe" && t.Probes == 0:
		return "the kernel goes on for ever while the peer answers its probes"
	case s.Timer.Kind == "probe":
		left := expires(s)
		for i := int(t.Probes) + 1; i < n.Retries2; i++ {
			left += min(n.RTOMax, shift(t.RTO, i))
		}
		return givesUp(about(left), false)
	case s.Timer.Kind == "keepalive":
		return keepaliveOutlook(s, n)
	case s.Timer.Kind != "retransmit":
		return ""
	case user > 0:
		return givesUp(about(max(user-sinceFirst(t, n), expires(s))), true)
	}
	retries := n.Retries2
	if s.Inode == 0 {
		if retries = n.OrphanRetries; retries == 0 && t.RTO < n.RTOMax {
			retries = 8 // tcp_orphan_retries of net/ipv4/tcp_timer.c
		}
	}
	// It gives up when the timer first runs out after its patience has.
	left := expires(s)
	for i := 1; i < 1<<8 && sinceFirst(t, n)+left < patience(n, retries); i++ {
		left += min(n.RTOMax, shift(t.RTO, i))
	}
	return givesUp(about(left), false)
}

// synTimeouts is for how long the kernel still waits for an answer to a connect:
// tcp_write_timeout and tcp_retransmit_timer of net/ipv4/tcp_timer.c.
func synTimeouts(s *fdscan.Socket, n *fdscan.Network) time.Duration {
	t := s.Health.TCP
	left, pause := expires(s), t.RTO
	for sent := int(t.Retransmits) + 1; sent <= n.SynRetries+n.SynLinear; sent++ {
		if sent > n.SynLinear {
			pause = min(n.RTOMax, shift(pause, 1))
		}
		left += pause
	}
	return left
}

func givesUp(in string, user bool) string {
	if user {
		return "the kernel gives up in about " + in + ", by its TCP_USER_TIMEOUT"
	}
	return "the kernel gives up in about " + in
}

// keepaliveOutlook is what SO_KEEPALIVE comes to when nobody answers. Where the
// socket could not be asked, it has most likely what its namespace gives it.
func keepaliveOutlook(s *fdscan.Socket, n *fdscan.Network) string {
	o := s.Health.Options
	if o == nil {
		o = &fdscan.ConnectionOptions{Interval: n.KeepaliveInterval, Count: n.KeepaliveProbes}
	}
	left := expires(s) + time.Duration(max(0, o.Count-int(s.Health.TCP.Probes)))*o.Interval
	if o.UserTimeout > 0 {
		left = max(expires(s), min(left, o.UserTimeout))
	}
	return givesUp(about(left), false)
}

func expires(s *fdscan.Socket) time.Duration {
	if s.Timer == nil {
		return 0
	}
	return s.Timer.Expires
}

// patience is for how long the kernel sends a segment again before it gives up:
// tcp_model_timeout of net/ipv4/tcp_timer.c. It doubles the least timeout up to
// the greatest, whatever the connection's own timeout is.
func patience(n *fdscan.Network, retries int) time.Duration {
	const base = 200 * time.Millisecond // TCP_RTO_MIN, whatever tcp_rto_min_us says
	most := max(base, n.RTOMax)
	if retries < 0 {
		return 0
	}
	doublings := bits.Len64(uint64(most/base)) - 1
	if retries <= doublings {
		return base * time.Duration((2<<min(retries, 40))-1)
	}
	return base*time.Duration((2<<min(doublings, 40))-1) + time.Duration(retries-doublings)*most
}

// orphanProbes is for how long the kernel keeps probing the window of a peer for
// a connection that no process owns: until the pause between two probes has grown
// to its greatest (tcp_probe_timer of net/ipv4/tcp_timer.c).
func orphanProbes(s *fdscan.Socket, n *fdscan.Network) time.Duration {
	t := s.Health.TCP
	left := expires(s)
	for b := int(t.Backoff); b < 40 && shift(t.RTO, b) < n.RTOMax; b++ {
		left += min(n.RTOMax, shift(t.RTO, b+1))
	}
	return left
}

// shift doubles d by times, without overflow.
func shift(d time.Duration, by int) time.Duration {
	for ; by > 0 && d < 24*time.Hour; by-- {
		d *= 2
	}
	return d
}

// sinceFirst is how long the oldest segment has been sent again, as far as the
// kernel tells; never more than it is.
func sinceFirst(t *fdscan.TCPInfo, n *fdscan.Network) time.Duration {
	if t.TotalRTORecoveries == 1 {
		return t.TotalRTOTime // exactly: there was no other time (Linux 6.7)
	}
	// The timer has run out once for each doubling; where it does not double, as
	// with a link that is down, once for each retransmission.
	least := shift(t.RTO>>min(t.Backoff, 30), int(t.Backoff)) - t.RTO>>min(t.Backoff, 30)
	pause := 200 * time.Millisecond
	if n != nil && n.RTOMin > 0 {
		pause = n.RTOMin
	}
	return max(least, time.Duration(t.Retransmits)*pause)
}
