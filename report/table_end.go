package report

import (
	"fmt"
	"slices"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

// objects writes files and pipes and who holds them.
func (p *page) objects() error {
	for _, o := range p.answer.Objects {
		p.line("%s  %s, inode %d", p.paint.bold(printable(o.Path)), o.Kind, o.Inode)
		if len(o.Holders) == 0 {
			if o.Kind != "socket" {
				p.line("  no process holds it")
			}
			continue
		}
		s := &inspect.Socket{Socket: &fdscan.Socket{}}
		for _, h := range o.Holders {
			s.Holders = append(s.Holders, &inspect.Holder{Holder: h})
		}
		if err := p.holders(s); err != nil {
			return err
		}
	}
	return nil
}

// explained counts the connections that were left out.
func (p *page) explained() {
	var parts []string
	total := 0
	for _, state := range sortedStates(p.answer.Explained) {
		total += p.answer.Explained[state]
		parts = append(parts, fmt.Sprintf("%d %s", p.answer.Explained[state], state))
	}
	if total > 0 {
		p.line("and %d %s of the listener (%s; -a shows them)", total, plural(total, "connection"), strings.Join(parts, ", "))
	}
}

// free says what nobody holds, or what could not be told, target by target.
func (p *page) free() {
	for i, t := range p.answer.Targets {
		switch p.answer.PerTarget[i] {
		case inspect.Free:
			p.line("%s", p.paint.green.Sprint(printable(t.Text)+": "+p.freeText(t)))
		case inspect.VerdictOpen:
			p.line("%s", p.paint.yellow.Sprint(printable(t.Text)+": unknown: what could be seen shows no holder, and not everything could be seen"))
		case inspect.Held:
		}
	}
}

func (p *page) freeText(t fdscan.Target) string {
	switch t.Kind {
	case fdscan.PortTarget:
		elsewhere := slices.ContainsFunc(p.answer.Shown, func(s *inspect.Socket) bool { return !s.NetNSMine && t.Matches(s.Socket) })
		if elsewhere {
			return "free in this network namespace"
		}
		return "free: no socket in this network namespace has it"
	case fdscan.UnixTarget:
		return "no socket is bound to this name"
	case fdscan.FileTarget, fdscan.InodeTarget:
	}
	return "no process holds it"
}

// binds says which binds would fail, in one line for each port and protocol
// where all addresses agree, else in one for each address.
func (p *page) binds() {
	type key struct {
		protocol fdscan.Protocol
		port     uint16
	}
	byPort := map[key][]inspect.BindVerdict{}
	var order []key
	for _, b := range p.answer.Binds {
		k := key{b.Protocol, b.Port}
		if byPort[k] == nil {
			order = append(order, k)
		}
		byPort[k] = append(byPort[k], b)
	}
	for _, k := range order {
		verdicts := byPort[k]
		label := fmt.Sprintf("%s %d", k.protocol, k.port)
		if p.wide {
			p.bindGrid(label, verdicts)
			continue
		}
		p.bindLines(label, verdicts)
	}
}

// bindLines writes a line for each set of addresses with the same answer.
func (p *page) bindLines(label string, verdicts []inspect.BindVerdict) {
	said := make([]bool, len(verdicts))
	for i, b := range verdicts {
		if said[i] {
			continue
		}
		var at []string
		for j, other := range verdicts {
			if other.Plain == b.Plain && (b.Plain == inspect.BindYes || other.Because == b.Because) {
				said[j] = true
				at = append(at, addressText(other))
			}
		}
		where := ""
		if len(at) < len(verdicts) {
			where = " at " + strings.Join(at, ", ")
		}
		switch b.Plain {
		case inspect.BindYes:
			p.line("%s", p.paint.green.Sprintf("%s can be bound%s", label, where))
		case inspect.BindNo:
			p.line("%s", p.paint.red.Sprintf("%s cannot be bound%s: ", label, where)+printable(b.Because))
		case inspect.BindUnknown:
			p.line("%s", p.paint.yellow.Sprintf("%s: whether it can be bound%s is unknown: ", label, where)+printable(b.Because))
		}
	}
}

func addressText(b inspect.BindVerdict) string {
	if b.Address.Is6() {
		return "[" + b.Address.String() + "]"
	}
	return b.Address.String()
}

func (p *page) bindGrid(label string, verdicts []inspect.BindVerdict) {
	p.line("can %s be bound?", label)
	g := &grid{indent: "  ", header: []string{"ADDRESS", "PLAIN", "SO_REUSEADDR", "SO_REUSEPORT", "BECAUSE"}}
	for _, b := range verdicts {
		g.add(b.Address.String(), string(b.Plain), string(b.ReuseAddr), string(b.ReusePort), b.Because)
	}
	_ = g.write(p, p.style)
}

// gaps says what could not be seen: one line for each kind of gap.
func (p *page) gaps() {
	type key struct{ op, err, needs string }
	pids := map[key][]string{}
	var order []key
	for _, g := range p.answer.Gaps {
		if g.Scope == fdscan.ScopeDetail && !p.wide {
			continue
		}
		k := key{g.Op, g.Err, g.Needs}
		if pids[k] == nil {
			order = append(order, k)
		}
		pids[k] = append(pids[k], fmt.Sprint(g.PID))
	}
	for _, k := range order {
		text := "not seen: " + k.op
		if n := len(pids[k]); n > 1 {
			text += fmt.Sprintf(" of %d processes", n)
		} else if pids[k][0] != "0" {
			text += " of pid " + pids[k][0]
		}
		text += ": " + k.err
		if k.needs != "" {
			text += " (needs " + k.needs + ")"
		}
		p.line("%s", p.paint.yellow.Sprint(printable(text)))
	}
	for _, u := range p.answer.NotEvaluated {
		p.line("%s", p.paint.yellow.Sprint(printable(fmt.Sprintf("%s not evaluated: %s", u.Rule.ID, u.Because))))
	}
}

func (p *page) findings() {
	if len(p.answer.Findings) == 0 {
		return
	}
	p.line("")
	var next []string
	for _, f := range p.answer.Findings {
		severity := fmt.Sprintf("%-7s", f.Severity)
		switch f.Severity {
		case inspect.Error:
			severity = p.paint.red.Sprint(severity)
		case inspect.Warning:
			severity = p.paint.yellow.Sprint(severity)
		case inspect.Note:
		}
		p.line("%s %s  %s", f.Rule.ID, severity, printable(f.Message))
		for _, n := range f.Next {
			if !slices.Contains(next, n) {
				next = append(next, n)
			}
		}
	}
	for i, n := range next {
		label := "next:"
		if i > 0 {
			label = "     "
		}
		p.line("%s %s", label, printable(n))
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
