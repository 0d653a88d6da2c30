package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"stray/inspect"
)

// WriteDiffJSON writes d as JSON.
func WriteDiffJSON(w io.Writer, d *Diff) error {
	e := encoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// mostGrown is how many processes that grew are written before the rest is
// counted.
const mostGrown = 20

// WriteDiff writes d for people: what appeared, what went and what grew.
func WriteDiff(w io.Writer, d *Diff, s Style) error {
	p := &page{Writer: bufio.NewWriter(w), style: s, paint: newPalette(s.Color)}
	p.say(p.paint.faint.Sprint, "old: "+sideText(d.Old))
	p.say(p.paint.faint.Sprint, "new: "+sideText(d.New)+apartText(d))
	if d.Old.Verdict != nil && d.New.Verdict != nil && *d.Old.Verdict != *d.New.Verdict {
		p.say(nil, *d.Old.Verdict+" → "+*d.New.Verdict)
	}
	p.diffFindings("appeared", "+", d.Appeared, true)
	p.diffFindings("gone", "-", d.Gone, false)
	grown, shrunk, err := p.diffTables(d)
	if err != nil {
		return err
	}
	p.diffSockets(d)
	p.line("")
	if len(d.NotCompared) > 0 {
		p.say(p.paint.yellow.Sprint, "not compared: "+strings.Join(d.NotCompared, ", ")+": could not be checked for both reports, or for all that they are about")
	}
	if !d.SameQuestion {
		p.say(p.paint.yellow.Sprint, "the reports were asked different things: what only one of them could tell is left out")
	}
	for _, side := range []struct {
		name string
		Side
	}{{"old", d.Old}, {"new", d.New}} {
		if !side.Complete {
			p.say(p.paint.yellow.Sprint, "the "+side.name+" report did not see everything (its gaps say what)")
		}
	}
	p.say(nil, fmt.Sprintf("%d %s appeared, %d gone; %d %s more descriptors, %d fewer",
		len(d.Appeared), plural(len(d.Appeared), "finding"), len(d.Gone), grown, plurals(grown, "process or program has", "processes or programs have"), shrunk))
	return p.Flush()
}

func sideText(s Side) string {
	return fmt.Sprintf("%s of %s, Linux %s, %s", Printable(strings.TrimSpace(s.Command+" "+askedText(s))), cmp.Or(s.Host.Name, "a host without a name"), s.Host.Kernel, s.TakenAt)
}

// apartText says how much later the new report is, and whether pids mean the same
// in both.
func apartText(d *Diff) string {
	text := ""
	before, err := time.Parse(time.RFC3339, d.Old.TakenAt)
	after, errAfter := time.Parse(time.RFC3339, d.New.TakenAt)
	switch {
	case err != nil || errAfter != nil:
	case after.Before(before):
		text = ", " + age(before.Sub(after)) + " earlier"
	default:
		text = ", " + age(after.Sub(before)) + " later"
	}
	if !d.SameBoot {
		text += ", another boot"
	}
	return text
}

// diffFindings writes findings with a mark before each, as in a diff.
func (p *page) diffFindings(title, mark string, findings []Finding, next bool) {
	if len(findings) == 0 {
		return
	}
	p.line("")
	p.line("%s", p.paint.bold(title))
	var commands []string
	seen := map[string]bool{}
	for _, f := range findings {
		line := fmt.Sprintf("%s %s %-7s  %s", mark, f.Rule, f.Severity, Printable(f.Message))
		line = fold(line, p.style.Width, strings.Repeat(" ", 17))
		switch {
		case mark == "-":
			line = p.paint.green.Sprint(line)
		case inspect.SeverityNamed(f.Severity) == inspect.Error:
			line = p.paint.red.Sprint(line)
		}
		p.line("%s", line)
		for _, c := range f.Next {
			if !seen[c] {
				seen[c] = true
				commands = append(commands, c)
			}
		}
	}
	if next {
		p.next(commands)
	}
}

// diffTables writes what grew, and counts it and what shrank.
func (p *page) diffTables(d *Diff) (grown, shrunk int, err error) {
	g := &grid{indent: "  ", header: []string{"PROGRAM", "PID", "PROCESSES", "OPEN", "WHAT GREW"}, elastic: []squeeze{{"WHAT GREW", 12, nil}}}
	for _, t := range d.Tables {
		var kinds []string
		for _, k := range t.Kinds {
			if k.New > k.Old {
				kinds = append(kinds, k.Kind+" "+changeText(k.Change))
			}
		}
		switch {
		case t.Open.New < t.Open.Old:
			shrunk++
		case t.Open.New > t.Open.Old:
			grown++
		}
		if len(kinds) == 0 || len(g.rows) >= mostGrown {
			continue
		}
		pid, processes := "", changeText(t.Processes)
		if t.PID != nil {
			pid, processes = strconv.Itoa(*t.PID), ""
		}
		g.add(t.Program, pid, processes, changeText(t.Open), strings.Join(kinds, ", "))
	}
	if len(g.rows) == 0 {
		return grown, shrunk, nil
	}
	g.dropEmpty()
	p.line("")
	p.line("%s", p.paint.bold("grew"))
	err = g.write(p, p.style)
	if grown > mostGrown {
		p.line("  and %d more (-o json has them)", grown-mostGrown)
	}
	return grown, shrunk, err
}

// changeText is one number when there is no change.
func changeText(c Change) string {
	if c.Old == c.New {
		return strconv.Itoa(c.New)
	}
	return fmt.Sprintf("%d → %d", c.Old, c.New)
}

// diffSockets writes the listeners that came or went, and of the connections how
// many there are.
func (p *page) diffSockets(d *Diff) {
	if len(d.Listening)+len(d.Connections) == 0 {
		return
	}
	p.line("")
	p.line("%s", p.paint.bold("sockets"))
	for _, l := range d.Listening {
		mark := "+"
		if l.New < l.Old {
			mark = "-"
		}
		line := fmt.Sprintf("%s %s %s  %s", mark, l.Protocol, Printable(endpointWord(l.Local)), l.State)
		if l.Old > 0 && l.New > 0 {
			line += "  " + changeText(l.Change)
		}
		if len(l.Programs) > 0 {
			line += "  " + Printable(strings.Join(l.Programs, ", "))
		}
		p.say(nil, line)
	}
	for _, c := range d.Connections {
		p.say(nil, fmt.Sprintf("  %s %s  %s", c.Protocol, c.State, changeText(c.Change)))
	}
}

// endpointWord writes an endpoint as it stands on a page.
func endpointWord(e Endpoint) string {
	switch {
	case e.Path != nil:
		return *e.Path
	case e.Port == nil:
		return "(unnamed)"
	case e.Address == nil:
		return "*:" + strconv.Itoa(int(*e.Port))
	}
	address := *e.Address
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	return address + ":" + strconv.Itoa(int(*e.Port))
}
