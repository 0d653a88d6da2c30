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
			writeChanges(b, "    ", " ", c)
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

// writeChanges writes the code of a cure as a diff: each line with a mark, which
// stands between indent and gap.
func writeChanges(w io.Writer, indent, gap string, c inspect.Cure) {
	for _, line := range changes(strings.Split(c.Before, "\n"), strings.Split(c.After, "\n")) {
		fmt.Fprintln(w, strings.TrimRight(indent+line[:1]+gap+line[1:], " "))
	}
}

// changes are the lines of both texts in one, in the longest common order: with a
// minus, a plus or, where they are in both, a space before each.
func changes(before, after []string) (lines []string) {
	// common[i][j] is how many lines the rests from i and j have in common.
	common := make([][]int, len(before)+1)
	for i := range common {
		common[i] = make([]int, len(after)+1)
	}
	for i := len(before) - 1; i >= 0; i-- {
		for j := len(after) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if before[i] == after[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	i, j := 0, 0
	for i < len(before) || j < len(after) {
		switch {
		case i < len(before) && j < len(after) && before[i] == after[j]:
			lines = append(lines, " "+before[i])
			i, j = i+1, j+1
		case j == len(after) || i < len(before) && common[i+1][j] >= common[i][j+1]:
			lines = append(lines, "-"+before[i])
			i++
		default:
			lines = append(lines, "+"+after[j])
			j++
		}
	}
	return lines
}

// WriteRuleMarkdown writes the same as WriteRule for a page, without its title.
func WriteRuleMarkdown(w io.Writer, r *inspect.Rule) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "Severity: %s.\n\n%s\n\n## Cure\n", severityText(r), markdownLines(r.Text))
	for _, c := range r.Cures {
		fmt.Fprintf(b, "\n### %s\n\n%s\n", c.Language, fold(escapeMarkdown(c.Text), ruleWidth, ""))
		if c.After != "" {
			fmt.Fprintln(b, "\n```diff")
			writeChanges(b, "", "", c)
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
