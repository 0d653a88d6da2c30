package inspect

import (
	"slices"
	"strings"

	"stray/fdscan"
)

// Scan judges what a survey of the machine has found. It is about processes with
// these pids and their descendants, about all if there are none; see Limit.
func Scan(snap *fdscan.Snapshot, rules []*Rule, pids ...int) *Outcome {
	o := &Outcome{View: Judge(snap), Complete: snap.TablesComplete && snap.HoldersComplete}
	o.foremost(Descendants(snap, pids))
	o.Sight |= SightTables
	for _, s := range o.Sockets {
		if s.IsPort() || slices.ContainsFunc(s.Holders, func(h *Holder) bool { return h.Origin.Leak }) {
			o.Shown = append(o.Shown, s)
		}
	}
	o.Evaluate(rules)
	return o
}

// Join adds what was found of the health of connections, on the same machine and
// at the same time.
func (o *Outcome) Join(c *Connections) {
	o.Sight |= c.Sight
	o.Complete = o.Complete && c.Complete
	o.Looked, o.Networks, o.Limits, o.Asked.Limits = c.Looked, c.Networks, c.Limits, c.Asked.Limits
	for pid, p := range c.Processes {
		if o.Processes[pid] == nil {
			o.Processes[pid] = p
		}
	}
	shown := map[socketKey]*Socket{}
	for _, s := range o.Shown {
		shown[s.key()] = s
	}
	for _, s := range c.Shown {
		if same := shown[s.key()]; same != nil {
			same.Health, same.Diagnoses = s.Health, s.Diagnoses
		} else {
			o.Shown = append(o.Shown, s)
		}
	}
	for _, g := range c.Gaps {
		if !slices.Contains(o.Gaps, g) {
			o.Gaps = append(o.Gaps, g)
		}
	}
	o.Evaluated = append(o.Evaluated, c.Evaluated...)
	slices.SortStableFunc(o.Evaluated, func(a, b *Rule) int { return strings.Compare(a.ID, b.ID) })
	o.NotEvaluated = append(o.NotEvaluated, c.NotEvaluated...)
	o.Findings = append(o.Findings, c.Findings...)
	slices.SortStableFunc(o.Findings, func(a, b Finding) int { return int(b.Severity) - int(a.Severity) })
}

// socketKey tells sockets apart: a cookie is one for the whole machine, and
// what has none has an inode, or nothing but its ends.
type socketKey struct {
	cookie, inode uint64
	protocol      fdscan.Protocol
	ends          [2]fdscan.Endpoint
}

func (s *Socket) key() socketKey {
	switch {
	case s.Inode != 0:
		return socketKey{inode: s.Inode, protocol: s.Protocol}
	case s.Cookie != 0:
		return socketKey{cookie: s.Cookie}
	}
	return socketKey{protocol: s.Protocol, ends: [2]fdscan.Endpoint{s.Local, s.Remote}}
}

// Limit leaves of an outcome what concerns processes with these pids and their
// descendants. It is judged already, with everybody in sight. It returns those of
// the pids that nothing is known of, since they have no descriptor table that
// could be read; their outcome is not complete.
func (o *Outcome) Limit(pids []int) (unseen []int) {
	o.Asked.PIDs, o.PIDs = pids, Descendants(o.Snapshot, pids)
	theirs := func(p *fdscan.Process) bool { return p != nil && slices.Contains(o.PIDs, p.PID) }
	o.Shown = slices.DeleteFunc(o.Shown, func(s *Socket) bool {
		s.Holders = slices.DeleteFunc(s.Holders, func(h *Holder) bool { return !theirs(h.Process) })
		return len(s.Holders) == 0
	})
	o.Tables = slices.DeleteFunc(o.Tables, func(t *fdscan.Table) bool { return !theirs(t.Process) })
	o.Descriptors = slices.DeleteFunc(o.Descriptors, func(d *fdscan.Descriptor) bool { return !theirs(d.Process) })
	o.Findings = slices.DeleteFunc(o.Findings, func(f Finding) bool { return !theirs(f.Process) })
	for _, pid := range pids {
		if slices.ContainsFunc(o.Tables, func(t *fdscan.Table) bool { return t.Process.PID == pid }) {
			continue
		}
		unseen = append(unseen, pid)
		o.Complete = false
		if !slices.ContainsFunc(o.Gaps, func(g fdscan.Gap) bool { return g.PID == pid && g.Scope == fdscan.ScopeHolders }) {
			o.Gaps = append(o.Gaps, fdscan.Gap{Op: "list the descriptors", PID: pid, FD: -1, Err: "it has ended, or is the kernel's own", Scope: fdscan.ScopeHolders})
		}
	}
	return unseen
}

// foremost puts what processes with these pids hold before what others do: a
// finding about what several hold names the first of them, which so is one that
// was asked for.
func (v *View) foremost(pids []int) {
	if len(pids) == 0 {
		return
	}
	order := func(p, q *fdscan.Process) int {
		switch a, b := slices.Contains(pids, p.PID), slices.Contains(pids, q.PID); {
		case a && !b:
			return -1
		case b && !a:
			return 1
		}
		return 0
	}
	for _, s := range v.Sockets {
		slices.SortStableFunc(s.Holders, func(a, b *Holder) int { return order(a.Process, b.Process) })
	}
	slices.SortStableFunc(v.Descriptors, func(a, b *fdscan.Descriptor) int { return order(a.Process, b.Process) })
}

// Descendants returns pids and those of all their living descendants, sorted.
func Descendants(snap *fdscan.Snapshot, pids []int) (all []int) {
	for pid, p := range snap.Processes {
		for q := p; q != nil; q = snap.Parent(q) {
			if slices.Contains(pids, q.PID) {
				all = append(all, pid)
				break
			}
		}
	}
	// What has ended has no descendants, and was asked for all the same.
	all = append(all, pids...)
	slices.Sort(all)
	return slices.Compact(all)
}
