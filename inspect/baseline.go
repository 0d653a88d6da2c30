package inspect

import (
	"cmp"
	"slices"
)

// Baseline are findings that were known at some time, and are not to fail
// anything since: what is new is.
type Baseline struct{ Entries []BaselineEntry }

// BaselineEntry are known findings with one fingerprint.
type BaselineEntry struct {
	Fingerprint string
	// Count is how many there may be. Faults that are equal have one fingerprint:
	// one more of them is new.
	Count int
	// Severity is the gravest that is known: one that has grown worse is new.
	Severity Severity
	// With are the commands that found it, where they look at more than is usual
	// (Scope.Beyond): others may not see it. Empty once one of those has.
	With []string
	// Rule, Program and Message are for whoever reads the file; the message is of
	// the time when the entry was made.
	Rule, Program, Message string
}

// index finds entries by their fingerprint.
func (b *Baseline) index() map[string]*BaselineEntry {
	index := make(map[string]*BaselineEntry, len(b.Entries))
	for i := range b.Entries {
		index[b.Entries[i].Fingerprint] = &b.Entries[i]
	}
	return index
}

// Apply takes out of the findings of o those that are known: of equal ones the
// mildest, as many as the baseline has. It returns what the baseline has beyond
// them, as far as that would have been seen.
func (b *Baseline) Apply(o *Outcome) (stale []BaselineEntry) {
	index, used := b.index(), map[string]int{}
	var known []Suppressed
	// The findings are in order of severity.
	for i := len(o.Findings) - 1; i >= 0; i-- {
		f := o.Findings[i]
		e := index[f.Fingerprint]
		if e == nil || used[f.Fingerprint] >= e.Count || f.Severity > e.Severity {
			continue
		}
		used[f.Fingerprint]++
		known = append(known, Suppressed{Finding: f, By: ByBaseline})
		o.Findings = slices.Delete(o.Findings, i, i+1)
	}
	slices.Reverse(known)
	o.Suppressed = append(o.Suppressed, known...)
	for _, e := range b.Entries {
		if rest := e.Count - used[e.Fingerprint]; rest > 0 && o.wouldSee(e) {
			e.Count = rest
			stale = append(stale, e)
		}
	}
	return stale
}

// wouldSee reports whether o looked where the findings of an entry could be, so
// that those which were not found are gone: everywhere or, where it was limited to
// processes or could not see all, in every process of that program.
func (o *Outcome) wouldSee(e BaselineEntry) bool {
	var rule *Rule
	for _, r := range o.Evaluated {
		if r.ID == e.Rule {
			rule = r
		}
	}
	for _, u := range o.NotEvaluated {
		if u.Rule.ID == e.Rule {
			rule = u.Rule
		}
	}
	switch {
	case rule == nil || !within(e.With, o.Asked.Beyond(rule)):
		return false
	case o.sawAll(rule):
		return true
	}
	return len(o.Asked.Targets)+len(o.Asked.Limits) == 0 && o.sawProgram(e.Program)
}

// within reports that all of some words are among others.
func within(some, others []string) bool {
	return !slices.ContainsFunc(some, func(word string) bool { return !slices.Contains(others, word) })
}

// Update makes the baseline know every finding of o, and forget those that are
// gone. What o could not see stays. Entries that stay keep their message, so
// that the file changes only where the findings have.
func (b *Baseline) Update(o *Outcome) {
	fresh := map[string]*BaselineEntry{}
	for _, f := range o.Findings {
		e := fresh[f.Fingerprint]
		if e == nil {
			e = &BaselineEntry{Fingerprint: f.Fingerprint, Rule: f.Rule.ID, Message: f.Message, With: o.Asked.Beyond(f.Rule)}
			fresh[f.Fingerprint] = e
			if f.Process != nil {
				e.Program = program(f.Process)
			}
		}
		e.Count++
		e.Severity = max(e.Severity, f.Severity)
	}
	for _, old := range b.Entries {
		e, gone := fresh[old.Fingerprint], o.wouldSee(old)
		switch {
		case e == nil && gone:
		case e == nil:
			fresh[old.Fingerprint] = &old
		default:
			e.Message = old.Message
			e.With = slices.DeleteFunc(e.With, func(word string) bool { return !slices.Contains(old.With, word) })
			if !gone {
				e.Count, e.Severity = max(e.Count, old.Count), max(e.Severity, old.Severity)
			}
		}
	}
	b.Entries = nil
	for _, e := range fresh {
		b.Entries = append(b.Entries, *e)
	}
	b.sort()
}

// Prune forgets what Apply has returned.
func (b *Baseline) Prune(stale []BaselineEntry) {
	index := b.index()
	for _, s := range stale {
		index[s.Fingerprint].Count -= s.Count
	}
	b.Entries = slices.DeleteFunc(b.Entries, func(e BaselineEntry) bool { return e.Count <= 0 })
	b.sort()
}

// sort puts the entries into the order of the file.
func (b *Baseline) sort() {
	slices.SortFunc(b.Entries, func(x, y BaselineEntry) int {
		return cmp.Or(cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Program, y.Program), cmp.Compare(x.Fingerprint, y.Fingerprint))
	})
}
