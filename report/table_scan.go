package report

import (
	"fmt"
	"slices"
	"strings"

	"stray/inspect"
)

// mostAlike is how many findings of one rule and severity are written before
// the rest is counted.
const mostAlike = 3

// scan writes the findings, the gravest first; what could not be seen; and what
// was looked at.
func (p *page) scan() {
	p.trends()
	p.findingsInDetail()
	if len(p.outcome.Findings) > 0 {
		p.line("")
	}
	p.suppressed()
	p.gaps()
	paint := p.paint.green.Sprint
	switch worst := p.outcome.Worst(); {
	case worst == inspect.Error:
		paint = p.paint.red.Sprint
	case worst == inspect.Warning, !p.outcome.Complete:
		paint = p.paint.yellow.Sprint
	}
	p.say(paint, p.lookedAt()+": "+p.verdict())
}

// findingsInDetail writes each finding with its own next commands, and at last
// how to learn more.
func (p *page) findingsInDetail() {
	type kind struct {
		rule     string
		severity inspect.Severity
	}
	count := map[kind]int{}
	for _, f := range p.outcome.Findings {
		count[kind{f.Rule.ID, f.Severity}]++
	}
	written := map[kind]int{}
	told := map[string]bool{}
	var explain []string
	for _, f := range p.outcome.Findings {
		k := kind{f.Rule.ID, f.Severity}
		written[k]++
		switch rest := count[k] - mostAlike; {
		case p.wide || written[k] <= mostAlike || rest == 1:
			p.finding(&f)
			p.opened(&f)
		case written[k] == mostAlike+1:
			p.line("%s %-7s  and %s more like these (-o wide shows them)", f.Rule.ID, f.Severity, thousands(rest))
			continue
		default:
			continue
		}
		if p.wide {
			told := openingLines(&f, p.directory())
			for _, e := range f.Evidence {
				if !slices.Contains(told, e) {
					p.say(p.paint.faint.Sprint, findingIndent+"since "+e)
				}
			}
		}
		for _, n := range f.Next {
			switch {
			case strings.HasPrefix(n, "stray explain "):
				if !slices.Contains(explain, n) {
					explain = append(explain, n)
				}
			case !told[n]:
				told[n] = true
				p.step(findingIndent+"next: ", n, 0)
			}
		}
	}
	p.next(explain)
}

// findingIndent is as wide as what stands before the message of a finding.
const findingIndent = "               "

// verdict says what the findings come to.
func (p *page) verdict() string {
	count := map[inspect.Severity]int{}
	for _, f := range p.outcome.Findings {
		count[f.Severity]++
	}
	var parts []string
	for _, s := range []inspect.Severity{inspect.Error, inspect.Warning, inspect.Note} {
		if n := count[s]; n > 0 {
			parts = append(parts, thousands(n)+" "+plural(n, s.String()))
		}
	}
	text := "no leak found"
	if len(p.outcome.Suppressed) > 0 {
		text = "no other leak found"
	}
	if p.outcome.Run == nil && len(p.outcome.Tables) == 0 && len(p.outcome.Shown) == 0 && !p.outcome.Complete {
		text = "nothing was found to look at"
	}
	if n := len(p.outcome.Findings); n > 0 {
		text = thousands(n) + " " + plural(n, "finding") + ": " + strings.Join(parts, ", ")
	}
	if !p.outcome.Complete {
		text += ", in what could be seen"
	}
	return text
}

// lookedAt counts what was looked at.
func (p *page) lookedAt() string {
	if p.outcome.Run != nil {
		return ran(p.outcome.Run)
	}
	processes, descriptors, ports := map[int]bool{}, 0, 0
	for _, t := range p.outcome.Tables {
		processes[t.Process.PID] = true
		descriptors += t.Open
	}
	for _, s := range p.outcome.Shown {
		if s.IsPort() {
			ports++
		}
	}
	text := fmt.Sprintf("scanned %s %s, %s %s, %s %s", thousands(len(processes)), plurals(len(processes), "process", "processes"),
		thousands(descriptors), plural(descriptors, "descriptor"), thousands(ports), plurals(ports, "listener or bound socket", "listeners and bound sockets"))
	if n := p.outcome.Looked.Connections; len(p.outcome.Asked.PIDs) == 0 && n > 0 {
		text += fmt.Sprintf(", %s %s", thousands(n), plural(n, "connection"))
	}
	return text
}
