package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"stray/inspect"
)

var _ = register(&Format{
	Name:  "github",
	Title: "annotations of GitHub Actions (workflow commands)",
	Write: func(w io.Writer, r *Result, _ Style) error {
		b := bufio.NewWriter(w)
		// The runner shows ten annotations of each level for a step: the findings
		// come in order of severity.
		for _, f := range r.Outcome.Findings {
			lines := append([]string{f.Message}, f.Evidence...)
			for _, n := range f.Next {
				lines = append(lines, "next: "+n)
			}
			annotate(b, githubLevel(f.Severity), githubPlace(&f, r.sourceRoot()), f.Rule.ID+" "+f.Rule.Name, lines...)
		}
		for _, l := range uncheckedLines(r.Outcome.NotEvaluated) {
			annotate(b, "warning", "", uncheckedWords(r.Answer), l.String())
		}
		for _, g := range gapLines(r.Outcome.Gaps) {
			annotate(b, "notice", "", "not seen", g.String())
		}
		// Not a command: a line of the log.
		fmt.Fprintf(b, "stray %s: %s\n", r.Command, tally(r))
		return b.Flush()
	},
})

func githubLevel(s inspect.Severity) string {
	if s == inspect.Note {
		return "notice"
	}
	return s.String()
}

// githubEscape is for the value of a workflow command's property. The runner takes
// these back in this order: a percent sign has to be the first to be escaped.
var githubEscape = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")

// githubPlace are the properties of the line of source that the job's page shows an
// annotation at; "" for none.
func githubPlace(f *inspect.Finding, dir string) string {
	file, line, ok := f.Source(dir)
	if !ok {
		return ""
	}
	return fmt.Sprintf("file=%s,line=%d,", githubEscape.Replace(Printable(file)), line)
}

// annotate writes one workflow command. Lines are written by the escape of the
// commands for a newline, since what stands after a real one is a command of its
// own.
func annotate(w io.Writer, level, place, title string, lines ...string) {
	value := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	clean(lines)
	fmt.Fprintf(w, "::%s %stitle=%s::%s\n", level, place, githubEscape.Replace(Printable(title)), value.Replace(strings.Join(lines, "\n")))
}
