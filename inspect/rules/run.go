package rules

import (
	"fmt"
	"slices"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

// eachCrossing calls f with what has crossed an exec of the command that was
// followed.
func eachCrossing(v *inspect.View, f func(*fdscan.Crossing)) {
	if v.Run == nil {
		return
	}
	for _, c := range v.Run.Crossings {
		f(c)
	}
}

// descriptorsCrossed are the descriptors, other than listeners, that crossed an
// exec while a command was followed.
func descriptorsCrossed(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
	eachCrossing(v, func(c *fdscan.Crossing) {
		if isListener(c.Descriptor) {
			return // FD101
		}
		findings = append(findings, crossing(r, v, c, fmt.Sprintf("%s carries fd %d, %s of %s, across the exec of %q: it lacks FD_CLOEXEC%s",
			who(c.Process), c.FD, what(c.Descriptor), who(c.From), command(c.Process), others(c))))
	})
	return findings
}

// unreadTables says that descriptor tables of a followed command could not be
// read.
func unreadTables(v *inspect.View) string {
	for _, g := range v.Run.Unread {
		return fmt.Sprintf("the descriptors of pid %d could not be read: %s", g.PID, g.Err)
	}
	return ""
}

// crossing returns a finding of r about c, which is an error: it was seen.
func crossing(r *inspect.Rule, v *inspect.View, c *fdscan.Crossing, message string) inspect.Finding {
	f := inspect.NewDescriptorFinding(r, v, c.Descriptor, c.From, message)
	f.Evidence = []string{
		fmt.Sprintf("fd %d (%s) came from pid %d, %q", c.FD, c.Link, c.From.PID, command(c.From)),
		fmt.Sprintf("it crossed the exec of %q in pid %d: nothing in its arguments or environment names it", command(c.Process), c.Process.PID),
	}
	f.Severity = inspect.Error
	switch {
	case c.Plumbing != "":
		f.Severity = inspect.Note
		f.Evidence = append(f.Evidence, c.Plumbing)
	case c.Closed > 0 && c.Closed == c.Count:
		f.Severity = inspect.Note
		f.Evidence = append(f.Evidence, "every program that got it has closed it itself, and had started no other")
	case slices.Contains(memoryDevices, c.Link):
		f.Severity = inspect.Note
	}
	tellOpening(v, &f, c.Opening)
	return f
}

// isListener reports a socket that keeps a port or a name by itself.
func isListener(d *fdscan.Descriptor) bool {
	return d.Socket != nil && (&inspect.Socket{Socket: d.Socket}).IsPort()
}

// command is the command line of a process, as far as it can be read at a glance.
func command(p *fdscan.Process) string {
	const most = 60
	words := strings.TrimRight(strings.Join(p.Cmdline, " "), " ") // setproctitle(3) pads
	if words == "" {
		return p.Comm
	}
	if runes := []rune(words); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return words
}

// what says what a descriptor leads to: "the file /tmp/x", "a pipe".
func what(d *fdscan.Descriptor) string {
	if d.Socket != nil {
		s := &inspect.Socket{Socket: d.Socket}
		switch {
		case s.Protocol == fdscan.Unix && s.Local.Path == "" && s.Remote.Path == "":
			return "a unix socket"
		case s.Protocol == fdscan.Unix && s.Local.Path == "":
			return "a connection to unix:" + s.Remote.Path
		case s.Remote.Port != 0:
			return fmt.Sprintf("the %s connection %s → %s", s.Protocol, s.Address(), inspect.EndpointText(s.Protocol, s.Remote))
		case s.Protocol != "":
			return fmt.Sprintf("the %s %s %s", s.Protocol, s.Noun(), s.Address())
		}
	}
	switch {
	case strings.HasPrefix(d.Link, "/dev/"):
		return "the device " + d.Link
	case strings.HasPrefix(d.Link, "/memfd:"):
		return "the memory file " + strings.TrimPrefix(d.Link, "/memfd:")
	case d.Deleted:
		return "the deleted file " + d.Link
	case strings.HasPrefix(d.Link, "/"):
		return "the file " + d.Link
	case d.Kind == fdscan.Pipe, d.Kind == fdscan.AnySocket:
		return "a " + d.Kind.Name
	}
	return d.Link
}

// others says who got the same.
func others(c *fdscan.Crossing) string {
	switch {
	case c.Count <= 1:
		return ""
	case c.Count == 2:
		return fmt.Sprintf("; and so does 1 more (%s)", strings.Join(c.Into, ", "))
	}
	return fmt.Sprintf("; and so do %d more (%s)", c.Count-1, strings.Join(c.Into, ", "))
}
