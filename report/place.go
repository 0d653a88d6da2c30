package report

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

// nowhere is the place of what has no program, or one that may not be read: a
// process may call itself anything.
const nowhere = "proc"

// programPath is the file of a program, relative to the root directory: readers
// of reports of static analysis refuse an absolute path, and take a relative one
// that their repository does not have.
func programPath(p *fdscan.Process) string {
	if p == nil || p.Exe == "" {
		return nowhere
	}
	return cmp.Or(strings.TrimLeft(path.Clean(p.Exe), "/"), nowhere)
}

// numbered returns the fingerprint of each finding, made unique by how many
// before it have the same: "0123456789abcdef:1".
func numbered(findings []inspect.Finding) []string {
	seen := map[string]int{}
	prints := make([]string, len(findings))
	for i, f := range findings {
		seen[f.Fingerprint]++
		prints[i] = fmt.Sprintf("%s:%d", f.Fingerprint, seen[f.Fingerprint])
	}
	return prints
}

// checkedRules are the rules that a result speaks of, by id: those that were run,
// those that could not be, and those of its findings.
func checkedRules(o *inspect.Outcome) (rules []*inspect.Rule) {
	rules = append(rules, o.Evaluated...)
	for _, u := range o.NotEvaluated {
		rules = append(rules, u.Rule)
	}
	for _, f := range o.Findings {
		rules = append(rules, f.Rule)
	}
	for _, s := range o.Suppressed {
		rules = append(rules, s.Rule)
	}
	slices.SortFunc(rules, func(a, b *inspect.Rule) int { return strings.Compare(a.ID, b.ID) })
	return slices.Compact(rules)
}
