package fdscan

import (
	"cmp"
	"slices"
)

// addTables fills Snapshot.Tables. A table that could not be read has no row: how
// many descriptors it has is not known.
func (l *lister) addTables() {
	var full []*Table
	for _, t := range l.open {
		if t.refused {
			continue
		}
		table := &Table{Process: t.process, TID: t.tid, Open: len(t.descriptors), Limit: t.limit, Kinds: map[string]int{}}
		for _, d := range t.descriptors {
			table.Kinds[d.Kind.Name]++
		}
		l.snap.Tables = append(l.snap.Tables, table)
		// What has no table at all compares as the same.
		if table.Open > 0 && !l.Detached {
			full = append(full, table)
		}
	}
	l.noteSharing(full)
	if len(l.question.PIDs) > 0 {
		l.sharedWithOthers(full)
	}
}

// noteSharing finds those that are one. kcmp(2) orders tables, so that equal ones
// come to stand side by side.
func (l *lister) noteSharing(tables []*Table) {
	order := func(a, b *Table) int {
		n, err := compareTables(a.task(), b.task())
		if err != nil {
			return cmp.Compare(a.Process.PID, b.Process.PID)
		}
		return n
	}
	slices.SortFunc(tables, order)
	for len(tables) > 0 {
		n := 1
		for n < len(tables) && order(tables[0], tables[n]) == 0 {
			n++
		}
		for _, t := range tables[:n] {
			for _, other := range tables[:n] {
				if other.Process != t.Process {
					t.SharedWith = append(t.SharedWith, other.Process.PID)
				}
			}
			slices.Sort(t.SharedWith)
		}
		tables = tables[n:]
	}
}

// sharedWithOthers compares tables with those of processes that are not listed.
func (l *lister) sharedWithOthers(tables []*Table) {
	pids, err := listPIDs(l.root())
	if err != nil {
		return
	}
	for _, pid := range pids {
		if slices.Contains(l.question.PIDs, pid) {
			continue
		}
		for _, t := range tables {
			if order, err := compareTables(t.task(), pid); err == nil && order == 0 {
				t.SharedWith = append(t.SharedWith, pid)
				slices.Sort(t.SharedWith)
			}
		}
	}
}

// task is a thread that uses the table.
func (t *Table) task() int { return cmp.Or(t.TID, t.Process.PID) }
