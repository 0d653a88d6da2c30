package inspect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stray/fdscan"
)

// bindBecause says why the verdict is as it is. The obstacle is what stands
// against the bind besides other sockets: see bindObstacle.
func bindBecause(s *fdscan.Snapshot, v BindVerdict, rivals []bindRival, obstacle string, final bool) string {
	// Who surely refuses is named alone: the others change nothing.
	named := bindOnly(rivals, BindNo)
	if len(named) == 0 {
		named = bindOnly(rivals, BindUnknown)
	}
	names := bindNames(s, named)
	switch {
	case final && len(named) > 0:
		return obstacle + ", and " + names
	case final, obstacle != "" && len(named) == 0:
		return obstacle
	case len(named) == 0:
		return "no socket is in the way"
	case v.Plain == BindUnknown && v.Address.Zone() != "":
		return names + ": in the way unless interface " + v.Address.Zone() + " is another"
	case v.Plain == BindUnknown:
		return names + ": in the way unless for IPv6 alone, which could not be read"
	}
	return names + " (" + bindHelp(v, rivals, obstacle) + ")"
}

// bindOnly returns the rivals whose answer to a plain bind it is, first those
// whom no option moves.
func bindOnly(rivals []bindRival, answer Bindable) (only []bindRival) {
	for _, r := range rivals {
		if r.plain == answer {
			only = append(only, r)
		}
	}
	slices.SortStableFunc(only, func(a, b bindRival) int { return b.refusals() - a.refusals() })
	return only
}

// refusals counts the options that surely do not help.
func (r bindRival) refusals() (n int) {
	for _, answer := range []Bindable{r.reuseAddr, r.reusePort} {
		if answer == BindNo {
			n++
		}
	}
	return n
}

// bindHelp says which option helps.
func bindHelp(v BindVerdict, rivals []bindRival, obstacle string) string {
	const addr, port = "SO_REUSEADDR", "SO_REUSEPORT"
	unread := func(verdict Bindable, of func(bindRival) Bindable) bool {
		return verdict == BindUnknown && slices.ContainsFunc(rivals, func(r bindRival) bool { return of(r) == BindUnknown })
	}
	addrUnread := unread(v.ReuseAddr, func(r bindRival) Bindable { return r.reuseAddr })
	portUnread := unread(v.ReusePort, func(r bindRival) Bindable { return r.reusePort })
	const set = " helps if it is set there too, which could not be read"
	switch {
	case v.ReuseAddr == BindNo && v.ReusePort == BindNo && bindStrangers(rivals):
		return addr + " does not help; " + port + " helps only the user of that socket"
	case v.ReuseAddr == BindNo && v.ReusePort == BindNo:
		return "neither " + addr + " nor " + port + " helps"
	case v.ReuseAddr == BindYes && v.ReusePort == BindYes:
		return addr + " or " + port + " helps"
	case addrUnread && portUnread:
		return addr + " or " + port + set
	}
	option := func(name string, answer Bindable, unread bool) string {
		switch {
		case answer == BindYes:
			return name + " helps"
		case answer == BindNo:
			return name + " does not help"
		case unread:
			return name + set
		case obstacle != "":
			return name + " may help, but " + obstacle
		}
		return "whether " + name + " helps depends on the order of earlier binds"
	}
	return option(addr, v.ReuseAddr, addrUnread) + "; " + option(port, v.ReusePort, portUnread)
}

// bindStrangers reports whether nothing but their user keeps the sockets that
// refuse from sharing the port by SO_REUSEPORT.
func bindStrangers(rivals []bindRival) bool {
	return !slices.ContainsFunc(rivals, func(r bindRival) bool { return r.reusePort != BindYes && r.optioned != BindYes })
}

// bindClause is what is said of some sockets at once: those that do the same
// at the same address.
type bindClause struct {
	socket  *fdscan.Socket // the first of them
	held    bool
	count   int
	holders []*fdscan.Process
	states  []string
	expires time.Duration
}

// bindMaxClauses and bindMaxPIDs keep the sentence readable.
const (
	bindMaxClauses = 3
	bindMaxPIDs    = 3
)

// bindNames says what stands in the way and who holds it.
func bindNames(s *fdscan.Snapshot, rivals []bindRival) string {
	var clauses []*bindClause
	for _, r := range rivals {
		o := r.socket
		if o.InBacklogOf != 0 && slices.ContainsFunc(rivals, func(l bindRival) bool { return l.socket.Inode == o.InBacklogOf }) {
			continue // its listener is named
		}
		held := len(o.Holders) > 0
		i := slices.IndexFunc(clauses, func(c *bindClause) bool {
			return c.socket.Local == o.Local && c.held == held && bindVerb(c.socket) == bindVerb(o) && c.socket.KernelOwned == o.KernelOwned
		})
		if i < 0 {
			i = len(clauses)
			clauses = append(clauses, &bindClause{socket: o, held: held})
		}
		clauses[i].add(o)
	}
	rest := 0
	for _, c := range clauses[min(bindMaxClauses, len(clauses)):] {
		rest += c.count
	}
	clauses = clauses[:min(bindMaxClauses, len(clauses))]
	var said []string
	for len(clauses) > 0 {
		// What the same processes do at several addresses is said once.
		does, what := clauses[0].text(s)
		all := []string{what}
		clauses = slices.DeleteFunc(clauses[1:], func(c *bindClause) bool {
			same, what := c.text(s)
			if same == does {
				all = append(all, what)
			}
			return same == does
		})
		said = append(said, does+" "+bindList(all, " and "))
	}
	if rest > 0 {
		said = append(said, bindCount(rest, "more socket"))
	}
	return bindList(said, ", and ")
}

func (c *bindClause) add(o *fdscan.Socket) {
	c.count++
	for _, h := range o.Holders {
		if !slices.Contains(c.holders, h.Process) {
			c.holders = append(c.holders, h.Process)
		}
	}
	if state := string(o.State); !slices.Contains(c.states, state) {
		c.states = append(c.states, state)
	}
	if o.Timer != nil && o.Timer.Kind == "time_wait" {
		c.expires = max(c.expires, o.Timer.Expires)
	}
}

// text writes the clause in two parts, such as "pid 4180 (app) listens on" and
// the address.
func (c *bindClause) text(s *fdscan.Snapshot) (does, what string) {
	o := c.socket
	at := EndpointText(o.Protocol, o.Local)
	if o.Interface != 0 {
		at += fmt.Sprintf(" of interface %d", o.Interface)
	}
	who, one := c.who()
	switch bindVerb(o) {
	case bindListens:
		return who + bindForm(one, " listens on", " listen on"), at
	case bindBound:
		return who + bindForm(one, " has bound", " have bound"), at
	}
	states := strings.Join(c.states, ", ")
	connections := bindCount(c.count, "connection") + " on " + at
	if c.held || o.Inode != 0 && !s.HoldersComplete {
		return who + bindForm(one, " holds", " hold"), connections + " in " + states
	}
	rest := "without a holder"
	if c.expires > 0 {
		rest = fmt.Sprintf("for another %d s", int(c.expires.Round(time.Second).Seconds()))
	}
	return connections, bindForm(c.count == 1, "is in ", "are in ") + states + " " + rest
}

// bindForm chooses between singular and plural.
func bindForm(one bool, singular, plural string) string {
	if one {
		return singular
	}
	return plural
}

// What a socket does on its port.
const (
	bindListens = iota
	bindBound
	bindConnected
)

func bindVerb(o *fdscan.Socket) int {
	switch {
	case o.State == fdscan.Listen:
		return bindListens
	case bindUnconnected(o) || !o.Protocol.Stream():
		return bindBound
	}
	return bindConnected
}

// who names the holders, and reports whether that is one.
func (c *bindClause) who() (text string, one bool) {
	switch {
	case c.held:
	case c.socket.KernelOwned:
		return "the kernel", true
	case c.socket.UID != nil:
		return fmt.Sprintf("an unseen process of user %d", *c.socket.UID), true
	default:
		return "an unseen process", true
	}
	slices.SortFunc(c.holders, func(a, b *fdscan.Process) int { return a.PID - b.PID })
	var names []string
	for i, p := range c.holders {
		if i == bindMaxPIDs && len(c.holders) > bindMaxPIDs+1 {
			names = append(names, bindCount(len(c.holders)-i, "other"))
			break
		}
		names = append(names, fmt.Sprintf("pid %d (%s)", p.PID, p.Comm))
	}
	return bindList(names, " and "), len(c.holders) == 1
}

func bindCount(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// bindList joins with commas, and the last one with and.
func bindList(items []string, and string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	last := len(items) - 1
	return strings.Join(items[:last], ", ") + and + items[last]
}
