package inspect

import (
	"fmt"

	"stray/fdscan"
)

// listener judges the accept queue of a listener.
func (x *examiner) listener(s *fdscan.Socket, served Serving) []Diagnosis {
	b, w := s.Backlog, s.Health.Waiting
	if b == nil || w == nil {
		return nil
	}
	// The kernel takes one more than the limit.
	full, old := b.Queued > b.Limit, w.Oldest >= x.limits.Waiting && w.Connections > 0
	dropped := uint32(0)
	if t := s.Health.Trend; t != nil {
		dropped = t.Dropped
	}
	d := Diagnosis{Ailment: NotAccepted, Rule: "FD304", Severity: Warning, For: w.Oldest}
	switch {
	case full && (old || served.No()), dropped > 0 && full:
		d.Severity = Error
		d.Text = fmt.Sprintf("its backlog is full: %d of %d, new connections are dropped", b.Queued, b.Limit)
	case full:
		d.Text = fmt.Sprintf("its backlog is full at this moment: %d of %d", b.Queued, b.Limit)
	case old:
		d.Text = fmt.Sprintf("%s in its backlog of %d", waits(int(b.Queued)), b.Limit)
	case w.Group > 1 && b.Queued > 0 && w.GroupOldest >= x.limits.Waiting && w.GroupTold < x.limits.Waiting:
		return []Diagnosis{x.someoneOf(s)}
	case w.Group > 1 && b.Queued > 0 && x.glance && x.twice: // two looks may tell
	case floods(s):
		d.Text = fmt.Sprintf("%d handshakes are half open, as many as its backlog of %d takes, and %d of them have not been answered for a second or more: a flood, or answers that get lost", w.HalfOpen, b.Limit, w.Unanswered)
		if dropped > 0 {
			d.Text = join(d.Text, fmt.Sprintf("%s dropped in the last %s", many(int(dropped), "handshake segment"), span(s.Health.Trend.Over)))
		}
		return []Diagnosis{d}
	case dropped > 0:
		d.Text = fmt.Sprintf("backlog %d of %d", b.Queued, b.Limit)
	case x.twice && s.Health.Memory != nil && s.Health.Memory.Drops > 0: // they may go on
	default:
		return nil
	}
	if old {
		d.Text = join(d.Text, fmt.Sprintf("one has waited for %s", span(w.Oldest)))
	}
	switch {
	case w.Closed > 0 && b.Queued == 1:
		d.Text = join(d.Text, "closed by its client already")
	case w.Closed > 0:
		d.Text = join(d.Text, fmt.Sprintf("%d of them closed by the client already", w.Closed))
	}
	if w.Group > 1 {
		d.Text = join(d.Text, fmt.Sprintf("one of %d such listeners of its address", w.Group))
	}
	if dropped > 0 {
		d.Text = join(d.Text, fmt.Sprintf("%s dropped in the last %s", many(int(dropped), "handshake segment"), span(s.Health.Trend.Over)))
	} else if m := s.Health.Memory; m != nil && m.Drops > 0 {
		d.Text = join(d.Text, fmt.Sprintf("%s dropped since it listens", many(int(m.Drops), "handshake segment")))
	}
	switch {
	case served.No():
		d.Text += ": nobody accepts"
	case served == Serves && old:
		d.Text += ": someone waits on it, and does not accept"
	case old:
		d.Text += ": nobody has accepted"
	}
	d.Text = join(d.Text, holderStopped(s))
	if n := x.network; n != nil && n.ListenOverflows != nil && *n.ListenOverflows > 0 {
		d.Evidence = append(d.Evidence, fmt.Sprintf("ListenOverflows of its network namespace: %d since that exists", *n.ListenOverflows))
	}
	return []Diagnosis{d}
}

// someoneOf judges a listener of a group (SO_REUSEPORT) one of which does not
// accept: which of them, cannot be told.
func (x *examiner) someoneOf(s *fdscan.Socket) Diagnosis {
	b, w := s.Backlog, s.Health.Waiting
	d := Diagnosis{Ailment: NotAccepted, Rule: "FD304", Severity: Note, For: w.GroupOldest}
	d.Text = fmt.Sprintf("%s in its backlog of %d; of the %d listeners of its address for which some wait, one does not accept: one has waited for %s", waits(int(b.Queued)), b.Limit, w.Group, span(w.GroupOldest))
	if s.Health.Trend == nil {
		d.Text += "; two looks may tell which"
	}
	return d
}

// floods reports a listener whose half-open handshakes are as many as the kernel
// keeps for it (inet_csk_reqsk_queue_is_full), and no mere burst.
func floods(s *fdscan.Socket) bool {
	w := s.Health.Waiting
	return w.HalfOpen >= int(max(s.Backlog.Limit, 1)) && 2*w.Unanswered >= w.HalfOpen
}

func waits(n int) string {
	if n == 1 {
		return "1 connection waits"
	}
	return fmt.Sprintf("%d connections wait", n)
}

// unixFull is a send queue of a unix socket that is half full by the default of
// net.core.wmem_default, 208 kB: its process will soon block, or does.
const unixFull = 100_000

// unix judges a unix stream socket. The kernel tells no times of these.
func (x *examiner) unix(s *fdscan.Socket) []Diagnosis {
	if s.Type == "dgram" || s.State != fdscan.Established {
		return nil
	}
	trend := s.Health.Trend
	if s.Health.PeerClosed {
		unread := s.Unread()
		if trend == nil && unread == 0 && !x.twice {
			return nil // it may have been closed a moment ago
		}
		d := Diagnosis{Ailment: CloseWaiting, Rule: "FD301", Severity: Note, Text: "the other end is closed, and this one is not (since when, the kernel does not tell)"}
		if trend != nil {
			d.For = trend.Over
			d.Text = fmt.Sprintf("the other end has been closed for %s at least, and this one is not", span(trend.Over))
		}
		if unread > 0 {
			d.Text = join(d.Text, amount(uint64(unread))+" unread")
			if trend != nil && trend.RecvQueue == 0 {
				d.Severity = Warning
			}
		}
		d.Text = join(d.Text, holderStopped(s))
		return []Diagnosis{d}
	}
	if s.SendQueue == nil || *s.SendQueue < unixFull {
		return nil
	}
	peer := s.Health.Peer
	peerStopped := peer != nil && len(peer.Holders) > 0 && stopped(peer.Holders[0].Process)
	unmoved := trend != nil && trend.SendQueue >= 0
	if !x.glance && !peerStopped && !unmoved {
		return nil // one look cannot tell a full queue from a busy one
	}
	d := Diagnosis{Ailment: Stalled, Rule: "FD303", Severity: Warning, Text: amount(uint64(*s.SendQueue)) + " (in the kernel's memory) that the other end does not read"}
	if unmoved {
		d.For = trend.Over
		d.Text += fmt.Sprintf(", for %s at least", span(trend.Over))
	}
	if text := PeerText(s); text != "" {
		d.Text += "; " + text
	}
	return []Diagnosis{d}
}

// datagrams judges the receive queue of a datagram socket.
func (x *examiner) datagrams(s *fdscan.Socket) []Diagnosis {
	m := s.Health.Memory
	if m == nil {
		return nil
	}
	d := Diagnosis{Ailment: Dropping, Rule: "FD306", Severity: Warning}
	// A datagram is refused that would exceed the buffer: what is nearly full
	// refuses the next large one.
	full := m.Drops > 0 && uint64(m.RmemAlloc)*4 >= uint64(m.Rcvbuf)*3
	switch t := s.Health.Trend; {
	case t != nil && t.Dropped > 0:
		d.Text = fmt.Sprintf("%s dropped in the last %s, %d since it was opened", many(int(t.Dropped), "datagram"), span(t.Over), m.Drops)
		d.For = t.Over
	case full:
		d.Text = fmt.Sprintf("its receive queue is full, %s dropped since it was opened", many(int(m.Drops), "datagram"))
	case x.twice && m.Drops > 0:
		return []Diagnosis{d} // whether it goes on takes a second look to tell
	default:
		return nil
	}
	d.Text = join(d.Text, fmt.Sprintf("%s of %s used", amount(uint64(m.RmemAlloc)), amount(uint64(m.Rcvbuf))), holderStopped(s))
	return []Diagnosis{d}
}
