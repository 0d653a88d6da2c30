package report

import (
	"io"
	"strings"

	"stray/inspect"
)

var _ = register(&Format{
	Name:  "gitlab",
	Title: "a Code Quality report of GitLab",
	Write: func(w io.Writer, r *Result, _ Style) error {
		issues := []gitlabIssue{}
		for i, print := range numbered(r.Outcome.Findings) {
			f := r.Outcome.Findings[i]
			issue := newGitlabIssue(f.Rule.ID+" "+f.Message, f.Rule.ID+" "+f.Rule.Name, print, gitlabSeverity(f.Severity), programPath(f.Process))
			if file, line, ok := f.Source(r.sourceRoot()); ok {
				issue.Location.Path, issue.Location.Lines.Begin = Printable(file), line
			}
			issues = append(issues, issue)
		}
		// A rule that could not look is no clean rule.
		for _, l := range uncheckedLines(r.Outcome.NotEvaluated) {
			rules := strings.Join(l.rules, ", ")
			issues = append(issues, newGitlabIssue(uncheckedWords(r.Answer)+": "+l.String(), "not-checked", "not checked: "+rules, "info", nowhere))
		}
		e := encoder(w)
		e.SetIndent("", "  ")
		return e.Encode(issues)
	},
})

// gitlabIssue is what GitLab reads of a Code Climate issue.
type gitlabIssue struct {
	Description string `json:"description"`
	CheckName   string `json:"check_name"`
	// Fingerprint is unique in a report: GitLab drops what comes with one that it
	// has seen.
	Fingerprint string         `json:"fingerprint"`
	Severity    string         `json:"severity"`
	Location    gitlabLocation `json:"location"`
}

// gitlabLocation is where GitLab shows an issue: in a file of the repository. Where
// no line of source is known, the program's file is what stays the same from run to
// run.
type gitlabLocation struct {
	Path  string `json:"path"`
	Lines struct {
		Begin int `json:"begin"`
	} `json:"lines"`
}

func newGitlabIssue(description, check, print, severity, path string) gitlabIssue {
	i := gitlabIssue{Description: Printable(description), CheckName: check, Fingerprint: print, Severity: severity}
	i.Location.Path, i.Location.Lines.Begin = Printable(path), 1
	return i
}

// gitlabSeverity is one of info, minor, major, critical and blocker.
func gitlabSeverity(s inspect.Severity) string {
	switch s {
	case inspect.Error:
		return "critical"
	case inspect.Warning:
		return "major"
	case inspect.Note:
	}
	return "info"
}
