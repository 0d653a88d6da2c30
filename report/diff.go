package report

import (
	"cmp"
	"maps"
	"slices"

	"stray/fdscan"
	"stray/inspect"
)

// Diff is what differs between two reports, in its JSON form. What is equal in
// both is left out.
type Diff struct {
	SchemaVersion string `json:"schema_version"`
	Tool          Tool   `json:"tool"`
	Command       string `json:"command"`
	Old           Side   `json:"old"`
	New           Side   `json:"new"`
	// SameBoot reports that pids mean the same in both.
	SameBoot bool `json:"same_boot"`
	// SameQuestion reports that both were asked the same. Where they were not, what
	// only one of them could have is left out.
	SameQuestion bool `json:"same_question"`
	// Appeared are findings that the old report does not have, or has less often
	// or in a milder form; Gone are those that the new one does not have.
	Appeared []Finding `json:"appeared"`
	Gone     []Finding `json:"gone"`
	// NotCompared are rules of which one of the reports could not tell what the
	// other does: that may be there all the same.
	NotCompared []string      `json:"not_compared"`
	Tables      []TableChange `json:"tables"`
	// Listening are the listeners and bound sockets that came or went in the
	// caller's network namespace, and Connections those of reports that tell of
	// all of them; both only of one question.
	Listening   []ListeningChange  `json:"listening"`
	Connections []ConnectionChange `json:"connections"`
}

// Side is one of the reports.
type Side struct {
	Command  string   `json:"command"`
	TakenAt  string   `json:"taken_at"`
	Host     Host     `json:"host"`
	Query    []string `json:"query"`
	Asked    Asked    `json:"asked"`
	Verdict  *string  `json:"verdict"`
	Complete bool     `json:"complete"`
}

// TableChange is how the descriptors of a process, or of all processes of a
// program that were started anew, have changed in number.
type TableChange struct {
	Program string `json:"program"`
	// PID is that of the process when it is in both reports; null for the
	// processes of a program that are in one of them only.
	PID       *int         `json:"pid"`
	TID       *int         `json:"tid"`
	Processes Change       `json:"processes"`
	Open      Change       `json:"open"`
	Kinds     []KindChange `json:"kinds"`
}

// Change is a number that is another now.
type Change struct {
	Old int `json:"old"`
	New int `json:"new"`
}

// KindChange is how many descriptors of a kind there are.
type KindChange struct {
	Kind string `json:"kind"`
	Change
}

// ListeningChange is an address that is kept by another number of sockets.
type ListeningChange struct {
	Protocol string   `json:"protocol"`
	State    string   `json:"state"`
	Local    Endpoint `json:"local"`
	Change
	// Programs hold it, in the report that has it.
	Programs []string `json:"programs"`
}

// ConnectionChange is how many connections there are in a state.
type ConnectionChange struct {
	Protocol string `json:"protocol"`
	State    string `json:"state"`
	Change
}

// Compare says what differs between two reports.
func Compare(version string, before, after *Document) *Diff {
	d := &Diff{
		SchemaVersion: SchemaVersion, Tool: Tool{"stray", version}, Command: "diff",
		Old: newSide(before), New: newSide(after), SameBoot: before.Host.BootID == after.Host.BootID, SameQuestion: sameQuestion(before, after),
		Tables: compareTables(before, after), Listening: []ListeningChange{}, Connections: []ConnectionChange{},
	}
	if d.SameQuestion && listsListeners(before) {
		d.Listening = compareListening(before.Sockets, after.Sockets)
	}
	if d.SameQuestion && listsConnections(before) {
		d.Connections = compareConnections(before.Sockets, after.Sockets)
	}
	d.compareFindings(before, after)
	return d
}

func newSide(d *Document) Side {
	same := func(s string) string { return s }
	asked := Asked{list(d.Asked.PIDs, func(pid int) int { return pid }), list(d.Asked.Programs, same), list(d.Asked.Limits, same), d.Asked.All, d.Asked.Deep, d.Asked.Twice}
	return Side{d.Command, d.TakenAt, d.Host, list(d.Query, same), asked, d.Verdict, d.Complete}
}

// compareFindings matches findings by their fingerprints. One that was suppressed
// before is not new. What a report was not asked about, or a rule that it did not
// check, has found nothing, and so has nothing that could be new or gone; of a
// rule that neither could check in full, what more is found is new.
func (d *Diff) compareFindings(before, after *Document) {
	suppressed := func(d *Document) []Finding {
		return list(d.Suppressed, func(s Suppressed) Finding { return s.Finding })
	}
	known := slices.Concat(before.Findings, suppressed(before))
	present := slices.Concat(after.Findings, suppressed(after))
	d.Appeared = missing(after.Findings, known, func(f, other inspect.Severity) bool { return other >= f })
	d.Gone = missing(before.Findings, present, func(_, _ inspect.Severity) bool { return true })
	d.NotCompared = []string{}
	leaveOut := func(findings []Finding, comparable func(rule string) bool) []Finding {
		return slices.DeleteFunc(findings, func(f Finding) bool {
			if !comparable(f.Rule) {
				d.NotCompared = append(d.NotCompared, f.Rule)
				return true
			}
			return false
		})
	}
	oldCovers, newCovers := covers(before, after), covers(after, before)
	d.Appeared = leaveOut(d.Appeared, func(rule string) bool {
		return oldCovers && (slices.Contains(before.Evaluated, rule) || starved(before, rule) && starved(after, rule))
	})
	d.Gone = leaveOut(d.Gone, func(rule string) bool { return newCovers && slices.Contains(after.Evaluated, rule) })
	for _, rule := range slices.Concat(before.Evaluated, after.Evaluated) {
		if slices.Contains(before.Evaluated, rule) != slices.Contains(after.Evaluated, rule) {
			d.NotCompared = append(d.NotCompared, rule)
		}
	}
	slices.Sort(d.NotCompared)
	d.NotCompared = slices.Compact(d.NotCompared)
}

// missing returns those of some findings that others lack: each of these accounts
// for one that is equal, if its severity covers that.
func missing(some, others []Finding, covers func(f, other inspect.Severity) bool) []Finding {
	stock := map[string][]inspect.Severity{}
	for _, f := range others {
		stock[f.Fingerprint] = append(stock[f.Fingerprint], inspect.SeverityNamed(f.Severity))
	}
	left := []Finding{}
	for _, f := range some {
		equal := stock[f.Fingerprint]
		i := slices.IndexFunc(equal, func(other inspect.Severity) bool { return covers(inspect.SeverityNamed(f.Severity), other) })
		if i < 0 {
			left = append(left, f)
		} else {
			stock[f.Fingerprint] = slices.Delete(equal, i, i+1)
		}
	}
	return left
}

// Fails reports whether a finding has appeared that is as grave as that.
func (d *Diff) Fails(failOn inspect.Severity) bool {
	return slices.ContainsFunc(d.Appeared, func(f Finding) bool { return inspect.SeverityNamed(f.Severity) >= failOn })
}

// filling is what some tables hold.
type filling struct {
	processes, open int
	kinds           map[string]int
}

func (f *filling) add(t *Table) {
	f.processes++
	f.open += t.Open
	if f.kinds == nil {
		f.kinds = map[string]int{}
	}
	for kind, n := range t.Kinds {
		f.kinds[kind] += n
	}
}

// compareTables compares a process that is in both reports with itself, and what
// remains program by program: after a restart every process is another. That
// takes two reports of all processes of the program, or of the same ones.
func compareTables(before, after *Document) []TableChange {
	type identity struct {
		pid, tid int
		start    string
	}
	of := func(t *Table) identity {
		i := identity{pid: t.PID, start: t.Process.StartTime}
		if t.TID != nil {
			i.tid = *t.TID
		}
		return i
	}
	// scan --fds tells kinds apart that are one elsewhere, and leaves descendants out.
	alike := judged(before) == judged(after)
	beforeTables, afterTables := before.Tables, after.Tables
	if !alike {
		beforeTables, afterTables = before.unaskedTables(), after.unaskedTables()
	}
	old := map[identity]*Table{}
	for i := range beforeTables {
		old[of(&beforeTables[i])] = &beforeTables[i]
	}
	sameBoot := before.Host.BootID == after.Host.BootID
	changes := []TableChange{}
	programs := map[string]*[2]filling{}
	other := func(t *Table, side int) {
		name := programOf(t.Process)
		if programs[name] == nil {
			programs[name] = &[2]filling{}
		}
		programs[name][side].add(t)
	}
	for i := range afterTables {
		t := &afterTables[i]
		was := old[of(t)]
		if was == nil || !sameBoot {
			other(t, 1)
			continue
		}
		delete(old, of(t))
		var a, b filling
		a.add(was)
		b.add(t)
		if c := newTableChange(programOf(t.Process), a, b); c != nil {
			c.PID, c.TID = &t.PID, t.TID
			changes = append(changes, *c)
		}
	}
	for _, t := range old {
		other(t, 0)
	}
	if !alike || !covers(before, after) || !covers(after, before) || len(before.Tables) == 0 || len(after.Tables) == 0 {
		clear(programs)
	}
	for name, sides := range programs {
		if c := newTableChange(name, sides[0], sides[1]); c != nil {
			changes = append(changes, *c)
		}
	}
	slices.SortFunc(changes, func(a, b TableChange) int {
		return cmp.Or(
			cmp.Compare(b.Open.New-b.Open.Old, a.Open.New-a.Open.Old), cmp.Compare(a.Program, b.Program),
			cmp.Compare(value(a.PID), value(b.PID)), cmp.Compare(value(a.TID), value(b.TID)))
	})
	return changes
}

func value(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// programOf names the program of a process.
func programOf(p Process) string {
	exe := ""
	if p.Exe != nil {
		exe = *p.Exe
	}
	return fdscan.ProgramName(exe, p.Comm, p.Cmdline)
}

// newTableChange is nil when nothing has changed.
func newTableChange(program string, a, b filling) *TableChange {
	c := &TableChange{Program: program, Processes: Change{a.processes, b.processes}, Open: Change{a.open, b.open}, Kinds: []KindChange{}}
	both := map[string]int{}
	maps.Copy(both, a.kinds)
	maps.Copy(both, b.kinds)
	for kind := range both {
		if a.kinds[kind] != b.kinds[kind] {
			c.Kinds = append(c.Kinds, KindChange{kind, Change{a.kinds[kind], b.kinds[kind]}})
		}
	}
	slices.SortFunc(c.Kinds, func(a, b KindChange) int {
		return cmp.Or(cmp.Compare(b.New-b.Old, a.New-a.Old), cmp.Compare(a.Kind, b.Kind))
	})
	if len(c.Kinds) == 0 && a.open == b.open && a.processes == b.processes {
		return nil
	}
	return c
}

// compareListening compares what keeps an address in the namespace of the caller.
func compareListening(before, after []Socket) []ListeningChange {
	type key struct{ protocol, state, local string }
	found := map[key]*ListeningChange{}
	look := func(sockets []Socket, n func(*ListeningChange) *int) {
		for _, s := range sockets {
			if s.Protocol == nil || !s.NetNSIsMine || s.State != "LISTEN" && s.State != "BOUND" {
				continue
			}
			k := key{*s.Protocol, s.State, endpointWord(s.Local)}
			c := found[k]
			if c == nil {
				c = &ListeningChange{Protocol: *s.Protocol, State: s.State, Local: s.Local, Programs: []string{}}
				found[k] = c
			}
			*n(c)++
			for _, h := range s.Holders {
				if name := programOf(h.Process); !slices.Contains(c.Programs, name) {
					c.Programs = append(c.Programs, name)
				}
			}
		}
	}
	look(before, func(c *ListeningChange) *int { return &c.Old })
	look(after, func(c *ListeningChange) *int { return &c.New })
	changes := []ListeningChange{}
	for _, c := range found {
		if c.Old != c.New {
			slices.Sort(c.Programs)
			changes = append(changes, *c)
		}
	}
	slices.SortFunc(changes, func(a, b ListeningChange) int {
		came := func(c ListeningChange) int { return cmp.Compare(c.Old, c.New) }
		return cmp.Or(came(a)-came(b), cmp.Compare(a.Protocol, b.Protocol), compareEndpoints(a.Local, b.Local), cmp.Compare(a.State, b.State))
	})
	return changes
}

// compareEndpoints orders ports by their number, and what has none by its name.
func compareEndpoints(a, b Endpoint) int {
	port := func(e Endpoint) uint16 {
		if e.Port == nil {
			return 0
		}
		return *e.Port
	}
	return cmp.Or(cmp.Compare(port(a), port(b)), cmp.Compare(endpointWord(a), endpointWord(b)))
}

// compareConnections counts connections in the namespace of the caller by their
// state.
func compareConnections(before, after []Socket) []ConnectionChange {
	type key struct{ protocol, state string }
	found := map[key]Change{}
	for side, sockets := range [][]Socket{before, after} {
		for _, s := range sockets {
			if s.Protocol == nil || !s.NetNSIsMine || s.State == "LISTEN" || s.State == "BOUND" {
				continue
			}
			k := key{*s.Protocol, s.State}
			c := found[k]
			if side == 0 {
				c.Old++
			} else {
				c.New++
			}
			found[k] = c
		}
	}
	changes := []ConnectionChange{}
	for k, c := range found {
		if c.Old != c.New {
			changes = append(changes, ConnectionChange{k.protocol, k.state, c})
		}
	}
	slices.SortFunc(changes, func(a, b ConnectionChange) int {
		return cmp.Or(cmp.Compare(b.New-b.Old, a.New-a.Old), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.State, b.State))
	})
	return changes
}
