package report

import (
	"slices"
	"strings"

	"stray/fdscan"
)

// covers reports that whatever b was asked about, a was asked about too: what a
// does not have then is not there. A process that was started anew is what its
// program was before.
func covers(a, b *Document) bool {
	pids := within(a.Asked.PIDs, b.Asked.PIDs)
	if a.Host.BootID != b.Host.BootID || !pids {
		pids = len(a.Asked.PIDs) == 0 || len(b.Asked.Programs) > 0 && len(a.Asked.Programs) > 0 && within(a.Asked.Programs, b.Asked.Programs)
	}
	switch {
	case !pids || !slices.Equal(a.Asked.Limits, b.Asked.Limits):
		return false
	case a.Asked.Twice != b.Asked.Twice || b.Asked.Deep && !a.Asked.Deep: // a second look finds some, and clears others
		return false
	case a.Run != nil || b.Run != nil: // the query is a command, and need not be the same one
		return a.Run != nil && b.Run != nil
	}
	return within(a.Query, b.Query)
}

// within reports that what some are limited to is no more than what all are;
// empty is no limit.
func within[T comparable](all, some []T) bool {
	beyond := func(v T) bool { return !slices.Contains(all, v) }
	return len(all) == 0 || len(some) > 0 && !slices.ContainsFunc(some, beyond)
}

// judged reports that rules were run at all.
func judged(d *Document) bool { return len(d.Evaluated)+len(d.NotEvaluated) > 0 }

// unaskedTables are the tables of d, with the kinds of descriptors by the names
// that scan and check have for them: scan --fds tells more kinds apart.
func (d *Document) unaskedTables() []Table {
	tables := slices.Clone(d.Tables)
	for i := range tables {
		kinds := map[string]int{}
		for name, n := range tables[i].Kinds {
			kinds[fdscan.UnaskedName(name)] += n
		}
		tables[i].Kinds = kinds
	}
	return tables
}

// starved reports a rule that d could not check, so that it may have found but
// some of what there was.
func starved(d *Document, rule string) bool {
	return slices.ContainsFunc(d.NotEvaluated, func(u Unevaluated) bool { return u.Rule == rule })
}

// sameQuestion reports that both were asked the same.
func sameQuestion(a, b *Document) bool {
	return a.Command == b.Command && judged(a) == judged(b) && a.Asked.All == b.Asked.All && covers(a, b) && covers(b, a)
}

// listsListeners reports that d has every listener that it was asked about, and
// listsConnections every connection.
func listsListeners(d *Document) bool {
	return judged(d) && d.Run == nil && (d.Command != "conns" || d.Asked.All)
}

func listsConnections(d *Document) bool {
	return d.Asked.All
}

// askedText is what a report was asked, beyond the name of its command.
func askedText(s Side) string {
	text := strings.Join(s.Query, " ")
	if n := len(s.Asked.PIDs); n > 0 {
		text += " -p"
		for i, pid := range s.Asked.PIDs {
			text += map[bool]string{true: " ", false: ","}[i == 0] + number(uint64(pid))
		}
		if len(s.Asked.Programs) > 0 {
			text += " (" + strings.Join(s.Asked.Programs, ", ") + ")"
		}
	}
	for _, f := range s.Asked.flags() {
		text += " " + f
	}
	return strings.TrimSpace(text)
}
