package rules

import (
	"fmt"
	"slices"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:           "FD202",
	Name:         "left-behind",
	Severity:     inspect.Error,
	SeverityNote: "warning when it holds nothing that others wait for",
	Title:        "a process outlives the command that started it",
	Text: `The command has ended, and a process that it started, or that one of those
started, runs on after the time of grace, setsid(2) and double forks
notwithstanding.

It is an error when the process holds what others wait for: a pipe or socket
of the caller (whoever reads the standard output to its end, as a CI step or a
pipeline does, hangs until the process ends), a port (the next run cannot bind
it), or a lock on a file. Otherwise it is a warning: daemons such as ssh-agent
are started this way on purpose.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "wait for every child, or end it; a daemon redirects 0, 1 and 2 to /dev/null."},
		{Language: "Go", Text: "exec.CommandContext with Cancel and WaitDelay; t.Cleanup that ends and waits for what a test starts."},
		{Language: "Python", Text: "with subprocess.Popen(…) as p; p.terminate() and p.wait() in a finally or a fixture."},
		{Language: "Node", Text: "child.kill() in an after hook; detached: true with stdio: 'ignore' for what shall live on."},
		{Language: "shell", Text: "trap 'kill $server; wait' EXIT; a daemon is started with >/dev/null 2>&1 </dev/null."},
	},
	Needs: inspect.SightRun,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		for _, s := range v.Run.Survivors {
			findings = append(findings, leftBehind(r, v, s))
		}
		return findings
	},
	Starved: unreadTables,
})

// leftBehind says what a survivor holds.
func leftBehind(r *inspect.Rule, v *inspect.View, s *fdscan.Survivor) inspect.Finding {
	var holds, parts []string
	var openings []*fdscan.Opening
	for _, d := range s.Ports {
		holds = append(holds, fmt.Sprintf("%s (fd %d)", what(d), d.FD))
		parts = append(parts, v.Lasting(d))
		openings = append(openings, d.Opening)
	}
	for _, d := range s.Locked {
		holds = append(holds, fmt.Sprintf("a lock on %s (fd %d)", d.Link, d.FD))
		parts = append(parts, v.Lasting(d))
		openings = append(openings, d.Opening)
	}
	message := who(s.Process) + " outlives the command"
	if len(holds) > 0 {
		message += " and holds " + strings.Join(holds, ", ")
	}
	if len(s.Streams) > 0 {
		streams := strings.Join(s.Streams, " and ")
		if parts = append(parts, streams); len(holds) == 0 {
			message += " and holds its " + streams
		} else {
			message += " and its " + streams
		}
		message += ": whoever reads that to its end waits for the process"
	}
	f := inspect.NewProcessFinding(r, s.Process, -1, message, parts...)
	if len(parts) == 0 {
		f.Severity = inspect.Warning
	}
	if len(s.Streams) == 0 { // else it is about more than descriptors that have names
		f.Descriptors = slices.Concat(s.Ports, s.Locked)
	}
	f.Evidence = []string{"its command line: " + command(s.Process)}
	switch {
	case v.Run.Stacks:
		f.Evidence = append(f.Evidence, "it is ended after this report: what is followed with --stacks cannot be released")
	case v.Run.EndsLeftBehind:
		f.Evidence = append(f.Evidence, "it is ended after this report")
	default:
		f.Next = append([]string{fmt.Sprintf("kill %d", s.Process.PID)}, f.Next...)
	}
	tellOpening(v, &f, openings...)
	return f
}
