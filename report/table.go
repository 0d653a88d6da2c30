package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&Format{
	Name:  "table",
	Title: "the answer for people (the default)",
	Write: func(w io.Writer, r *Result, s Style) error { return writePage(w, r, s, false) },
})

var _ = register(&Format{
	Name:  "wide",
	Title: "the same with more columns, the evidence, and every row",
	Write: func(w io.Writer, r *Result, s Style) error {
		s.Width = 0
		return writePage(w, r, s, true)
	},
})

// page writes the answer for people.
type page struct {
	*bufio.Writer
	result *Result
	answer *inspect.Answer
	style  Style
	paint  palette
	wide   bool
	groups map[*inspect.Socket]int
}

func writePage(w io.Writer, r *Result, s Style, wide bool) error {
	p := &page{
		Writer: bufio.NewWriter(w), result: r, answer: r.Answer, style: s, paint: newPalette(s.Color), wide: wide,
		groups: reusePortGroups(r.Answer.Shown),
	}
	if err := p.write(); err != nil {
		return err
	}
	return p.Flush()
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) write() error {
	if err := p.sockets(); err != nil {
		return err
	}
	if err := p.objects(); err != nil {
		return err
	}
	p.explained()
	p.free()
	p.binds()
	p.gaps()
	p.findings()
	return nil
}

// mostAlike is how many rows of one state without a holder are written before
// the rest is counted.
const mostAlike = 5

func (p *page) sockets() error {
	netns := p.answer.Host.NetNS
	alike := map[string]int{}
	for i, s := range p.answer.Shown {
		if s.NetNS != netns {
			p.namespaceHeader(s)
			netns = s.NetNS
		}
		if len(s.Holders) == 0 && s.Inode == 0 && !p.wide {
			key := fmt.Sprint(s.NetNS, s.Protocol, s.Local.Port, s.State, s.InBacklogOf)
			if alike[key]++; alike[key] > mostAlike {
				if i+1 == len(p.answer.Shown) || p.answer.Shown[i+1].State != s.State {
					p.line("… and %d more %s (-o wide shows them)", alike[key]-mostAlike, s.State)
				}
				continue
			}
		}
		if i > 0 && (len(s.Holders) > 0 || len(p.answer.Shown[i-1].Holders) > 0) {
			p.line("")
		}
		if err := p.socket(s); err != nil {
			return err
		}
	}
	return nil
}

func (p *page) namespaceHeader(s *inspect.Socket) {
	where := "another network namespace"
	if s.NetNS != 0 {
		where += fmt.Sprintf(", net:[%d]", s.NetNS)
	}
	for _, h := range s.Holders {
		if h.Process.Container != "" {
			where += ", " + h.Process.Container
			break
		}
	}
	p.line("\nin %s: does not block this namespace", where)
}

func (p *page) socket(s *inspect.Socket) error {
	head := fmt.Sprintf("%s %s", cmp.Or(string(s.Protocol), "socket"), printable(s.Address()))
	if s.Protocol == fdscan.Unix && s.Type != "" {
		head = fmt.Sprintf("unix %s %s", s.Type, printable(s.Address()))
	}
	if s.Remote.Port != 0 {
		head += " → " + inspect.EndpointText(s.Protocol, s.Remote)
	}
	head = p.paint.bold(head)
	facts := append([]string{p.state(s)}, p.facts(s)...)
	p.line("%s  %s", head, strings.Join(facts, "  "))
	if len(s.Holders) == 0 {
		p.line("  %s", p.nobody(s))
		return nil
	}
	return p.holders(s)
}

func (p *page) state(s *inspect.Socket) string {
	if s.State == fdscan.Bound && s.Protocol.Stream() {
		return "BOUND, not listening"
	}
	return string(s.State)
}

// facts are what matters of a socket besides its address.
func (p *page) facts(s *inspect.Socket) (facts []string) {
	switch {
	case s.Backlog != nil:
		text := ""
		if s.Backlog.Limit > 0 || s.Backlog.Queued > 0 {
			text = fmt.Sprintf("backlog %d of %d", s.Backlog.Queued, s.Backlog.Limit)
		}
		if s.Served.No() {
			text += ", nobody is accepting"
		}
		if text = strings.TrimPrefix(text, ", "); text != "" {
			facts = append(facts, text)
		}
	default:
		if n := s.RecvQueue; n != nil && *n > 0 {
			facts = append(facts, size(*n)+" unread")
		}
		if n := s.SendQueue; n != nil && *n > 0 {
			facts = append(facts, size(*n)+" not acknowledged")
		}
	}
	if s.V6Only != nil && s.Local.Addr.IsUnspecified() {
		if *s.V6Only {
			facts = append(facts, "IPv6 only")
		} else {
			facts = append(facts, "IPv6 and IPv4")
		}
	}
	if g := p.groups[s]; g != 0 {
		facts = append(facts, fmt.Sprintf("SO_REUSEPORT group %d", g))
	}
	if s.Interface != 0 {
		facts = append(facts, fmt.Sprintf("on interface %d", s.Interface))
	}
	if p.wide {
		facts = append(facts, fmt.Sprintf("inode %d", s.Inode))
		if s.Cookie != 0 {
			facts = append(facts, fmt.Sprintf("cookie %d", s.Cookie))
		}
		if s.Cgroup != "" {
			facts = append(facts, "created in cgroup "+printable(s.Cgroup))
		}
	}
	return facts
}

// nobody says why a socket has no holder.
func (p *page) nobody(s *inspect.Socket) string {
	left := ""
	if s.Timer != nil && s.Timer.Expires > 0 {
		left = ", " + seconds(s.Timer.Expires) + " left"
	}
	switch {
	case s.State == fdscan.TimeWait:
		return "no process: the connection is closed and its port rests" + left
	case s.InBacklogOf != 0:
		return "no process yet: it waits in the backlog of the listener until someone accepts it"
	case s.KernelOwned:
		return "held by the kernel: it has an inode, and no process has a descriptor of it"
	case s.Inode != 0:
		return p.unseen(s)
	case s.State == fdscan.SynRecv:
		return "no process yet: the handshake is not complete"
	}
	return "no process: it was closed with work left, and the kernel is finishing it" + left
}

// unseen names what is known of a socket whose holder could not be seen.
func (p *page) unseen(s *inspect.Socket) string {
	text := "its holder could not be seen"
	if s.UID != nil {
		text += fmt.Sprintf("; it belongs to uid %d", *s.UID)
	}
	if s.Cgroup != "" && s.Cgroup != "/" {
		text += fmt.Sprintf(" and was created in cgroup %s", printable(s.Cgroup))
	}
	return text
}

func (p *page) holders(s *inspect.Socket) error {
	g := &grid{indent: "  ", header: []string{"PID", "FD", "CLOEXEC", "ORIGIN", "SERVES", "AGE", "USER", "SERVICE", "COMMAND", ""}}
	if p.wide {
		g.header = []string{"PID", "PPID", "FD", "CLOEXEC", "ORIGIN", "SERVES", "AGE", "USER", "SERVICE", "EXE", "COMMAND", ""}
	}
	for _, h := range s.Holders {
		service := strings.TrimSpace(h.Process.Unit + " " + h.Process.Container)
		serves := ""
		if s.IsPort() {
			serves = servingText(h.Serving)
		}
		cells := []string{
			strconv.Itoa(h.Process.PID), fdText(h.Holder), yesNo(h.CloseOnExec), originText(h), serves,
			age(p.answer.TakenAt.Sub(h.Process.StartTime)), h.Process.User, service, p.command(h.Process), strings.Join(p.remarks(s, h), "; "),
		}
		if p.wide {
			cells = append([]string{cells[0], strconv.Itoa(h.Process.PPID)}, cells[1:]...)
			cells = append(cells[:9:9], append([]string{h.Process.Exe}, cells[9:]...)...)
		}
		g.add(cells...)
	}
	g.dropEmpty()
	if err := g.write(p, p.style); err != nil {
		return err
	}
	if p.wide {
		p.evidence(s)
	}
	return nil
}

func (p *page) evidence(s *inspect.Socket) {
	seen := map[int]bool{}
	for _, h := range s.Holders {
		if seen[h.Process.PID] {
			continue
		}
		seen[h.Process.PID] = true
		for _, e := range h.Origin.Evidence {
			p.line("  pid %d: %s", h.Process.PID, printable(e))
		}
	}
}

// maxCommand is how much of a command line is shown where no terminal limits it.
const maxCommand = 60

func (p *page) command(process *fdscan.Process) string {
	command := strings.Join(process.Cmdline, " ")
	if command == "" {
		return "[" + process.Comm + "]"
	}
	if !p.wide {
		return cut(command, maxCommand)
	}
	return command
}

// remarks are what is unusual about a holder.
func (p *page) remarks(s *inspect.Socket, h *inspect.Holder) (remarks []string) {
	say := func(format string, args ...any) { remarks = append(remarks, fmt.Sprintf(format, args...)) }
	switch h.Via {
	case fdscan.ViaThread:
		say("only thread %d has it", h.TID)
	case fdscan.ViaRing:
		say("registered with io_uring")
	case fdscan.ViaMessage:
		say("in a message that this process has not received yet")
	case fdscan.ViaMemory:
		say("%s", h.Note)
	case fdscan.ViaTable:
	}
	for _, pid := range h.SharesTableWith {
		say("one descriptor table with pid %d", pid)
	}
	if n := len(h.Process.NSPIDs); n > 1 {
		say("pid %d in its namespace", h.Process.NSPIDs[n-1])
	}
	switch h.Process.State {
	case 'T', 't':
		say("stopped")
	case 'Z':
		say("its main thread has exited")
	}
	switch {
	case !h.Origin.Leak || h.Origin.OpenerAlive || h.Origin.From != nil:
	case h.Origin.OpenerExited:
		say("opener has exited")
	default:
		say("opener does not hold it any more")
	}
	return remarks
}

func fdText(h *fdscan.Holder) string {
	switch h.Via {
	case fdscan.ViaRing:
		return fmt.Sprintf("%d[%d]", h.FD, h.Slot)
	case fdscan.ViaMemory:
		return "-"
	case fdscan.ViaTable, fdscan.ViaThread, fdscan.ViaMessage:
	}
	return strconv.Itoa(h.FD)
}

func originText(h *inspect.Holder) string {
	text := string(h.Origin.Kind)
	switch {
	case h.Origin.From != nil:
		text += fmt.Sprintf(", from %d", h.Origin.From.PID)
	case !h.Origin.Certain && (h.Origin.Leak || h.Origin.Kind == inspect.Received):
		text += ", probably"
	}
	return text
}

func servingText(s inspect.Serving) string {
	switch s {
	case inspect.Serves:
		return "yes"
	case inspect.Idle, inspect.Elsewise:
		return "no"
	case inspect.Unknown:
	}
	return "?"
}

func yesNo(b *bool) string {
	switch {
	case b == nil:
		return "?"
	case *b:
		return "yes"
	}
	return "no"
}

// age writes a duration in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// size writes bytes in decimal units.
func size(n uint32) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
