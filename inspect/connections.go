package inspect

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"stray/fdscan"
)

// Connections is the answer to how connections fare.
type Connections struct {
	// Outcome.Shown are the sockets with something wrong; with all, every one
	// that was asked for.
	Outcome
	// Groups are those that are shown, by process, the worst first.
	Groups []Group
	// Twice reports that there were two looks.
	Twice bool
}

// Group are the sockets of one process.
type Group struct {
	Process *fdscan.Process // nil for what no process has
	Sockets []*Socket       // the worst first
}

// Examination is how connections are judged.
type Examination struct {
	Limits Limits
	Rules  []*Rule
	// PIDs are the processes that are asked about, and Targets what else the
	// snapshot was limited to; empty for all.
	PIDs    []int
	Targets []fdscan.Target
	// All shows what is well too.
	All bool
	// Twice reports that there were two looks (Snapshot.Follow).
	Twice bool
}

// JudgeConnections judges a snapshot of Scanner.Connections.
func JudgeConnections(snap *fdscan.Snapshot, e Examination) *Connections {
	c := &Connections{Outcome: Outcome{View: &View{Snapshot: snap, Sight: SightHealth}, Complete: seenWhole(snap, e.PIDs), PIDs: e.PIDs}, Twice: e.Twice}
	c.Asked = Scope{PIDs: e.PIDs, Targets: targetTexts(e.Targets), Limits: e.Limits.Changed(), All: e.All, Twice: e.Twice}
	if e.Twice {
		c.Sight |= SightTrend
	}
	for _, s := range snap.Sockets {
		c.Sockets = append(c.Sockets, unjudged(s))
	}
	c.foremost(e.PIDs)
	c.Examine(e.Limits)
	for _, s := range c.Sockets {
		if e.All || len(s.Diagnoses) > 0 {
			c.Shown = append(c.Shown, s)
		}
	}
	c.Groups = groups(c.Shown)
	c.Evaluate(e.Rules)
	return c
}

// seenWhole reports that no connection was out of sight that was asked for. A
// process that could not be read hides nothing here but whose a connection is,
// unless it was named.
func seenWhole(snap *fdscan.Snapshot, pids []int) bool {
	for _, g := range snap.Gaps {
		if g.Scope == fdscan.ScopeTables || g.Scope == fdscan.ScopeElsewhere || g.Scope == fdscan.ScopeHolders && slices.Contains(pids, g.PID) {
			return false
		}
	}
	return snap.HoldersComplete || !slices.ContainsFunc(snap.Sockets, func(s *fdscan.Socket) bool { return s.Inode != 0 && len(s.Holders) == 0 })
}

// unjudged wraps a socket of which it is not asked how its holders came by it; of
// a listener that somebody waits for, who serves it.
func unjudged(s *fdscan.Socket) *Socket {
	socket := &Socket{Socket: s, Served: Unknown}
	served := Idle
	for _, h := range s.Holders {
		serves := serving(s, h.Process)
		served = served.more(serves)
		socket.Holders = append(socket.Holders, &Holder{Holder: h, Serving: serves, Origin: Origin{Kind: NoOrigin}})
	}
	if s.State == fdscan.Listen && len(s.Holders) > 0 {
		socket.Served = served
	}
	return socket
}

// groups brings sockets together by the first of the processes that hold each.
func groups(sockets []*Socket) (all []Group) {
	index := map[*fdscan.Process]int{}
	for _, s := range sockets {
		p := s.firstProcess()
		i, known := index[p]
		if !known {
			i = len(all)
			index[p] = i
			all = append(all, Group{Process: p})
		}
		all[i].Sockets = append(all[i].Sockets, s)
	}
	for _, g := range all {
		slices.SortStableFunc(g.Sockets, worseFirst)
	}
	slices.SortStableFunc(all, func(a, b Group) int {
		return cmp.Or(worseFirst(a.Sockets[0], b.Sockets[0]), cmp.Compare(len(b.Sockets), len(a.Sockets)), cmp.Compare(pidOf(a.Process), pidOf(b.Process)))
	})
	return all
}

func (s *Socket) firstProcess() *fdscan.Process {
	if len(s.Holders) == 0 {
		return nil
	}
	return s.Holders[0].Process
}

func pidOf(p *fdscan.Process) int {
	if p == nil {
		return 0
	}
	return p.PID
}

// worseFirst orders sockets by the gravest of what is wrong with them, and then
// by how long it has been so.
func worseFirst(a, b *Socket) int {
	worst := func(s *Socket) (d Diagnosis) {
		for _, o := range s.Diagnoses {
			if o.Severity > d.Severity {
				d = o
			}
		}
		return d
	}
	x, y := worst(a), worst(b)
	return cmp.Or(cmp.Compare(y.Severity, x.Severity), cmp.Compare(y.For, x.For))
}

// Pile are sockets of one process with the same ailment; where their processes
// are not known, those that one program may have.
type Pile struct {
	Process *fdscan.Process // nil when no process has them, or none that was seen
	// Members come with the worst first, and FD is its descriptor; -1 for none.
	Members []*Socket
	FD      int
	Worst   Diagnosis
}

// Piles brings together, of all sockets of the view, those with a diagnosis of
// one rule: by process, ailment and severity.
func (v *View) Piles(rule string) (piles []*Pile) {
	type key struct {
		process  *fdscan.Process
		owner    unseenOwner
		ailment  Ailment
		severity Severity
	}
	index := map[key]*Pile{}
	for _, s := range v.Sockets {
		for _, d := range s.Diagnoses {
			if d.Rule != rule {
				continue
			}
			k := key{process: s.firstProcess(), ailment: d.Ailment, severity: d.Severity}
			if k.process == nil {
				k.owner = v.unseenOwner(s)
			}
			p := index[k]
			if p == nil {
				p = &Pile{Process: k.process, Worst: d, FD: -1}
				index[k] = p
				piles = append(piles, p)
			}
			p.Members = append(p.Members, s)
		}
	}
	for _, p := range piles {
		slices.SortStableFunc(p.Members, worseFirst)
		for _, d := range p.Members[0].Diagnoses {
			if d.Rule == rule {
				p.Worst = d
			}
		}
		if hs := p.Members[0].Holders; len(hs) > 0 {
			p.FD = hs[0].FD
		}
	}
	return piles
}

// unseenOwner is what is known of the process of a socket whose holders were not
// seen: unrelated ones differ in it.
type unseenOwner struct {
	netns uint64
	uid   int64 // -1 when not known
	addr  netip.Addr
	port  uint16 // 0 for one that the kernel chose
}

func (v *View) unseenOwner(s *Socket) unseenOwner {
	o := unseenOwner{netns: s.NetNS, uid: -1, addr: s.Local.Addr}
	if s.UID != nil {
		o.uid = int64(*s.UID)
	}
	if !Ephemeral(v.Host, s.Local.Port) {
		o.port = s.Local.Port
	}
	return o
}

// NewPileFinding returns a finding of r about a pile.
func NewPileFinding(r *Rule, h fdscan.Host, p *Pile, message string) Finding {
	s := p.Members[0]
	f := Finding{
		Rule: r, Severity: p.Worst.Severity, Process: p.Process, FD: p.FD, Inode: s.Inode, Message: message,
		Evidence: p.Worst.Evidence, Next: []string{"stray explain " + r.ID}, Sockets: p.Members,
	}
	name := ""
	if p.Process != nil {
		name = program(p.Process)
		if hs := s.Holders; len(hs) > 0 {
			f.TID = hs[0].TID
		}
	}
	// A client has another port of its own after every start.
	address := s.stableAddress()
	if s.Protocol != fdscan.Unix && s.Remote.Port != 0 && Ephemeral(h, s.Local.Port) {
		address = EndpointText(s.Protocol, s.Remote)
		if Ephemeral(h, s.Remote.Port) { // neither of its ends was chosen by a program
			address = s.Remote.Addr.String() + " *"
		}
	} else if s.Protocol != fdscan.Unix {
		address = fmt.Sprintf(":%d", s.Local.Port)
	}
	f.Fingerprint = fingerprint(r.ID, string(p.Worst.Ailment), name, string(s.Protocol), address)
	return f
}

// UnseenHealth says why v does not show all there is to a rule about health; ""
// when it does.
func UnseenHealth(v *View) string {
	if !v.TablesComplete {
		return "a socket table could not be read whole"
	}
	i := slices.IndexFunc(v.Gaps, func(g fdscan.Gap) bool { return g.Scope == fdscan.ScopeElsewhere })
	if i < 0 {
		return ""
	}
	text := "the sockets of another network namespace could not be read"
	if needs := v.Gaps[i].Needs; needs != "" {
		text += " (needs " + needs + ")"
	}
	return text
}
