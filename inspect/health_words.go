package inspect

import (
	"fmt"
	"strings"
	"time"

	"stray/fdscan"
)

// span writes a duration for people, in its largest unit: "57 s", "15 min",
// "5 h", "3 d". It counts what is over, as a table beside it does.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(0, d.Milliseconds()))
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// about is as span, for what is still to come: to the nearest second or minute.
func about(d time.Duration) string {
	if d < 2*time.Minute {
		return span(d.Round(time.Second))
	}
	return span(d.Round(time.Minute))
}

// amount writes bytes in decimal units, with two digits at least: "12 kB",
// "3.8 MB".
func amount(n uint64) string {
	const k = 1000
	if n < k {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), 0
	for v >= k && unit < 4 {
		v, unit = v/k, unit+1
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %cB", v, " kMGT"[unit])
	}
	return fmt.Sprintf("%.0f %cB", v, " kMGT"[unit])
}

func many(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Unsent is what of the send queue was never sent, and Unacked what was sent and
// not acknowledged; in bytes. Unknown, everything counts as unacknowledged. A FIN
// counts as one byte; so does the SYN of a connect, which is left out.
func Unsent(s *fdscan.Socket) (unsent, unacked uint64) {
	if s.SendQueue == nil {
		return 0, 0
	}
	queue := uint64(*s.SendQueue)
	if s.State == fdscan.SynSent && queue > 0 {
		queue--
	}
	switch {
	case s.Health == nil:
	case len(s.Health.Subflows) > 0:
		// What is on its way is so by one of the subflows; where the peer knows no
		// MPTCP, the only one has all of it.
		for _, sub := range s.Health.Subflows {
			n, m := Unsent(sub)
			unsent, unacked = unsent+n, unacked+m
		}
		return max(unsent, queue-min(queue, unacked)), unacked
	case s.Health.TCP != nil:
		unsent = min(queue, uint64(s.Health.TCP.NotsentBytes))
	}
	return unsent, queue - unsent
}

// Retransmissions counts what was sent again. One that could not leave this machine
// is missing in the kernel's total (tcp_retransmit_skb), and counted by its timer.
func Retransmissions(t *fdscan.TCPInfo) uint32 {
	return max(t.TotalRetrans, uint32(t.Retransmits))
}

// undelivered says what of the send queue has not arrived: "2.0 kB
// unacknowledged, 12 kB unsent"; "" when nothing waits.
func undelivered(s *fdscan.Socket) string {
	var parts []string
	unsent, unacked := Unsent(s)
	if unacked > 0 {
		parts = append(parts, amount(unacked)+" unacknowledged")
	}
	if unsent > 0 {
		parts = append(parts, amount(unsent)+" unsent")
	}
	return strings.Join(parts, ", ")
}

// PeerText says who is at the other end on this machine, and what that is doing:
// "peer is pid 26610 rpc, STOPPED, 113 kB unread"; "" when it is elsewhere.
func PeerText(s *fdscan.Socket) string {
	if s.Health == nil {
		return ""
	}
	p := PeerOf(s)
	if p == nil {
		return ""
	}
	var parts []string
	switch {
	case len(p.Holders) > 0:
		h := p.Holders[0].Process
		parts = append(parts, fmt.Sprintf("peer is pid %d %s", h.PID, h.Comm))
		if stopped(h) {
			parts = append(parts, "STOPPED")
		}
		if others := processesOf(p.Holders) - 1; others == 1 {
			parts = append(parts, "and 1 more process")
		} else if others > 1 {
			parts = append(parts, fmt.Sprintf("and %d more processes", others))
		}
	case p.Inode == 0 && (p.State == fdscan.Established || p.State == fdscan.CloseWait):
		parts = append(parts, "peer is in the backlog of a listener: nobody has accepted it")
	case p.Inode == 0:
		parts = append(parts, fmt.Sprintf("peer is on this machine in %s, and no process owns it", p.State))
	default:
		parts = append(parts, "peer is a process on this machine that could not be seen")
	}
	if p.NetNS != s.NetNS {
		parts = append(parts, "in another network namespace")
	}
	if unread := p.Unread(); unread > 0 {
		parts = append(parts, amount(uint64(unread))+" unread")
	}
	return strings.Join(parts, ", ")
}

// PeerOf is the other end of a connection, or of the first subflow of which it is
// known; nil when it is not on this machine.
func PeerOf(s *fdscan.Socket) *fdscan.Socket {
	if s.Health == nil {
		return nil
	}
	if s.Health.Peer != nil {
		return s.Health.Peer
	}
	for _, sub := range s.Health.Subflows {
		if sub.Health.Peer != nil {
			return sub.Health.Peer
		}
	}
	return nil
}

func processesOf(holders []*fdscan.Holder) int {
	pids := map[int]bool{}
	for _, h := range holders {
		pids[h.Process.PID] = true
	}
	return len(pids)
}

// stopped reports a process that a signal or a tracer holds.
func stopped(p *fdscan.Process) bool { return p.State == 'T' || p.State == 't' }

// join is a sentence of parts, less those that are empty.
func join(parts ...string) string {
	var said []string
	for _, p := range parts {
		if p != "" {
			said = append(said, p)
		}
	}
	return strings.Join(said, ", ")
}
