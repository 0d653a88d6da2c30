package inspect

import "stray/fdscan"

// Choose answers a question that names connections otherwise than by who holds
// them: Shown are those that choose picks of a snapshot of Scanner.Connections,
// judged by limits.
func Choose(snap *fdscan.Snapshot, limits Limits, choose func(*Socket) bool) *Answer {
	a := &Answer{Outcome: Outcome{View: Judge(snap), Complete: snap.TablesComplete && snap.HoldersComplete}}
	a.Examine(limits)
	for _, s := range a.Sockets {
		if choose(s) {
			a.Shown = append(a.Shown, s)
		}
	}
	return a
}

// Ails reports whether a rule speaks of s as worse than a note.
func (s *Socket) Ails(rule string) (d Diagnosis, ails bool) {
	for _, d := range s.Diagnoses {
		if d.Rule == rule && d.Severity > Note {
			return d, true
		}
	}
	return Diagnosis{}, false
}
