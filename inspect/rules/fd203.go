package rules

import (
	"fmt"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:       "FD203",
	Name:     "growth",
	Severity: inspect.Error,
	Title:    "descriptors of one kind and target rise and never fall",
	Text: `The process opens descriptors of one kind, to one target, and does not close
them. When their number reaches RLIMIT_NOFILE, every open, socket and accept
fails with "too many open files".

It is recognised by looking many times, 16 at least, after the time of
--warm-up. Their least number in each eighth of the time must never fall, must
rise five times and at the end, by more than the number ever fell in between:
connections that come and go under load leave no trace in that, and a pool that
fills and then stays is no growth.

With --since the process is compared with an earlier report: of some kind there
are at least ten descriptors, and a tenth, more than there were.

What looks the same: a pool or a cache that is still filling when the look ends,
load that rises all the time, and objects that wait for a garbage collection
which has not come. Look for longer (--for), and later (--warm-up).`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "close(2) on every path out of the function, errors included; in C++ an owner whose destructor closes."},
		{
			Language: "Go", Text: "Close behind the check of the error; the body of every response, too. fdtest.VerifyNone shows in a test what stays open.",
			Before: `response, err := http.Get(url)
if err != nil || response.StatusCode != http.StatusOK {
    return err
}
defer response.Body.Close()`,
			After: `response, err := http.Get(url)
if err != nil {
    return err
}
defer response.Body.Close()
if response.StatusCode != http.StatusOK {
    return errors.New(response.Status)
}`,
		},
		{
			Language: "Python", Text: "with closes on every way out; what a traceback or a cycle of references keeps alive stays open without it.",
			Before: "data = json.load(open(path))",
			After:  "with open(path) as f:\n    data = json.load(f)",
		},
		{Language: "Node", Text: "destroy sockets and streams on error and timeout; response.resume() or destroy() of what is not read."},
		{Language: "Java", Text: "try (var in = …) { }: what waits for a collection is open until then."},
	},
	Needs: inspect.SightTables | inspect.SightTrend,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		for _, t := range v.Tables {
			if t.TID != 0 || seenBefore(v, t) {
				continue
			}
			trend := inspect.TrendOf(t)
			for _, g := range trend.Growths {
				findings = append(findings, growthFinding(r, v, t, &trend, &g))
			}
			if v.Past == nil || len(trend.Growths) > 0 {
				continue
			}
			then := v.Past.Of(v.Host, t)
			if then == nil {
				continue
			}
			for _, e := range inspect.ExcessOf(then, t) {
				f := tableFinding(r, t, fdscan.Item{Kind: e.Kind}, fmt.Sprintf(
					"%s has %d descriptors of kind %s, %d more than in %s", who(t.Process), e.Now, e.Kind, e.Now-e.Then, v.Past.Name))
				f.Evidence = []string{fmt.Sprintf("pid %d had %d of %s on %s", then.Process.PID, e.Then, e.Kind, v.Past.TakenAt.Format("2006-01-02 15:04:05"))}
				findings = append(findings, f)
			}
		}
		return findings
	},
	Starved: func(v *inspect.View) string {
		if len(v.Tables) == 0 {
			return "no descriptor table could be read"
		}
		var unknown []string
		for _, t := range v.Tables {
			switch {
			case t.TID != 0:
			case v.Past != nil && v.Past.Of(v.Host, t) == nil:
				unknown = append(unknown, who(t.Process))
			case v.Past == nil && len(t.Looks) < inspect.MinLooks:
				return fmt.Sprintf("%s was looked at %d times, and it takes %d", who(t.Process), len(t.Looks), inspect.MinLooks)
			}
		}
		switch len(unknown) {
		case 0:
			return ""
		case 1:
			return fmt.Sprintf("%s has no table of %s", v.Past.Name, unknown[0])
		}
		return fmt.Sprintf("%s has no table of %s and %d more", v.Past.Name, unknown[0], len(unknown)-1)
	},
})

// seenBefore reports a table that is that of a process with a lower pid too.
func seenBefore(v *inspect.View, t *fdscan.Table) bool {
	for _, o := range v.Tables {
		for _, pid := range t.SharedWith {
			if o.TID == 0 && o.Process.PID == pid && pid < t.Process.PID {
				return true
			}
		}
	}
	return false
}

// growthFinding says what grows, how fast, and when that ends badly.
func growthFinding(r *inspect.Rule, v *inspect.View, t *fdscan.Table, trend *inspect.Trend, g *inspect.Growth) inspect.Finding {
	message := fmt.Sprintf("%s opens %s and does not close them: %d → %d in %s, %s a minute",
		who(t.Process), g.Words(), g.First, g.Last, inspect.About(g.Over), inspect.Rate(g.PerMinute))
	if left, ok := trend.UntilLimit(t.Limit); ok {
		message += fmt.Sprintf("; RLIMIT_NOFILE (%d) is reached in %s", t.Limit, inspect.About(left))
	}
	item := g.Item
	item.Target = inspect.StableTarget(v.Host, item.Target)
	f := tableFinding(r, t, item, message)
	floors := make([]string, len(g.Floors))
	for i, n := range g.Floors {
		floors[i] = fmt.Sprint(n)
	}
	f.Evidence = []string{fmt.Sprintf("the least number in each eighth of %s: %s (%d looks)", inspect.About(g.Over), strings.Join(floors, ", "), trend.Looks)}
	return f
}

// tableFinding is a finding about what a table holds too much of.
func tableFinding(r *inspect.Rule, t *fdscan.Table, item fdscan.Item, message string) inspect.Finding {
	f := inspect.NewProcessFinding(r, t.Process, -1, message, item.Kind, item.Target)
	f.Next = append([]string{fmt.Sprintf("stray scan -p %d --fds", t.Process.PID)}, f.Next...)
	return f
}
