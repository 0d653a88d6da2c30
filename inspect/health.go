package inspect

import (
	"fmt"
	"time"

	"stray/fdscan"
)

// Ailment is what is wrong with a connection or a listener.
type Ailment string

// The ailments, each with the rule that speaks of it.
const (
	CloseWaiting Ailment = "close-wait"   // FD301: the peer has closed
	Silent       Ailment = "silent"       // FD302: nobody answers
	Unguarded    Ailment = "unguarded"    // FD302: idle, and nothing would notice
	Stalled      Ailment = "stalled"      // FD303: data that does not get through
	Orphaned     Ailment = "orphaned"     // FD303: the same, without a process
	NotAccepted  Ailment = "not-accepted" // FD304
	HalfClosed   Ailment = "half-closed"  // FD305
	Dropping     Ailment = "dropping"     // FD306: datagrams are lost
)

// Diagnosis is an ailment of one socket.
type Diagnosis struct {
	Ailment  Ailment
	Rule     string // "FD302"
	Severity Severity
	// For is how long it has been so, as far as the kernel tells; 0 when it
	// does not.
	For time.Duration
	// Text says what is seen: "nothing acked for 57 s, 22 retransmissions".
	Text string
	// Evidence is what it rests on besides.
	Evidence []string
}

// Suspect returns what chooses, from what a socket table tells, the sockets that
// Examine may find something wrong with, and that so have to be looked at closely.
// What only two looks can show is suspect when there are two.
func (l Limits) Suspect(twice bool) func(*fdscan.Socket) bool {
	x := examiner{limits: l, glance: true, twice: twice}
	return func(s *fdscan.Socket) bool { return len(x.examine(s, Unknown)) > 0 }
}

// Examine finds what is wrong with each socket of the view, by limits.
func (v *View) Examine(limits Limits) {
	v.Limits = limits
	for _, s := range v.Sockets {
		x := examiner{limits: limits, network: v.Networks[s.NetNS]}
		s.Diagnoses = x.examine(s.Socket, s.Served)
	}
	v.forgetPairs()
}

// forgetPairs leaves unsaid what is the way of many programs: each sshd keeps its
// end of a socketpair whose other end is closed, with nothing to read in it. Many of
// one process are a pile.
func (v *View) forgetPairs() {
	isEnd := func(s *Socket) bool {
		return s.Protocol == fdscan.Unix && s.Local.Path == "" && s.Health.PeerClosed && s.Unread() == 0
	}
	ends := map[*fdscan.Process][]*Socket{}
	for _, s := range v.Sockets {
		if len(s.Diagnoses) > 0 && isEnd(s) {
			ends[s.firstProcess()] = append(ends[s.firstProcess()], s)
		}
	}
	for _, sockets := range ends {
		if len(sockets) >= v.Limits.Pile {
			continue
		}
		for _, s := range sockets {
			s.Diagnoses = nil
		}
	}
}

// examiner judges one socket at a time.
type examiner struct {
	limits  Limits
	network *fdscan.Network // nil when unknown
	// glance reports that only the table is known yet: what more knowledge could
	// clear is suspect.
	glance bool
	// twice reports that there will be a second look.
	twice bool
}

func (x *examiner) examine(s *fdscan.Socket, served Serving) []Diagnosis {
	switch {
	case s.Health == nil:
		return nil
	case s.State == fdscan.Listen:
		return x.listener(s, served)
	case s.Protocol == fdscan.Unix:
		return x.unix(s)
	case s.Protocol.Stream():
		return x.stream(s)
	}
	return x.datagrams(s)
}

// Whole is a connection with what TCP knows of it. Of an MPTCP connection, the
// subflow that has heard of the peer last speaks for all: the others' data goes
// that way too.
func Whole(s *fdscan.Socket) *fdscan.Socket {
	if s.Protocol != fdscan.MPTCP || s.Health == nil {
		return s
	}
	best := (*fdscan.Socket)(nil)
	for _, sub := range s.Health.Subflows {
		if sub.Health.TCP != nil && (best == nil || sub.Health.TCP.LastAckRecv < best.Health.TCP.LastAckRecv) {
			best = sub
		}
	}
	if best == nil {
		return s
	}
	whole, health := *s, *s.Health
	health.TCP, health.Peer, health.Trend = best.Health.TCP, best.Health.Peer, best.Health.Trend
	whole.Health, whole.Timer = &health, best.Timer
	if s.SendQueue != nil && best.SendQueue != nil && *best.SendQueue > *s.SendQueue {
		whole.SendQueue = best.SendQueue
	}
	if s.State != fdscan.CloseWait && s.State != fdscan.FinWait2 {
		whole.State = best.State
	}
	return &whole
}

// stream judges a connection of TCP or MPTCP.
func (x *examiner) stream(s *fdscan.Socket) []Diagnosis {
	whole := Whole(s)
	if whole.Health.TCP == nil && s.Protocol == fdscan.MPTCP && x.glance && (s.State == fdscan.CloseWait || x.mayStall(s)) {
		return []Diagnosis{{}} // the subflows are not known yet
	}
	s = whole
	if s.Health.TCP == nil {
		return nil // a handshake, or an orphan in FIN_WAIT2: the kernel's timer ends it
	}
	for _, judge := range []func(*fdscan.Socket) *Diagnosis{x.closeWait, x.silent, x.stalled, x.halfClosed, x.idle} {
		if d := judge(s); d != nil {
			return []Diagnosis{*d}
		}
	}
	return nil
}

// mayStall reports an MPTCP connection of which something is undelivered, that
// was not sent a moment ago: its subflows know no more than a byte of it.
func (x *examiner) mayStall(s *fdscan.Socket) bool {
	const told = 96 // bytes of mptcp_info with its times (Linux 6.10)
	m := s.Health.MPTCP
	return m != nil && m.Undelivered > 0 && (m.Size < told || m.LastDataSent >= x.limits.Stalled)
}

// closeWait judges a connection whose peer has closed it, or its side of it.
func (x *examiner) closeWait(s *fdscan.Socket) *Diagnosis {
	t := s.Health.TCP
	if s.State != fdscan.CloseWait || s.Inode == 0 {
		return nil // without an inode it waits for accept(2)
	}
	// The FIN was the last that came, or came before it. Data that was sent
	// since is an answer on its way.
	closed := t.LastAckRecv
	if closed < x.limits.CloseWait || t.LastDataSent < x.limits.CloseWait {
		return nil
	}
	d := &Diagnosis{Ailment: CloseWaiting, Rule: "FD301", Severity: Warning, For: closed}
	end := "its end was read, and this side is not closed"
	if s.RecvQueue != nil && *s.RecvQueue > 0 {
		end = "its end is not read"
	}
	d.Text = fmt.Sprintf("the peer closed %s ago, %s", span(closed), end)
	peer := PeerOf(s)
	waiting := peer != nil && peer.State == fdscan.FinWait2 && len(peer.Holders) > 0
	if waiting {
		d.Text = fmt.Sprintf("the peer shut down its side %s ago and waits for this one, %s", span(closed), end)
	}
	if n := s.Unread(); n > 0 {
		d.Text += fmt.Sprintf(", %s unread", amount(uint64(n)))
	}
	d.Text = join(d.Text, undelivered(s), holderStopped(s))
	if waiting {
		d.Text += "; " + PeerText(s)
	}
	return d
}

// silent judges a connection on which nobody answers: to data, to the probes of a
// closed window, to keepalive probes, or to the first SYN.
func (x *examiner) silent(s *fdscan.Socket) *Diagnosis {
	t, trend := s.Health.TCP, s.Health.Trend
	if trend != nil && (trend.Heard || trend.Acked > 0) || s.Timer == nil {
		return nil
	}
	d := &Diagnosis{Ailment: Silent, Rule: "FD302", Severity: Warning}
	switch {
	case s.State == fdscan.SynSent:
		if t.Retransmits < 3 {
			return nil
		}
		d.For = sinceFirst(t, x.network)
		d.Text = fmt.Sprintf("connect has no answer, %s sent", many(int(t.Retransmits)+1, "SYN"))
	case s.Timer.Kind == "retransmit" && t.Unacked > 0:
		least := sinceFirst(t, x.network)
		// Before the first loss the connection may have been idle.
		d.For = min(t.LastAckRecv, 2*least+t.RTO)
		if t.TotalRTORecoveries == 1 {
			d.For = min(t.LastAckRecv, least+t.RTO)
		}
		if t.LastAckRecv < x.limits.Silence || least < x.limits.Silence/2 || d.For < x.limits.Silence {
			return nil
		}
		d.Text = join(fmt.Sprintf("nothing acked for %s", span(d.For)), many(int(Retransmissions(t)), "retransmission"), undelivered(s))
	case s.Timer.Kind == "probe" && t.Probes >= 3 && t.LastAckRecv >= x.limits.Silence:
		// The window is closed or, when it is open, nothing gets out: the probe
		// timer runs then too.
		d.For = t.LastAckRecv
		d.Text = join(fmt.Sprintf("nothing acked for %s", span(d.For)), many(int(t.Probes), "probe")+" unanswered", undelivered(s))
	case s.Timer.Kind == "keepalive" && t.Probes >= 3:
		d.For = t.LastAckRecv
		d.Text = fmt.Sprintf("%s unanswered, nothing heard for %s", many(int(t.Probes), "keepalive probe"), span(d.For))
	default:
		return nil
	}
	if s.Inode == 0 {
		// Its process has closed it: the kernel goes on alone.
		if s.SendQueue == nil || *s.SendQueue <= 1 {
			return nil
		}
		d.Ailment, d.Rule = Orphaned, "FD303"
		d.Text = fmt.Sprintf("%s, %s, no process owns it: closed, or its process died", s.State, d.Text)
	}
	if trend != nil {
		d.Text = join(d.Text, changes(trend))
	}
	if outlook := x.outlook(s); outlook != "" {
		d.Text += " (" + outlook + ")"
	}
	if peer := PeerText(s); peer != "" {
		d.Text += "; " + peer
	}
	return d
}

// changes says what two looks show.
func changes(t *fdscan.Trend) string {
	text := fmt.Sprintf("and in the last %s nothing came", span(t.Over))
	if t.SendQueue > 0 {
		text = join(text, "Send-Q grew by "+amount(uint64(t.SendQueue)))
	}
	if t.Retransmissions > 0 {
		text = join(text, many(int(t.Retransmissions), "more retransmission"))
	}
	return text
}

// stalled judges a connection whose peer answers and does not read, so that
// nothing gets through.
func (x *examiner) stalled(s *fdscan.Socket) *Diagnosis {
	t, trend := s.Health.TCP, s.Health.Trend
	if s.SendQueue == nil || *s.SendQueue <= 1 || t.LastDataSent < x.limits.Stalled || trend != nil && trend.Acked > 0 {
		return nil // a FIN counts as one byte
	}
	if s.Timer == nil || s.Timer.Kind != "probe" {
		return nil // it is on its way, or the sender itself holds it back (TCP_CORK)
	}
	d := &Diagnosis{Ailment: Stalled, Rule: "FD303", Severity: Warning, For: t.LastDataSent}
	if s.Inode == 0 {
		d.Ailment = Orphaned
		d.Text = fmt.Sprintf("%s, %s for %s, no process owns it: closed, or its process died", s.State, undelivered(s), span(d.For))
	} else {
		d.Text = fmt.Sprintf("%s accepted by the kernel and undelivered for %s", amount(uint64(*s.SendQueue)), span(d.For))
	}
	if trend != nil && trend.SendQueue > 0 {
		d.Text = join(d.Text, fmt.Sprintf("Send-Q grew by %s in the last %s", amount(uint64(trend.SendQueue)), span(trend.Over)))
	}
	switch {
	case t.SndWnd == 0 && t.Size >= 232:
		d.Evidence = append(d.Evidence, "the peer's window is closed: it does not read")
	case t.RwndLimited > 0:
		d.Evidence = append(d.Evidence, fmt.Sprintf("the peer's window has held it up for %s in all", span(t.RwndLimited)))
	}
	if outlook := x.outlook(s); outlook != "" {
		d.Text += " (" + outlook + ")"
	}
	if peer := PeerText(s); peer != "" {
		d.Text += "; " + peer
	}
	return d
}

// halfClosed judges a connection that its process has shut down for writing, and
// whose peer does not end its side: no timer ends that.
func (x *examiner) halfClosed(s *fdscan.Socket) *Diagnosis {
	t, trend := s.Health.TCP, s.Health.Trend
	if s.State != fdscan.FinWait2 || s.Inode == 0 {
		return nil
	}
	age := min(t.LastAckRecv, t.LastDataRecv)
	if age < x.limits.HalfClosed || trend != nil && trend.Received > 0 {
		return nil
	}
	d := &Diagnosis{Ailment: HalfClosed, Rule: "FD305", Severity: Note, For: age}
	if age >= x.limits.Long {
		d.Severity = Warning
	}
	d.Text = fmt.Sprintf("shut down for writing, and nothing from the peer for %s: no timer ends that while a descriptor is open", span(age))
	if n := s.Unread(); n > 0 {
		d.Text = join(d.Text, amount(uint64(n))+" unread")
	}
	if peer := PeerText(s); peer != "" {
		d.Text += "; " + peer
	}
	return d
}

// idle judges a connection on which nothing happens: as healthy as any, but should
// the peer vanish, nothing would notice. That of a peer on this machine would be
// told at once.
func (x *examiner) idle(s *fdscan.Socket) *Diagnosis {
	t := s.Health.TCP
	if s.State != fdscan.Established || s.Timer != nil || s.Inode == 0 || s.SendQueue == nil || *s.SendQueue > 0 {
		return nil
	}
	age := min(t.LastDataSent, t.LastDataRecv, t.LastAckRecv)
	if age < x.limits.Idle || PeerOf(s) != nil || s.Remote.Addr.Unmap().IsLoopback() || s.Remote.Addr == s.Local.Addr {
		return nil
	}
	return &Diagnosis{Ailment: Unguarded, Rule: "FD302", Severity: Note, For: age, Text: fmt.Sprintf("idle %s, no keepalive", span(age))}
}

// holderStopped says that a process which should act is stopped.
func holderStopped(s *fdscan.Socket) string {
	if len(s.Holders) > 0 && stopped(s.Holders[0].Process) {
		return fmt.Sprintf("pid %d is STOPPED", s.Holders[0].Process.PID)
	}
	return ""
}
