package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

// gapLine is a kind of gap, and in how many processes it was met.
type gapLine struct {
	fdscan.Gap
	pids []int
}

// gapLines brings gaps together that differ in their process only.
func gapLines(gaps []fdscan.Gap) (lines []gapLine) {
	for _, g := range gaps {
		i := slices.IndexFunc(lines, func(l gapLine) bool {
			return l.Op == g.Op && l.Err == g.Err && l.Needs == g.Needs && l.Scope == g.Scope
		})
		if i < 0 {
			i = len(lines)
			lines = append(lines, gapLine{Gap: g})
		}
		if !slices.Contains(lines[i].pids, g.PID) {
			lines[i].pids = append(lines[i].pids, g.PID)
		}
	}
	return lines
}

// String says what could not be seen, of whom, why, and what it would need.
func (g gapLine) String() string {
	text := g.Op
	if n := len(g.pids); n > 1 {
		text += fmt.Sprintf(" of %d processes", n)
	} else if g.pids[0] != 0 {
		text += fmt.Sprintf(" of pid %d", g.pids[0])
	}
	text += ": " + g.Err
	if g.Needs != "" {
		text += " (needs " + g.Needs + ")"
	}
	return text
}

// uncheckedLines say which rules could not be checked: those with one reason in
// one line.
func uncheckedLines(all []inspect.Unevaluated) (lines []uncheckedLine) {
	for _, u := range all {
		i := slices.IndexFunc(lines, func(l uncheckedLine) bool { return l.because == u.Because })
		if i < 0 {
			i = len(lines)
			lines = append(lines, uncheckedLine{because: u.Because})
		}
		lines[i].rules = append(lines[i].rules, u.Rule.ID)
	}
	return lines
}

type uncheckedLine struct {
	rules   []string // by id
	because string
}

// String is "FD101–FD105, FD204: why".
func (l uncheckedLine) String() string { return ruleRanges(l.rules) + ": " + l.because }

// leastRange is how many rules with successive numbers are written as a range.
const leastRange = 3

// ruleRanges lists ids, which are sorted, in few words: "FD101–FD105, FD204".
func ruleRanges(ids []string) string {
	number := func(id string) int {
		n, _ := strconv.Atoi(strings.TrimPrefix(id, "FD"))
		return n
	}
	var words []string
	for len(ids) > 0 {
		n := 1
		for n < len(ids) && number(ids[n]) == number(ids[n-1])+1 {
			n++
		}
		if n >= leastRange {
			words = append(words, ids[0]+"–"+ids[n-1])
		} else {
			words = append(words, ids[:n]...)
		}
		ids = ids[n:]
	}
	return strings.Join(words, ", ")
}

// uncheckedWords say what a gap means for a rule: that it found nothing means
// nothing for who, which asks about one thing; what looks at everything has judged
// what could be seen.
func uncheckedWords(who *inspect.Answer) string {
	if who != nil {
		return "not checked"
	}
	return "not checked everywhere"
}
