package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"stray/inspect"
)

var _ = register(&Format{
	Name:  "junit",
	Title: "JUnit XML: a test case for each rule, skipped when it could not be checked",
	Write: func(w io.Writer, r *Result, _ Style) error {
		suite := newJUnitSuite(r)
		if _, err := io.WriteString(w, xml.Header); err != nil {
			return err
		}
		e := xml.NewEncoder(w)
		e.Indent("", "  ")
		if err := e.Encode(junitSuites{Tests: suite.Tests, Failures: suite.Failures, Suites: []junitSuite{suite}}); err != nil {
			return err
		}
		_, err := io.WriteString(w, "\n")
		return err
	},
})

// The elements are those that Ant's junitreport, Jenkins and GitLab agree on,
// in the order that their schemas want.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Hostname   string          `xml:"hostname,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
		// SystemOut tells what could not be seen.
		SystemOut *junitText `xml:"system-out"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Classname string       `xml:"classname,attr"`
		Name      string       `xml:"name,attr"`
		Time      string       `xml:"time,attr"`
		Skipped   *junitReason `xml:"skipped"`
		Failure   *junitReason `xml:"failure"`
		SystemOut *junitText   `xml:"system-out"`
	}
	junitReason struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",cdata"`
	}
	junitText struct {
		Text string `xml:",cdata"`
	}
)

func newJUnitSuite(r *Result) junitSuite {
	o := r.Outcome
	s := junitSuite{
		Name: "stray " + r.Command, Time: "0", Hostname: Printable(o.Host.Name),
		// Without a zone, as the schema of Ant wants it: UTC.
		Timestamp: o.TakenAt.UTC().Format("2006-01-02T15:04:05"),
		Properties: []junitProperty{
			{"stray.version", Printable(r.Version)},
			{"kernel", Printable(o.Host.Kernel)},
			{"query", Printable(r.question())},
			{"complete", yesNo(o.Complete)},
		},
	}
	if o.Run != nil {
		s.Time = fmt.Sprintf("%.3f", o.Run.Duration.Seconds())
	}
	for _, rule := range checkedRules(o) {
		c := newJUnitCase(r, rule)
		s.Tests++
		if c.Failure != nil {
			s.Failures++
		}
		if c.Skipped != nil {
			s.Skipped++
		}
		s.Cases = append(s.Cases, c)
	}
	var unseen []string
	for _, g := range gapLines(o.Gaps) {
		unseen = append(unseen, "not seen: "+Printable(g.String()))
	}
	s.SystemOut = newJUnitText(unseen)
	return s
}

// newJUnitCase tells of one rule. It has one failure, which lists every finding
// that fails: schemas allow no more than one, and readers show only the first.
// What does not fail is in its output.
func newJUnitCase(r *Result, rule *inspect.Rule) junitCase {
	o := r.Outcome
	c := junitCase{Classname: "stray." + r.Command, Name: rule.ID + " " + rule.Name, Time: "0"}
	var failing []inspect.Finding
	var details, output []string
	for _, f := range o.Findings {
		switch {
		case f.Rule != rule:
		case o.Fails(f.Severity):
			failing = append(failing, f)
			details = append(details, findingLines(f)...)
		default:
			output = append(output, findingLines(f)...)
		}
	}
	for _, s := range o.Suppressed {
		if s.Rule == rule {
			output = append(output, "suppressed: "+Printable(suppressedText(s)))
		}
	}
	because := ""
	for _, u := range o.NotEvaluated {
		if u.Rule == rule {
			because = uncheckedWords(r.Answer) + ": " + Printable(u.Because)
		}
	}
	switch {
	case len(failing) > 0:
		message := Printable(failing[0].Message)
		if n := len(failing); n > 1 {
			message = fmt.Sprintf("%d findings, the first: %s", n, message)
		}
		if because != "" {
			output = append(output, because)
		}
		c.Failure = &junitReason{message, failing[0].Severity.String(), strings.Join(details, "\n")}
	case because != "":
		c.Skipped = &junitReason{Message: because}
	}
	c.SystemOut = newJUnitText(output)
	return c
}

// findingLines is a finding with what it rests on and what to do, line by line.
func findingLines(f inspect.Finding) []string {
	lines := []string{f.Severity.String() + ": " + f.Message}
	for _, e := range f.Evidence {
		lines = append(lines, "  "+e)
	}
	for _, n := range f.Next {
		lines = append(lines, "  next: "+n)
	}
	return clean(lines)
}

func newJUnitText(lines []string) *junitText {
	if len(lines) == 0 {
		return nil
	}
	return &junitText{strings.Join(lines, "\n")}
}
