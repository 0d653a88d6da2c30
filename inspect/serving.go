package inspect

import (
	"slices"
	"strings"

	"stray/fdscan"
)

// serving judges from the waits of p's threads whether p serves s. Of several
// descriptors that it may hold s by, any will do.
func serving(s *fdscan.Socket, p *fdscan.Process) Serving {
	e := p.Evidence
	if e == nil || len(e.Waits) == 0 {
		return Unknown
	}
	verdict := Idle
	for _, w := range e.Waits {
		switch {
		case slices.Contains(w.Inodes, s.Inode):
			return Serves
		case w.Kind == fdscan.WaitPassive:
		case w.Kind == fdscan.WaitOn && verdict == Idle:
			verdict = Elsewise
		case w.Kind == fdscan.WaitOn:
		default:
			// Busy, or in a call on one descriptor: a server between two
			// requests looks like that.
			verdict = Unknown
		}
	}
	switch {
	case e.Ring, e.Busy:
		return Unknown // the kernel may wait in place of a thread, or a thread soon
	case s.State == fdscan.Listen && e.Imports != nil && !e.Imports.Accept:
		return Idle // the program has no way to accept
	}
	return verdict
}

// more orders what is known of serving, for processes that share a table: what
// any of them does, the table does.
func (s Serving) more(o Serving) Serving {
	for _, best := range []Serving{Serves, Unknown, Elsewise} {
		if s == best || o == best {
			return best
		}
	}
	return Idle
}

// waitText says what the threads of p are doing, briefly: "pause",
// "futex, nanosleep".
func waitText(p *fdscan.Process) string {
	if p.Evidence == nil {
		return ""
	}
	var calls []string
	for _, w := range p.Evidence.Waits {
		if w.Call != "" && !slices.Contains(calls, w.Call) {
			calls = append(calls, w.Call)
		}
	}
	slices.Sort(calls)
	if len(calls) > 3 {
		calls = append(calls[:3], "…")
	}
	return strings.Join(calls, ", ")
}
