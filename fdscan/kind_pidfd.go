package fdscan

import (
	"fmt"
	"strconv"
	"strings"
)

// PIDFD refers to a process or a thread (pidfd_open(2)).
var PIDFD = registerKind(&Kind{
	Name: "pidfd", Title: "a process or thread (pidfd)", Says: "which process, or that it has ended", Links: []string{"anon_inode:[pidfd]", "pidfd:[*"},
	tell: func(l *lister, d *Descriptor) string {
		pid, err := strconv.Atoi(d.detail("Pid"))
		if err != nil {
			return ""
		}
		what := "pid"
		if d.Flags != nil && *d.Flags&pidfdThread != 0 {
			what = "thread"
		}
		switch {
		case pid < 0:
			return "a process that has ended"
		case pid == 0:
			return "a process that is in no pid namespace of this one"
		}
		comm := l.comm(pid)
		if comm == "" {
			return fmt.Sprintf("%s %d", what, pid)
		}
		text := fmt.Sprintf("%s %d (%s)", what, pid, comm)
		if inner := strings.Fields(d.detail("NSpid")); len(inner) > 1 {
			text += ", there " + inner[len(inner)-1]
		}
		return text
	},
})
