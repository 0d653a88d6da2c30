package inspect

import (
	"slices"
	"strings"

	"stray/fdscan"
)

// Watched judges processes that were looked at again and again, and their
// descendants, of a machine that was surveyed at the end. An earlier report is
// compared with them; past may be nil. Tables that were not looked at, of
// processes that have started meanwhile, are left out.
func Watched(snap *fdscan.Snapshot, pids []int, past *Past, rules []*Rule) *Outcome {
	o := Scan(snap, rules, pids...)
	o.Limit(pids)
	o.Tables = slices.DeleteFunc(o.Tables, func(t *fdscan.Table) bool { return len(t.Looks) == 0 })
	o.Sight |= SightTrend
	o.Past = past
	o.Evaluate(slices.DeleteFunc(slices.Clone(rules), func(r *Rule) bool { return r.Needs&SightTrend == 0 }))
	slices.SortFunc(o.Evaluated, func(a, b *Rule) int { return strings.Compare(a.ID, b.ID) })
	return o
}
