package report

import (
	"fmt"
	"slices"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

// explained counts the connections that were left out.
func (p *page) explained() {
	states := sortedStates(p.answer.Explained)
	total := 0
	var parts []string
	for _, state := range states {
		total += p.answer.Explained[state]
		parts = append(parts, fmt.Sprintf("%d %s", p.answer.Explained[state], state))
	}
	switch len(states) {
	case 0:
	case 1:
		p.say(nil, fmt.Sprintf("and %s %s of the listener (-a shows them)", parts[0], plural(total, "connection")))
	default:
		p.say(nil, fmt.Sprintf("and %d connections of the listener: %s (-a shows them)", total, strings.Join(parts, ", ")))
	}
}

// free says what nobody holds, or what could not be told, target by target.
func (p *page) free() {
	for i, t := range p.answer.Targets {
		switch p.answer.PerTarget[i] {
		case inspect.Free:
			if p.unbindable(t) {
				p.say(p.paint.yellow.Sprint, "nobody holds "+t.Text+", and yet:")
				continue
			}
			p.say(p.paint.green.Sprint, t.Text+" is free: "+p.freeText(t))
		case inspect.VerdictOpen:
			why := "a socket table could not be read whole"
			if p.answer.TablesComplete {
				why = "not every process could be looked into"
			}
			if t.Kind == fdscan.InodeTarget {
				why += fileHint
			}
			p.say(p.paint.yellow.Sprint, t.Text+" is unknown: no holder was seen, but "+why)
		case inspect.Held:
		}
	}
}

// unbindable reports a port that cannot be bound although nobody holds it: at
// the address that was asked for, or anywhere.
func (p *page) unbindable(t fdscan.Target) bool {
	found := false
	for _, b := range p.answer.Binds {
		if t.Kind != fdscan.PortTarget || b.Port < t.PortLow || b.Port > t.PortHigh || t.Addr.IsValid() && b.Address != t.Addr {
			continue
		}
		if b.Plain != inspect.BindNo {
			return false
		}
		found = true
	}
	return found
}

// fileHint is for an inode that nobody holds: it may be that of a file.
const fileHint = " (a file goes by its path)"

func (p *page) freeText(t fdscan.Target) string {
	switch t.Kind {
	case fdscan.PortTarget:
		return "no socket of this network namespace has it"
	case fdscan.UnixTarget:
		return "no socket is bound to this name"
	case fdscan.InodeTarget:
		return "no process holds a socket or pipe of this number" + fileHint
	case fdscan.FileTarget:
	}
	return "no process holds it"
}

// portVerdicts are the answers for one port of one protocol.
type portVerdicts struct {
	protocol fdscan.Protocol
	port     uint16
	verdicts []inspect.BindVerdict
}

func (p *page) portVerdicts() (ports []portVerdicts) {
	for _, b := range p.answer.Binds {
		i := slices.IndexFunc(ports, func(v portVerdicts) bool { return v.protocol == b.Protocol && v.port == b.Port })
		if i < 0 {
			i = len(ports)
			ports = append(ports, portVerdicts{protocol: b.Protocol, port: b.Port})
		}
		ports[i].verdicts = append(ports[i].verdicts, b)
	}
	return ports
}

// bindable reports that every bind would succeed.
func (v portVerdicts) bindable() bool {
	return !slices.ContainsFunc(v.verdicts, func(b inspect.BindVerdict) bool { return b.Plain != inspect.BindYes })
}

// binds says which binds would fail. Ports that can be bound everywhere are
// said together.
func (p *page) binds() {
	for ports := p.portVerdicts(); len(ports) > 0; {
		n := 1
		for ports[0].bindable() && n < len(ports) && ports[n].bindable() && ports[n].protocol == ports[0].protocol && ports[n].port == ports[n-1].port+1 {
			n++
		}
		label := fmt.Sprintf("%s %d", ports[0].protocol, ports[0].port)
		if n > 1 {
			label += fmt.Sprintf("-%d", ports[n-1].port)
		}
		if p.wide && !ports[0].bindable() {
			p.bindGrid(label, ports[0].verdicts)
		} else {
			p.bindLines(label, ports[0].verdicts)
		}
		ports = ports[n:]
	}
}

// bindAnswer is what is said of several addresses at once.
type bindAnswer struct {
	inspect.BindVerdict
	addresses []string
}

// bindAnswers brings addresses together whose answers do not differ.
func bindAnswers(verdicts []inspect.BindVerdict) (answers []bindAnswer) {
	for _, b := range verdicts {
		i := slices.IndexFunc(answers, func(a bindAnswer) bool { return a.Plain == b.Plain && a.Because == b.Because })
		if i < 0 {
			i = len(answers)
			answers = append(answers, bindAnswer{BindVerdict: b})
		}
		answers[i].addresses = append(answers[i].addresses, addressText(b))
	}
	return answers
}

// bindLines writes a sentence for each set of addresses with the same answer.
func (p *page) bindLines(label string, verdicts []inspect.BindVerdict) {
	answers := bindAnswers(verdicts)
	for _, a := range answers {
		where := ""
		if len(answers) > 1 {
			where = " at " + strings.Join(a.addresses, ", ")
		}
		switch a.Plain {
		case inspect.BindYes:
			p.say(p.paint.green.Sprint, label+" can be bound"+where)
		case inspect.BindNo:
			p.say(p.paint.red.Sprint, label+" cannot be bound"+where+": "+a.Because)
		case inspect.BindUnknown:
			p.say(p.paint.yellow.Sprint, label+" can perhaps be bound"+where+": "+a.Because)
		}
	}
}

func addressText(b inspect.BindVerdict) string {
	if b.Address.Is6() {
		return "[" + b.Address.String() + "]"
	}
	return b.Address.String()
}

// bindGrid writes every answer, and the reasons below.
func (p *page) bindGrid(label string, verdicts []inspect.BindVerdict) {
	p.line("can %s be bound?", label)
	g := &grid{indent: "  ", header: []string{"ADDRESS", "PLAIN", "SO_REUSEADDR", "SO_REUSEPORT"}}
	for _, b := range verdicts {
		g.add(addressText(b), string(b.Plain), string(b.ReuseAddr), string(b.ReusePort))
	}
	_ = g.write(p, p.style)
	for _, a := range bindAnswers(verdicts) {
		p.say(nil, "  "+strings.Join(a.addresses, ", ")+": "+a.Because)
	}
}

// gaps says what could not be seen: one line for each kind of gap.
func (p *page) gaps() {
	told := slices.DeleteFunc(slices.Clone(p.outcome.Gaps), func(g fdscan.Gap) bool {
		return g.Scope == fdscan.ScopeDetail && !p.wide ||
			// A free port is free, whoever could not be looked into.
			g.Scope == fdscan.ScopeHolders && p.answer != nil && p.answer.Verdict == inspect.Free && len(p.answer.Shown) == 0
	})
	for _, g := range gapLines(told) {
		p.say(p.paint.yellow.Sprint, "not seen: "+g.String())
	}
	p.unevaluated()
}

// unevaluated names the rules that a gap has starved.
func (p *page) unevaluated() {
	for _, l := range uncheckedLines(p.outcome.NotEvaluated) {
		p.say(p.paint.yellow.Sprint, uncheckedWords(p.answer)+": "+l.String())
	}
}

// findings writes what is wrong, and what to do next.
func (p *page) findings() {
	if len(p.outcome.Findings) == 0 {
		return
	}
	p.line("")
	var next []string
	for _, f := range p.outcome.Findings {
		p.finding(&f)
		p.opened(&f)
		for _, n := range f.Next {
			if !slices.Contains(next, n) {
				next = append(next, n)
			}
		}
	}
	p.next(next)
}

// suppressed says what does not count, so that quiet is not mistaken for clean.
func (p *page) suppressed() {
	all := p.outcome.Suppressed
	if len(all) == 0 {
		return
	}
	p.say(p.paint.faint.Sprint, suppressedTally(all))
	for _, s := range all {
		if p.wide {
			p.say(p.paint.faint.Sprint, "  "+suppressedText(s))
		}
	}
}

// finding writes one line: rule, severity and message.
func (p *page) finding(f *inspect.Finding) {
	severity := fmt.Sprintf("%-7s", f.Severity)
	text := fold(fmt.Sprintf("%s %s  %s", f.Rule.ID, severity, Printable(f.Message)), p.style.Width, findingIndent)
	paint := map[inspect.Severity]func(...any) string{inspect.Error: p.paint.red.Sprint, inspect.Warning: p.paint.yellow.Sprint}[f.Severity]
	if paint != nil {
		text = strings.Replace(text, severity, paint(severity), 1)
	}
	p.line("%s", text)
}

// next writes the commands to go on with, and what each is for.
func (p *page) next(commands []string) {
	widest := 0
	for _, c := range commands {
		widest = max(widest, displayWidth(Printable(c)))
	}
	for i, c := range commands {
		label := "next: "
		if i > 0 {
			label = "      "
		}
		p.step(label, c, widest)
	}
}

// step writes a command behind a label and, where there is room, what it is
// for, behind the widest command.
func (p *page) step(label, c string, widest int) {
	line := label + Printable(c)
	if purpose := purposeOf(c); purpose != "" {
		about := strings.Repeat(" ", max(0, widest-displayWidth(Printable(c)))) + "   " + purpose
		if w := p.style.Width; w == 0 || displayWidth(line+about) <= w {
			line += about
		}
	}
	p.line("%s", line)
}

// purposeOf says what a command is for; "" for one that needs no words.
func purposeOf(command string) string {
	switch {
	case strings.HasPrefix(command, "stray check --stacks "):
		return "shows where it was opened"
	case strings.HasPrefix(command, "stray close ") && strings.HasSuffix(command, " --holders leaked"):
		return "drops the leaked copies now"
	case strings.HasPrefix(command, "stray conns --for "):
		if strings.Contains(command, " -p ") {
			return "a second look makes it certain"
		}
		return "a second look may tell which"
	case strings.HasPrefix(command, "kill -CONT "):
		return "lets the peer go on"
	case strings.HasPrefix(command, "stray close --destroy "):
		return "has the kernel abort it, with a plan first"
	case strings.HasPrefix(command, "stray close --rule "):
		return "drops them in that process, with a plan first"
	case strings.HasPrefix(command, "stray close "):
		return "drops it in that process, with a plan first"
	case strings.HasPrefix(command, "stray scan --fds "):
		return "all that it holds"
	case strings.HasPrefix(command, "stray who "):
		return "everybody who holds it"
	case strings.HasPrefix(command, "stray seal "):
		return "keeps the next exec from leaking it"
	case strings.HasPrefix(command, "stray explain "):
		return "cause and cure"
	}
	return ""
}
