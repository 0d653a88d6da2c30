package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"stray/fdscan"
	"stray/inspect"
)

// NewConnections returns the result of conns.
func NewConnections(version string, query []string, c *inspect.Connections) *Result {
	return &Result{Version: version, Command: "conns", Query: query, Outcome: &c.Outcome, Connections: c}
}

// mostRows is how many connections of a process are written of each rule before
// the rest is counted.
const mostRows = 5

// connections writes the connections that are told of, by process, and sums up.
func (p *page) connections() error {
	for _, g := range p.conns.Groups {
		if p.blocks > 0 {
			p.line("")
		}
		p.blocks++
		p.head(p.groupName(g))
		rows := p.few(g.Sockets)
		if err := p.connectionRows(rows); err != nil {
			return err
		}
		if more := len(g.Sockets) - len(rows); more > 0 {
			p.line("  and %s more (-o wide shows them)", thousands(more))
		}
	}
	if p.blocks > 0 {
		p.line("")
	}
	p.sum()
	return nil
}

// few leaves of what is alike in a process so much that it can be read, in the
// order of the descriptors; the worst of what is alike are among it.
func (p *page) few(sockets []*inspect.Socket) (rows []*inspect.Socket) {
	ids := func(s *inspect.Socket) (all string) {
		for _, d := range s.Diagnoses {
			all += d.Rule
		}
		return all
	}
	alike, order := map[string]int{}, map[string]int{}
	for _, s := range sockets {
		id := ids(s)
		if alike[id]++; alike[id] == 1 {
			order[id] = len(order)
		}
	}
	written := map[string]int{}
	for _, s := range sockets {
		id := ids(s)
		written[id]++
		if p.wide || id == "" || written[id] <= mostRows || alike[id] == mostRows+1 {
			rows = append(rows, s)
		}
	}
	fd := func(s *inspect.Socket) int {
		if len(s.Holders) == 0 {
			return -1
		}
		return s.Holders[0].FD
	}
	slices.SortStableFunc(rows, func(a, b *inspect.Socket) int {
		return cmp.Or(cmp.Compare(order[ids(a)], order[ids(b)]), cmp.Compare(fd(a), fd(b)))
	})
	return rows
}

// groupName names the process of a group.
func (p *page) groupName(g inspect.Group) (name, facts string) {
	q := g.Process
	if q == nil {
		name = "no process"
		if slices.ContainsFunc(g.Sockets, func(s *inspect.Socket) bool { return s.Inode != 0 }) {
			name = "no process that could be seen"
		}
		return name, many(len(g.Sockets), "socket")
	}
	name = fmt.Sprintf("pid %d", q.PID)
	words := []string{q.User, strings.TrimSpace(q.Unit + " " + q.Container), "up " + age(p.outcome.TakenAt.Sub(q.StartTime)), p.command(q)}
	if q.State == 'T' || q.State == 't' {
		words = slices.Insert(words, 0, "STOPPED")
	}
	words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
	return name, strings.Join(clean(words), "  ")
}

// connectionRows writes a row for each socket of one process.
func (p *page) connectionRows(sockets []*inspect.Socket) error {
	g := &grid{indent: "  ", elastic: []squeeze{{"LOCAL", leastAddress, shortAddress}, {"PEER", leastAddress, shortAddress}}}
	for _, c := range connectionColumns {
		if !c.wide || p.wide {
			g.header = append(g.header, c.name)
		}
	}
	for _, s := range sockets {
		row := gridRow{note: Printable(inspect.PeerText(s.Socket))}
		told := *s
		if !p.wide { // which has a row for each subflow
			told.Socket = inspect.Whole(s.Socket)
		}
		for _, c := range connectionColumns {
			if !c.wide || p.wide {
				row.cells = append(row.cells, Printable(c.cell(&told)))
			}
		}
		if slices.ContainsFunc(s.Diagnoses, func(d inspect.Diagnosis) bool { return d.Severity == inspect.Error }) {
			row.paint = func(line string) string { return p.paint.red.Sprint(line) }
		}
		g.rows = append(g.rows, row)
		if !p.wide {
			continue
		}
		for _, sub := range subflowsOf(s) {
			row := gridRow{}
			for _, c := range connectionColumns {
				row.cells = append(row.cells, Printable(c.cell(sub)))
			}
			g.rows = append(g.rows, row)
		}
	}
	g.dropEmpty()
	if !p.wide {
		// The findings tell the worst of it; the ends tell one row from another.
		g.give(p.style, []string{"KEEPALIVE", "TIMER", "ACK", "DATA", "RETRANS", "UNACKED", "DROPPED", "UNREAD", "UNSENT"}, "", g.elastic...)
	}
	if err := g.write(p, p.style); err != nil {
		return err
	}
	if p.wide {
		for _, s := range sockets {
			for _, d := range s.Diagnoses {
				p.say(nil, "  "+join(nameOf(s)+": "+d.Text, d.Evidence...))
			}
		}
	}
	return nil
}

// leastAddress is what any address and port of IPv4 takes.
const leastAddress = 21

// shortAddress cuts in the middle, which leaves the port.
func shortAddress(s string) string {
	const head, tail = 8, leastAddress - 8
	if displayWidth(s) <= leastAddress {
		return s
	}
	return cut(s, head) + display.TruncateLeft(s, displayWidth(s)-tail, "")
}

// subflowsOf are the subflows of an MPTCP connection as rows of their own.
func subflowsOf(s *inspect.Socket) (all []*inspect.Socket) {
	if s.Health == nil {
		return nil
	}
	for _, sub := range s.Health.Subflows {
		all = append(all, &inspect.Socket{Socket: sub})
	}
	return all
}

func nameOf(s *inspect.Socket) string {
	if s.Remote.Port != 0 {
		return inspect.EndpointText(s.Protocol, s.Remote)
	}
	return s.Address()
}

// connectionColumn is a column of the table of connections.
type connectionColumn struct {
	name string
	wide bool // in the wide table only
	cell func(*inspect.Socket) string
}

var connectionColumns = []connectionColumn{
	{"FD", false, func(s *inspect.Socket) string {
		var fds []string
		for _, h := range s.Holders {
			if h.Process == s.Holders[0].Process {
				fds = append(fds, fdText(h.Holder))
			}
		}
		return strings.Join(fds, ",")
	}},
	{"RULE", false, func(s *inspect.Socket) string {
		var ids []string
		for _, d := range s.Diagnoses {
			ids = append(ids, d.Rule)
		}
		return strings.Join(ids, ",")
	}},
	{"PROTO", true, func(s *inspect.Socket) string { return string(s.Protocol) }},
	{"LOCAL", false, (*inspect.Socket).Address},
	{"PEER", false, func(s *inspect.Socket) string {
		if s.Remote.Port == 0 {
			return ""
		}
		return inspect.EndpointText(s.Protocol, s.Remote)
	}},
	{"STATE", false, func(s *inspect.Socket) string { return string(s.State) }},
	{"WAITING", false, func(s *inspect.Socket) string {
		if s.Backlog == nil || s.Backlog.Queued == 0 {
			return ""
		}
		return fmt.Sprintf("%d of %d", s.Backlog.Queued, s.Backlog.Limit)
	}},
	{"DATA", false, ofPeer(func(t *fdscan.TCPInfo) string { return age(min(t.LastDataSent, t.LastDataRecv)) })},
	{"ACK", false, ofPeer(func(t *fdscan.TCPInfo) string { return age(t.LastAckRecv) })},
	{"UNACKED", false, func(s *inspect.Socket) string { _, n := inspect.Unsent(s.Socket); return sizeOrNone(n) }},
	{"UNSENT", false, func(s *inspect.Socket) string { n, _ := inspect.Unsent(s.Socket); return sizeOrNone(n) }},
	{"UNREAD", false, func(s *inspect.Socket) string { return sizeOrNone(uint64(s.Unread())) }},
	{"DROPPED", false, func(s *inspect.Socket) string {
		if s.Health == nil || s.Health.Memory == nil || s.State != fdscan.Listen && s.Protocol.Stream() {
			return ""
		}
		return number(uint64(s.Health.Memory.Drops))
	}},
	{"RETRANS", false, ofTCP(func(t *fdscan.TCPInfo) string { return number(uint64(inspect.Retransmissions(t))) })},
	{"TIMER", false, func(s *inspect.Socket) string {
		if s.Timer == nil {
			return ""
		}
		return s.Timer.Kind + " " + age(s.Timer.Expires)
	}},
	{"KEEPALIVE", false, func(s *inspect.Socket) string {
		switch o := optionsOf(s); {
		case o == nil:
			return ""
		case !o.Keepalive:
			return "off"
		default:
			return fmt.Sprintf("%s+%d×%s", age(o.Idle), o.Count, age(o.Interval))
		}
	}},
	{"USER TIMEOUT", true, func(s *inspect.Socket) string {
		switch o := optionsOf(s); {
		case o == nil:
			return ""
		case o.UserTimeout == 0:
			return "off"
		default:
			return age(o.UserTimeout)
		}
	}},
	{"RTO", true, ofTCP(func(t *fdscan.TCPInfo) string { return t.RTO.Round(time.Millisecond).String() })},
	{"RTT", true, ofPeer(func(t *fdscan.TCPInfo) string { return t.RTT.String() })},
	{"CWND", true, ofTCP(func(t *fdscan.TCPInfo) string { return strconv.FormatUint(uint64(t.SndCwnd), 10) })},
	{"WINDOW", true, ofPeer(func(t *fdscan.TCPInfo) string { return size(uint64(t.SndWnd)) })},
	{"HELD UP BY", true, ofTCP(func(t *fdscan.TCPInfo) string {
		var by []string
		if t.RwndLimited > 0 {
			by = append(by, "window "+age(t.RwndLimited))
		}
		if t.SndbufLimited > 0 {
			by = append(by, "send buffer "+age(t.SndbufLimited))
		}
		return strings.Join(by, ", ")
	})},
	{"CONGESTION", true, func(s *inspect.Socket) string {
		if s.Health == nil {
			return ""
		}
		return s.Health.Congestion
	}},
	{"INODE", true, func(s *inspect.Socket) string { return number(s.Inode) }},
	{"NETNS", true, func(s *inspect.Socket) string {
		if s.NetNSMine {
			return ""
		}
		return number(s.NetNS)
	}},
}

// ofTCP is a cell about tcp_info; that of a listener means other things.
func ofTCP(cell func(*fdscan.TCPInfo) string) func(*inspect.Socket) string {
	return func(s *inspect.Socket) string {
		if s.Health == nil || s.Health.TCP == nil || s.State == fdscan.Listen {
			return ""
		}
		return cell(s.Health.TCP)
	}
}

// ofPeer is a cell about what has passed between both ends: before the peer has
// answered, the kernel counts from times and windows that never were.
func ofPeer(cell func(*fdscan.TCPInfo) string) func(*inspect.Socket) string {
	told := ofTCP(cell)
	return func(s *inspect.Socket) string {
		if s.State == fdscan.SynSent {
			return ""
		}
		return told(s)
	}
}

func optionsOf(s *inspect.Socket) *fdscan.ConnectionOptions {
	if s.Health == nil {
		return nil
	}
	return s.Health.Options
}

func sizeOrNone(n uint64) string {
	if n == 0 {
		return ""
	}
	return size(n)
}

// sum says how much was looked at, and whether all is well.
func (p *page) sum() {
	n := p.outcome.Looked
	looked := many(n.Connections, "connection") + ", " + many(n.Listeners, "listener") + " and " + many(n.Datagrams, "datagram socket")
	if n.Namespaces > 1 && !p.narrowed && len(p.outcome.PIDs) == 0 {
		looked += fmt.Sprintf(" in %d network namespaces", n.Namespaces)
	}
	which := ""
	if len(p.outcome.PIDs) > 0 || p.narrowed {
		which = " of what was asked for"
	}
	wrong := 0
	for _, s := range p.outcome.Shown {
		if len(s.Diagnoses) > 0 {
			wrong++
		}
	}
	switch {
	case wrong > 0:
		p.say(nil, fmt.Sprintf("something is to be said of %s%s; looked at %s", thousands(wrong), which, looked))
	case !p.outcome.Complete:
		p.say(p.paint.yellow.Sprint, "nothing wrong was seen, but not everything could be looked at; looked at "+looked)
	case p.narrowed && n.Connections+n.Listeners+n.Datagrams == 0:
		p.say(p.paint.yellow.Sprint, "nothing was looked at: no socket is what was asked for")
	case which != "":
		p.say(p.paint.green.Sprint, "all is well with what was asked for; looked at "+looked)
	default:
		p.say(p.paint.green.Sprint, "all is well: "+looked+" were looked at")
	}
}

// many counts things.
func many(n int, noun string) string { return thousands(n) + " " + plural(n, noun) }

func join(first string, more ...string) string {
	return strings.Join(slices.Insert(more, 0, cmp.Or(first, "-")), "; ")
}
