package inspect

import (
	"maps"
	"slices"
	"strings"

	"stray/fdscan"
)

// Scope is what a question was limited to. The zero Scope is everything: what is
// not found then, and could be seen, is not there.
type Scope struct {
	// PIDs are the processes that were named; empty for all.
	PIDs []int
	// Targets are the ports, addresses and names, as they were written; empty for
	// all.
	Targets []string
	// Limits are those by which connections were judged, as flags, where they are
	// not the usual ones: "--pile 3".
	Limits []string
	// All asks for sockets with which nothing is wrong, too.
	All bool
	// Deep reports that every descriptor was looked at: for messages in flight,
	// and for sockets of namespaces without a process (--deep).
	Deep bool
	// Twice reports that connections were looked at twice (conns --for).
	Twice bool
}

// Whole reports that findings of r were looked for everywhere.
func (s Scope) Whole(r *Rule) bool {
	return len(s.PIDs) == 0 && len(s.Targets) == 0 && (len(s.Limits) == 0 || (r.Needs|r.Or)&SightHealth == 0)
}

// Narrow reports that something was left out of the question.
func (s Scope) Narrow() bool { return len(s.PIDs)+len(s.Targets)+len(s.Limits) > 0 }

// Beyond are the commands that look at more than is usual, and by which r can find
// more: those that s is of.
func (s Scope) Beyond(r *Rule) (commands []string) {
	needs := r.Needs | r.Or
	if s.Deep && needs&SightSockets != 0 {
		commands = append(commands, "scan --deep")
	}
	if s.Twice && needs&SightHealth != 0 {
		commands = append(commands, "conns --for")
	}
	return commands
}

// unasked says what could have found more of r: " without scan --deep"; "" when
// nothing could.
func (o *Outcome) unasked(r *Rule) string {
	more := Scope{Deep: !o.Asked.Deep && o.Run == nil, Twice: !o.Asked.Twice}.Beyond(r)
	if len(more) == 0 {
		return ""
	}
	return " without " + strings.Join(more, " and ")
}

// sawAll reports that everything was looked at which a finding of r could have
// come from, so that what was not found is not there.
func (o *Outcome) sawAll(r *Rule) bool {
	return o.Complete && o.Asked.Whole(r) && slices.Contains(o.Evaluated, r)
}

// commSize is how much of a program's name is known of a process that may not be
// read: TASK_COMM_LEN, less its NUL (include/linux/sched.h).
const commSize = 15

// sawProgram reports that the descriptors of a program were read, of every
// process that runs it: one of the same name that was left out, or could not be
// read, may be another service.
func (o *Outcome) sawProgram(name string) bool {
	read := map[*fdscan.Process]bool{}
	found := false
	for _, t := range o.Tables {
		read[t.Process] = true
		found = found || program(t.Process) == name
	}
	if !found {
		return false
	}
	short := name[:min(len(name), commSize)]
	return !slices.ContainsFunc(slices.Collect(maps.Values(o.Processes)), func(p *fdscan.Process) bool {
		return !read[p] && (program(p) == name || p.Comm == short)
	})
}

func targetTexts(targets []fdscan.Target) (texts []string) {
	for _, t := range targets {
		texts = append(texts, t.Text)
	}
	return texts
}
