package inspect

import (
	"slices"

	"stray/fdscan"
)

// acceptCalls wait for a listener; multiplexers wait for sets of descriptors.
var (
	acceptCalls  = []string{"accept", "accept4"}
	multiplexers = []string{"poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"}
)

// serving judges from the waits of p's threads whether p serves s, which it
// holds as fds.
func serving(s *fdscan.Socket, p *fdscan.Process, fds []int) Serving {
	e := p.Evidence
	if e == nil {
		return Unknown
	}
	if s.State == fdscan.Listen && e.Imports != nil && !e.Imports.Accept {
		return Idle // the program has no way to accept
	}
	verdict := Idle
	for _, w := range e.Waits {
		switch {
		case w.Kind == fdscan.WaitOn && waitsFor(w, s, fds):
			return Serves
		case w.Kind == fdscan.WaitPassive:
		case w.Kind == fdscan.WaitOn && (slices.Contains(multiplexers, w.Call) || slices.Contains(acceptCalls, w.Call)):
			if verdict == Idle {
				verdict = Elsewise
			}
		default:
			// Busy, or in a call on one descriptor: a server between two
			// requests looks like that.
			verdict = Unknown
		}
	}
	if len(e.Waits) == 0 {
		return Unknown
	}
	return verdict
}

func waitsFor(w fdscan.Wait, s *fdscan.Socket, fds []int) bool {
	if slices.Contains(w.Inodes, s.Inode) {
		return true
	}
	for _, fd := range fds {
		if slices.Contains(w.FDs, fd) {
			return true
		}
	}
	return false
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
	text := ""
	for i, c := range calls {
		if i > 0 {
			text += ", "
		}
		text += c
	}
	return text
}
