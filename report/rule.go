package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"stray/inspect"
)

// WriteRule writes what a rule means, and how to cure what it finds: the text
// of stray explain, which is the help of a rule in other formats too.
func WriteRule(w io.Writer, r *inspect.Rule) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s %s: %s\nseverity: %s\n\n%s\n\ncure:\n", r.ID, r.Name, r.Title, severityText(r), r.Text)
	for i, c := range r.Cures {
		if i > 0 && (c.After != "" || r.Cures[i-1].After != "") {
			fmt.Fprintln(b)
		}
		fmt.Fprintf(b, "  %s\n    %s\n", c.Language, fold(c.Text, ruleWidth, "    "))
		if c.After != "" {
			fmt.Fprintln(b)
			quote(b, "    - ", c.Before)
			quote(b, "    + ", c.After)
		}
	}
	return b.Flush()
}

// ruleWidth is that of the texts of rules, in columns.
const ruleWidth = 76

// severityText is the severity of a rule, and when it is another.
func severityText(r *inspect.Rule) string {
	if r.SeverityNote == "" {
		return r.Severity.String()
	}
	return r.Severity.String() + "; " + r.SeverityNote
}

// quote writes code with a mark before each line.
func quote(w io.Writer, mark, code string) {
	for line := range strings.SplitSeq(code, "\n") {
		fmt.Fprintln(w, strings.TrimRight(mark+line, " "))
	}
}

// WriteRuleMarkdown writes the same as WriteRule for a page, without its title.
func WriteRuleMarkdown(w io.Writer, r *inspect.Rule) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "Severity: %s.\n\n%s\n\n## Cure\n", severityText(r), markdownLines(r.Text))
	for _, c := range r.Cures {
		fmt.Fprintf(b, "\n### %s\n\n%s\n", c.Language, fold(escapeMarkdown(c.Text), ruleWidth, ""))
		if c.After != "" {
			fmt.Fprintln(b, "\n```diff")
			quote(b, "-", c.Before)
			quote(b, "+", c.After)
			fmt.Fprintln(b, "```")
		}
	}
	return b.Flush()
}

// markdownLines is text of several lines, each for itself.
func markdownLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = escapeMarkdown(lines[i])
	}
	return strings.Join(lines, "\n")
}
