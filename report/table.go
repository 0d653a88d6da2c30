package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&Format{
	Name:  "table",
	Title: "the answer for people (the default)",
	Lists: true,
	Write: func(w io.Writer, r *Result, s Style) error { return writePage(w, r, s, false) },
})

var _ = register(&Format{
	Name:  "wide",
	Title: "the same with more columns, the evidence, and every row",
	Lists: true,
	Write: func(w io.Writer, r *Result, s Style) error {
		s.Width = 0
		return writePage(w, r, s, true)
	},
})

// page writes the answer for people: the sockets and files with their holders;
// what is free and can be bound; what could not be seen; what is wrong, and what
// to do next.
type page struct {
	*bufio.Writer
	outcome *inspect.Outcome
	answer  *inspect.Answer // of who
	conns   *inspect.Connections
	// narrowed reports that targets were named.
	narrowed bool
	style    Style
	paint    palette
	wide     bool
	groups   map[*inspect.Socket]reusePortGroup
	blocks   int  // sockets and files written
	apart    bool // what follows does not belong to the block before it
}

func writePage(w io.Writer, r *Result, s Style, wide bool) error {
	p := &page{
		Writer: bufio.NewWriter(w), outcome: r.Outcome, answer: r.Answer, conns: r.Connections, narrowed: len(r.Query) > 0,
		style: s, paint: newPalette(s.Color), wide: wide,
	}
	if r.Listed != nil {
		if err := p.descriptors(r.Listed); err != nil {
			return err
		}
		return p.Flush()
	}
	switch {
	case r.Connections != nil:
		if err := p.connections(); err != nil {
			return err
		}
		p.suppressed()
		p.gaps()
		p.findings()
		return p.Flush()
	case r.Answer == nil:
		p.scan()
		return p.Flush()
	}
	p.groups = reusePortGroups(r.Outcome.Shown)
	if err := p.who(); err != nil {
		return err
	}
	p.gaps()
	p.findings()
	p.suppressed()
	return p.Flush()
}

// who writes the sockets and files that were asked for, and what can be bound.
func (p *page) who() error {
	if err := p.sockets(); err != nil {
		return err
	}
	if err := p.objects(); err != nil {
		return err
	}
	if len(p.answer.PIDs) > 0 && len(p.answer.Shown) == 0 && p.answer.Verdict == inspect.Held {
		p.line("held, but not by what -p names (without -p all holders are shown)")
	}
	if p.blocks > 1 || p.blocks > 0 && (p.apart || len(p.answer.Targets) > 1) {
		p.line("")
	}
	p.explained()
	p.free()
	p.binds()
	return nil
}

// line writes one line, whatever its width.
func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// say writes a sentence, in several lines on a narrow terminal, and may paint
// it.
func (p *page) say(paint func(...any) string, text string) {
	text = fold(Printable(text), p.style.Width, "    ")
	if paint != nil {
		text = paint(text)
	}
	p.line("%s", text)
}

// sockets writes every socket and who holds it. Sockets without a holder that
// differ in their far end only are written together.
func (p *page) sockets() error {
	netns := p.outcome.Host.NetNS
	for rest := p.outcome.Shown; len(rest) > 0; {
		n := 1
		for n < len(rest) && alike(rest[0], rest[n]) {
			n++
		}
		if p.blocks > 0 {
			p.line("")
		}
		if rest[0].NetNS != netns {
			netns = rest[0].NetNS
			p.namespace(rest[0])
		}
		p.blocks++
		if err := p.socket(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// alike reports sockets without a holder that differ in their far end only.
func alike(a, b *inspect.Socket) bool {
	nobody := func(s *inspect.Socket) bool { return len(s.Holders) == 0 && s.Inode == 0 }
	return nobody(a) && nobody(b) && a.NetNS == b.NetNS && a.Protocol == b.Protocol && a.Local == b.Local && a.State == b.State && a.InBacklogOf == b.InBacklogOf
}

// namespace heads the sockets of another network namespace.
func (p *page) namespace(s *inspect.Socket) {
	p.apart = true
	which := "another network namespace"
	if s.NetNS != 0 {
		which = fmt.Sprintf("network namespace net:[%d]", s.NetNS)
	}
	for _, h := range s.Holders {
		if h.Process.Container != "" && h.Process.NetNS == s.NetNS {
			which += " of " + h.Process.Container
			break
		}
	}
	p.say(p.paint.faint.Sprint, "in "+which+", which does not block this one:")
}

// socket writes a socket, or several that are alike.
func (p *page) socket(alike []*inspect.Socket) error {
	s := alike[0]
	head := cmp.Or(string(s.Protocol), "socket")
	if s.Protocol == fdscan.Unix && s.Type != "" {
		head += " " + s.Type
	}
	head += " " + Printable(s.Address())
	facts := []string{stateText(s)}
	if len(alike) > 1 {
		facts = append(facts, fmt.Sprintf("%d connections", len(alike)))
	} else if s.Remote.Port != 0 {
		head += " → " + inspect.EndpointText(s.Protocol, s.Remote)
	}
	facts = append(facts, p.facts(alike)...)
	p.head(head, strings.Join(facts, "  "))
	if len(s.Holders) > 0 {
		return p.holders(s)
	}
	p.say(nil, "  "+p.nobody(alike))
	switch {
	case len(alike) == 1:
	case p.wide:
		return p.farEnds(alike)
	default:
		p.say(nil, "  "+someFarEnds(alike))
	}
	return nil
}

// head writes the name of a socket or file and, behind it, what matters of it.
func (p *page) head(name, facts string) {
	text := fold(name+"  "+facts, p.style.Width, "    ")
	if rest, ok := strings.CutPrefix(text, name); ok {
		text = p.paint.bold(name) + rest
	}
	p.line("%s", text)
}

func stateText(s *inspect.Socket) string {
	if s.State == fdscan.Bound && s.Protocol.Stream() {
		return "BOUND, not listening"
	}
	return string(s.State)
}

// facts are what matters of sockets besides their address.
func (p *page) facts(alike []*inspect.Socket) (facts []string) {
	s := alike[0]
	add := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	if s.Backlog != nil {
		if text := backlogText(s); text != "" {
			add("%s", text)
		}
	} else {
		var unread, unacknowledged uint64
		for _, s := range alike {
			unread += uint64(s.Unread())
			unacknowledged += queue(s.SendQueue)
		}
		if unread > 0 {
			add("%s unread", size(unread))
		}
		if unacknowledged > 0 {
			add("%s not acknowledged", size(unacknowledged))
		}
	}
	if s.V6Only != nil && s.Local.Addr.IsUnspecified() {
		add("%s", map[bool]string{true: "IPv6 only", false: "IPv6 and IPv4"}[*s.V6Only])
	}
	if g := p.groups[s]; g.number != 0 {
		add("SO_REUSEPORT group %d, one of %d", g.number, g.size)
	}
	if s.Interface != 0 {
		add("on interface %d only", s.Interface)
	}
	if p.outgoing(s) {
		bind := p.outcome.Host.Bind
		add("outgoing, on a port of the ephemeral range %d-%d", bind.EphemeralLow, bind.EphemeralHigh)
	}
	if p.wide && len(alike) == 1 {
		if s.Inode != 0 {
			add("inode %d", s.Inode)
		}
		if s.Cookie != 0 {
			add("cookie %d", s.Cookie)
		}
		if s.Cgroup != "" && s.Cgroup != "/" {
			add("created in cgroup %s", Printable(s.Cgroup))
		}
	}
	return facts
}

func queue(n *uint32) uint64 {
	if n == nil {
		return 0
	}
	return uint64(*n)
}

// backlogText tells how many connections wait for accept(2). The kernel takes
// one more than the limit.
func backlogText(s *inspect.Socket) string {
	text := ""
	if b := s.Backlog; b.Limit > 0 || b.Queued > 0 {
		text = fmt.Sprintf("backlog %d of %d", b.Queued, b.Limit)
		if b.Queued > b.Limit {
			text += ", full"
		}
	}
	if s.Served.No() {
		text += ", nobody is accepting"
	}
	return strings.TrimPrefix(text, ", ")
}

// outgoing reports a connection whose port was not bound by a server: it lies in
// the ephemeral range, and nobody listens on it.
func (p *page) outgoing(s *inspect.Socket) bool {
	return s.NetNSMine && !s.IsPort() && s.Remote.Port != 0 && inspect.Ephemeral(p.outcome.Host, s.Local.Port) &&
		!slices.ContainsFunc(p.outcome.Sockets, func(l *inspect.Socket) bool { return l.Accepts(s.Socket) })
}

// nobody says why sockets have no holder.
func (p *page) nobody(alike []*inspect.Socket) string {
	s := alike[0]
	switch {
	case s.State == fdscan.TimeWait:
		return "no process: closed, and the port rests" + timeLeft(alike)
	case s.InBacklogOf != 0:
		return "no process yet: in the backlog of the listener until someone accepts"
	case s.KernelOwned:
		return "held by the kernel: it has an inode, and no process has a descriptor of it"
	case s.Inode != 0:
		return p.unseen(s)
	case s.State == fdscan.SynRecv:
		return "no process yet: the handshake is not complete"
	case s.State == fdscan.FinWait1, s.State == fdscan.Closing, s.State == fdscan.LastAck:
		return "no process: closed, and the kernel still delivers what is left" + timeLeft(alike)
	case s.State == fdscan.FinWait2:
		return "no process: closed, and the far end has yet to close" + timeLeft(alike)
	}
	return "no process: only the kernel keeps it" + timeLeft(alike)
}

// timeLeft says when the kernel will do something about sockets without a
// holder: the time of TIME_WAIT runs in FIN_WAIT2 too.
func timeLeft(alike []*inspect.Socket) string {
	var last *fdscan.Timer
	for _, s := range alike {
		if t := s.Timer; t != nil && (last == nil || t.Expires > last.Expires) {
			last = t
		}
	}
	switch {
	case last == nil || last.Expires <= 0:
		return ""
	case last.Kind != "time_wait":
		return fmt.Sprintf(" (next try in %s)", seconds(last.Expires))
	case len(alike) > 1:
		return fmt.Sprintf(" (the last for another %s)", seconds(last.Expires))
	}
	return fmt.Sprintf(" (for another %s)", seconds(last.Expires))
}

// unseen names what is known of a socket whose holder was not found.
func (p *page) unseen(s *inspect.Socket) string {
	text := "its holder could not be seen"
	if p.outcome.HoldersComplete {
		text = "none of the processes that were looked at holds it"
	}
	if s.UID != nil {
		text += fmt.Sprintf("; it belongs to uid %d", *s.UID)
	}
	if s.Cgroup != "" && s.Cgroup != "/" {
		text += " and was created in cgroup " + s.Cgroup
	}
	return text
}

// mostFarEnds is how many far ends are written before the rest is counted.
const mostFarEnds = 5

func someFarEnds(alike []*inspect.Socket) string {
	var ends []string
	for _, s := range alike[:min(len(alike), mostFarEnds)] {
		ends = append(ends, inspect.EndpointText(s.Protocol, s.Remote))
	}
	text := "→ " + strings.Join(ends, ", ")
	if more := len(alike) - len(ends); more > 0 {
		text += fmt.Sprintf(" and %d more (-o wide shows them)", more)
	}
	return text
}

// farEnds writes every far end.
func (p *page) farEnds(alike []*inspect.Socket) error {
	g := &grid{indent: "  ", header: []string{"FAR END", "UNREAD", "NOT ACKNOWLEDGED", "TIMER", "COOKIE"}}
	for _, s := range alike {
		left := ""
		if s.Timer != nil {
			left = seconds(s.Timer.Expires)
		}
		g.add(inspect.EndpointText(s.Protocol, s.Remote), sizeText(s.RecvQueue), sizeText(s.SendQueue), left, number(s.Cookie))
	}
	g.dropEmpty()
	return g.write(p, p.style)
}

// sizeText is empty for an empty queue.
func sizeText(n *uint32) string {
	if queue(n) == 0 {
		return ""
	}
	return size(queue(n))
}
