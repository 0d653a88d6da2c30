package inspect

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"stray/fdscan"
)

// Past is an earlier report, to compare the tables of processes with.
type Past struct {
	Name    string // of its file
	TakenAt time.Time
	BootID  string
	Tables  []*fdscan.Table
}

// Of returns the earlier table of the process of t: of that very process if it
// lived then, else of one with the same program and, if there are several, of
// the one with the same arguments, or the fullest. It is nil when the report has
// none.
func (p *Past) Of(host fdscan.Host, t *fdscan.Table) *fdscan.Table {
	var same []*fdscan.Table
	for _, o := range p.Tables {
		q := o.Process
		if o.TID != 0 {
			continue
		}
		if host.BootID == p.BootID && q.PID == t.Process.PID && q.StartTime.Equal(t.Process.StartTime) {
			return o
		}
		if program(q) == program(t.Process) {
			same = append(same, o)
		}
	}
	arguments := func(o *fdscan.Table) bool { return slices.Equal(o.Process.Cmdline, t.Process.Cmdline) }
	if slices.ContainsFunc(same, arguments) {
		same = slices.DeleteFunc(same, func(o *fdscan.Table) bool { return !arguments(o) })
	}
	if len(same) == 0 {
		return nil
	}
	return slices.MaxFunc(same, func(a, b *fdscan.Table) int { return cmp.Compare(a.Open, b.Open) })
}

// Excess is a kind of descriptor of which there are many more than there were.
type Excess struct {
	Kind      string
	Then, Now int
}

// Least differences that are told: a program that has grown by a feature has a
// few descriptors more.
const (
	leastExcess = 10
	leastShare  = 10 // of a hundred
)

// ExcessOf returns the kinds of which a table has at least ten descriptors, and
// a tenth, more than then.
func ExcessOf(then, now *fdscan.Table) (found []Excess) {
	for kind, n := range now.Kinds {
		if more := n - then.Kinds[kind]; more >= leastExcess && 100*more >= leastShare*then.Kinds[kind] {
			found = append(found, Excess{kind, then.Kinds[kind], n})
		}
	}
	slices.SortFunc(found, func(a, b Excess) int {
		return cmp.Or(cmp.Compare(b.Now-b.Then, a.Now-a.Then), strings.Compare(a.Kind, b.Kind))
	})
	return found
}
