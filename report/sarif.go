package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&Format{
	Name:  "sarif",
	Title: "SARIF 2.1.0, for code scanning",
	Write: func(w io.Writer, r *Result, _ Style) error {
		e := encoder(w)
		e.SetIndent("", "  ")
		return e.Encode(sarifLog{sarifSchema, "2.1.0", []sarifRun{newSarifRun(r)}})
	},
})

const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// rootBase is the name of the directory that paths are relative to.
const rootBase = "ROOT"

// sourceBase is the name of the directory that files of source are relative to.
const sourceBase = "SRCROOT"

// What a run notifies of, besides results.
const (
	notSeen    = "not-seen"
	notChecked = "not-checked"
)

func newSarifRun(r *Result) sarifRun {
	o := r.Outcome
	rules := checkedRules(o)
	run := sarifRun{
		Tool: sarifTool{sarifComponent{
			Name: "stray", Version: Printable(r.Version), Rules: list(rules, newSarifRule),
			Notifications: []sarifDescriptor{
				{ID: notSeen, ShortDescription: &sarifText{Text: "something could not be seen"}},
				{ID: notChecked, ShortDescription: &sarifText{Text: "a rule could not be checked"}},
			},
		}},
		// What stands before the last slash is the category: a second upload for
		// a commit takes the place of the first of its category only.
		Automation: sarifAutomation{"stray/" + r.Command + "/"},
		Bases:      map[string]sarifArtifact{rootBase: {URI: "file:///"}},
		Invocations: []sarifInvocation{{
			Successful: true, Started: o.TakenAt.UTC().Format(time.RFC3339), Machine: Printable(o.Host.Name),
			Notifications: sarifNotifications(r, rules),
		}},
		ColumnKind: "unicodeCodePoints",
		Results:    []sarifResult{},
	}
	if root := r.sourceRoot(); root != "" && o.Run.Stacks {
		run.Bases[sourceBase] = sarifArtifact{URI: "file://" + pathURI(strings.TrimSuffix(root, "/")) + "/"}
	}
	// Those that were known before are numbered first: a new one that is equal
	// has to be new to the reader.
	suppressed := list(o.Suppressed, func(s inspect.Suppressed) inspect.Finding { return s.Finding })
	prints := numbered(slices.Concat(suppressed, o.Findings))
	for i, f := range o.Findings {
		run.Results = append(run.Results, newSarifResult(f, r.sourceRoot(), rules, prints[len(suppressed)+i]))
	}
	for i, f := range suppressed {
		result := newSarifResult(f, r.sourceRoot(), rules, prints[i])
		reason := "in the baseline"
		if s := o.Suppressed[i]; s.By == inspect.ByIgnore {
			reason = Printable(s.Reason)
		}
		result.Suppressions = []sarifSuppression{{"external", "accepted", reason}}
		run.Results = append(run.Results, result)
	}
	return run
}

func newSarifRule(r *inspect.Rule) sarifDescriptor {
	var help, page strings.Builder
	_ = WriteRule(&help, r, Style{})
	_ = WriteRuleMarkdown(&page, r)
	first, _, _ := strings.Cut(r.Text, "\n\n")
	return sarifDescriptor{
		ID: r.ID, Name: r.Name, ShortDescription: &sarifText{Text: r.Title},
		FullDescription: &sarifText{Text: strings.ReplaceAll(first, "\n", " ")},
		Help:            &sarifText{help.String(), page.String()},
		Configuration:   &sarifConfiguration{r.Severity.String()},
		Properties:      map[string]any{"tags": []string{"file-descriptors"}, "problem.severity": problemSeverity(r.Severity)},
	}
}

// problemSeverity is the word by which GitHub sorts rules.
func problemSeverity(s inspect.Severity) string {
	if s == inspect.Note {
		return "recommendation"
	}
	return s.String()
}

func newSarifResult(f inspect.Finding, dir string, rules []*inspect.Rule, print string) sarifResult {
	return sarifResult{
		RuleID: f.Rule.ID, RuleIndex: slices.Index(rules, f.Rule), Level: f.Severity.String(), Message: sarifText{Text: Printable(f.Message)},
		Locations: []sarifLocation{newSarifLocation(f, dir)},
		Stacks:    newSarifStacks(f.Opening, dir),
		// GitHub looks at the second only, whose name is that of what it computes
		// itself of source.
		Fingerprints: map[string]string{"stray/v1": print, "primaryLocationLineHash": print},
		Suppressions: []sarifSuppression{}, // none, rather than not known
		Properties:   map[string]any{"evidence": list(f.Evidence, Printable), "next": list(f.Next, Printable)},
	}
}

// newSarifLocation is where a finding is: in a descriptor of a process of a
// program, and for readers that know files only, where the descriptor was opened or,
// when that is not known, at the start of that program's file. GitHub shows no result without a physical location, and takes a relative
// path that the repository lacks; the path of the program is the same in every
// run, as it has to be for GitHub to see that a result is an old one.
func newSarifLocation(f inspect.Finding, dir string) sarifLocation {
	l := sarifLocation{Physical: sarifPhysical{
		Artifact: sarifArtifact{pathURI(programPath(f.Process)), rootBase},
		Region:   sarifRegion{1, 1, 1, 1},
	}}
	if file, line, ok := f.Source(dir); ok {
		l.Physical = sarifPhysical{sarifArtifact{pathURI(file), sourceBase}, sarifRegion{line, 1, line, 1}}
	}
	if p := f.Process; p != nil {
		process := fmt.Sprintf("pid %d", p.PID)
		if f.TID != 0 {
			process += fmt.Sprintf(" tid %d", f.TID)
		}
		l.Logical = append(l.Logical,
			sarifLogical{Printable(p.Comm), Printable(programPath(p)), "program"},
			sarifLogical{process, process, "process"})
		if f.FD >= 0 {
			fd := fmt.Sprintf("fd %d", f.FD)
			l.Logical = append(l.Logical, sarifLogical{fd, process + " " + fd, "descriptor"})
		}
	}
	return l
}

// newSarifStacks are the stacks of an opening: how it was made, and how that was made
// which it is a duplicate of.
func newSarifStacks(o *fdscan.Opening, dir string) (stacks []sarifStack) {
	for ; o != nil; o = o.Of {
		s := sarifStack{Message: sarifText{Text: Printable(inspect.OpeningText(o, dir)[0])}, Frames: []sarifFrame{}}
		for _, c := range o.Stack {
			frame := sarifFrame{Module: Printable(c.Module)}
			if c.Function != "" {
				frame.Location.Logical = []sarifLogical{{Printable(c.Function), Printable(c.Function), "function"}}
			}
			if strings.HasPrefix(c.File, "/") && c.Line > 0 {
				artifact := sarifArtifact{"file://" + pathURI(c.File), ""}
				if file := inspect.InDirectory(c.File, dir); file != c.File {
					artifact = sarifArtifact{pathURI(file), sourceBase}
				}
				frame.Location.Physical = &sarifPhysical{artifact, sarifRegion{c.Line, 1, c.Line, 1}}
			}
			s.Frames = append(s.Frames, frame)
		}
		stacks = append(stacks, s)
	}
	return stacks
}

// pathURI is a path as a reference of RFC 3986: any byte may be in a path.
func pathURI(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("/-._~+@", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// sarifNotifications tell what could not be seen, and which rules that starves.
func sarifNotifications(r *Result, rules []*inspect.Rule) []sarifNotification {
	all := []sarifNotification{}
	for _, u := range r.Outcome.NotEvaluated {
		all = append(all, sarifNotification{
			Descriptor: sarifReference{ID: notChecked, Index: 1}, Rule: &sarifReference{u.Rule.ID, slices.Index(rules, u.Rule)},
			Level: "warning", Message: sarifText{Text: Printable(u.Rule.ID + " " + uncheckedWords(r.Answer) + ": " + u.Because)},
		})
	}
	for _, g := range gapLines(r.Outcome.Gaps) {
		level := "warning"
		if g.Scope == fdscan.ScopeDetail {
			level = "note"
		}
		all = append(all, sarifNotification{Descriptor: sarifReference{ID: notSeen}, Level: level, Message: sarifText{Text: Printable("not seen: " + g.String())}})
	}
	return all
}
