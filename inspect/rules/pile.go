package rules

import (
	"fmt"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

// pileFindings makes a finding of each pile of r's: singular and plural say what
// its members are, behind "10.77.0.1:80 → 10.77.0.2:51140 fd 19" and "3 connections"; singular
// begins with a space, or is empty.
func pileFindings(r *inspect.Rule, v *inspect.View, phrase func(inspect.Ailment) (singular, plural string), refine func(*inspect.Pile, *inspect.Finding)) (findings []inspect.Finding) {
	for _, p := range v.Piles(r.ID) {
		singular, plural := phrase(p.Worst.Ailment)
		owner := ""
		if p.Process != nil {
			owner = who(p.Process) + ": "
		}
		message := owner + name(p)
		if n := len(p.Members); n > 1 {
			message = fmt.Sprintf("%s%d connections %s, the worst %s: %s", owner, n, plural, name(p), p.Worst.Text)
		} else {
			message += singular + ": " + p.Worst.Text
		}
		f := inspect.NewPileFinding(r, v.Host, p, message)
		if refine != nil {
			refine(p, &f)
		}
		findings = append(findings, f)
	}
	return findings
}

// name is the socket at the head of a pile: by both ends, if it has two.
func name(p *inspect.Pile) string {
	s := p.Members[0]
	text := s.Address()
	switch {
	case s.Remote.Port != 0:
		text = s.Ends()
	case s.Protocol == fdscan.Unix:
		text = "unix " + text
	}
	if p.Process == nil {
		return text
	}
	return fmt.Sprintf("%s fd %d", text, p.FD)
}

// byLimits is a command that judges by the limits that v was judged by.
func byLimits(v *inspect.View, command string) string {
	return strings.Join(append([]string{command}, v.Limits.Changed()...), " ")
}

// closeCommand ends the members of a pile, with a plan first; "" when there is no
// process to do it in.
func closeCommand(v *inspect.View, p *inspect.Pile) string {
	s := p.Members[0]
	switch {
	case p.Process == nil:
		return ""
	case len(p.Members) > 1:
		return byLimits(v, fmt.Sprintf("stray close --rule %s -p %d", p.Worst.Rule, p.Process.PID))
	}
	// Its far end may be that of healthy connections too.
	return fmt.Sprintf("stray close inode:%d -p %d", s.Inode, p.Process.PID)
}

// proposeClose puts closeCommand first among what to do next, for what is worse
// than a note.
func proposeClose(v *inspect.View, p *inspect.Pile, f *inspect.Finding) {
	if command := closeCommand(v, p); command != "" && f.Severity > inspect.Note {
		f.Next = append([]string{command}, f.Next...)
	}
}

// proposeLook puts a second look before all else, where there was only one and it
// would make a difference.
func proposeLook(v *inspect.View, p *inspect.Pile, f *inspect.Finding) {
	if v.Sight&inspect.SightTrend != 0 || f.Severity == inspect.Note || p.Process == nil {
		return
	}
	f.Next = append([]string{byLimits(v, fmt.Sprintf("stray conns --for 3s -p %d", p.Process.PID))}, f.Next...)
}
