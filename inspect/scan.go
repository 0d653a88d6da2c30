package inspect

import (
	"slices"

	"stray/fdscan"
)

// Scan judges what a survey of the machine has found.
func Scan(snap *fdscan.Snapshot, rules []*Rule) *Outcome {
	o := &Outcome{View: Judge(snap), Complete: snap.TablesComplete && snap.HoldersComplete}
	o.Sight |= SightTables
	for _, s := range o.Sockets {
		if s.IsPort() || slices.ContainsFunc(s.Holders, func(h *Holder) bool { return h.Origin.Leak }) {
			o.Shown = append(o.Shown, s)
		}
	}
	o.Evaluate(rules)
	return o
}

// Limit leaves of an outcome what concerns processes with these pids and their
// descendants. It is judged already, with everybody in sight.
func (o *Outcome) Limit(pids []int) {
	o.PIDs = Descendants(o.Snapshot, pids)
	theirs := func(p *fdscan.Process) bool { return p != nil && slices.Contains(o.PIDs, p.PID) }
	o.Shown = slices.DeleteFunc(o.Shown, func(s *Socket) bool {
		s.Holders = slices.DeleteFunc(s.Holders, func(h *Holder) bool { return !theirs(h.Process) })
		return len(s.Holders) == 0
	})
	o.Tables = slices.DeleteFunc(o.Tables, func(t *fdscan.Table) bool { return !theirs(t.Process) })
	o.Descriptors = slices.DeleteFunc(o.Descriptors, func(d *fdscan.Descriptor) bool { return !theirs(d.Process) })
	o.Findings = slices.DeleteFunc(o.Findings, func(f Finding) bool { return !theirs(f.Process) })
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
	slices.Sort(all)
	return all
}
