package report

import (
	"fmt"

	"stray/fdscan"
	"stray/inspect"
)

// trends writes a line for each process that was looked at for some time: how
// many descriptors it had, and where that leads.
func (p *page) trends() {
	if p.outcome.Sight&inspect.SightTrend == 0 {
		return
	}
	g := &grid{header: []string{"PID", "COMMAND", "THEN", "FIRST", "NOW", "A MINUTE", "LIMIT", "REACHED IN"}}
	for _, t := range p.outcome.Tables {
		if t.TID == 0 {
			g.add(p.trendCells(t)...)
		}
	}
	if len(g.rows) == 0 {
		return
	}
	g.dropEmpty()
	_ = g.write(p, p.style)
	p.line("")
}

func (p *page) trendCells(t *fdscan.Table) []string {
	trend := inspect.TrendOf(t)
	then, first, rate, limit, reached := "", "", "", "", ""
	if p.outcome.Past != nil {
		if before := p.outcome.Past.Of(p.outcome.Host, t); before != nil {
			then = fmt.Sprint(before.Open)
		}
	}
	if trend.Looks >= inspect.MinLooks {
		first = fmt.Sprint(trend.First)
	}
	if trend.PerMinute > 0 {
		rate = "+" + inspect.Rate(trend.PerMinute)
	}
	if t.Limit > 0 && t.Limit < 1<<31 {
		limit = fmt.Sprint(t.Limit)
	}
	if left, ok := trend.UntilLimit(t.Limit); ok {
		reached = inspect.About(left)
	}
	return []string{fmt.Sprint(t.Process.PID), t.Process.Comm, then, first, fmt.Sprint(trend.Last), rate, limit, reached}
}
