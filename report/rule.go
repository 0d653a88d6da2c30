package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"stray/inspect"
)

// WriteRule writes what a rule means, and how to cure what it finds: the text
// of stray explain, which is the help of a rule in other formats too. On a narrow
// terminal everything but code is folded.
func WriteRule(w io.Writer, r *inspect.Rule, s Style) error {
	b := bufio.NewWriter(w)
	width, text := ruleWidth+len(cureIndent), r.Text
	if s.Width > 0 && s.Width < width {
		width, text = s.Width, refold(r.Text, s.Width)
	}
	fmt.Fprintln(b, fold(fmt.Sprintf("%s %s: %s", r.ID, r.Name, r.Title), s.Width, "  "))
	fmt.Fprintf(b, "%s\n\n%s\n\ncure:\n", fold("severity: "+severityText(r), s.Width, "  "), text)
	for i, c := range r.Cures {
		if i > 0 && (c.After != "" || r.Cures[i-1].After != "") {
			fmt.Fprintln(b)
		}
		fmt.Fprintf(b, "  %s\n%s\n", c.Language, fold(cureIndent+c.Text, width, cureIndent))
		if c.After != "" {
			fmt.Fprintln(b)
			writeChanges(b, cureIndent, " ", c)
		}
	}
	return b.Flush()
}

// ruleWidth is that of the texts of cures, in columns, and cureIndent what stands
// before them.
const (
	ruleWidth  = 76
	cureIndent = "    "
)

// refold makes the lines of a text as long as width allows, or shorter. It has
// paragraphs, and lists whose items begin with "- ".
func refold(text string, width int) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		joins := line != "" && !strings.HasPrefix(line, "- ") && len(lines) > 0 && lines[len(lines)-1] != ""
		if joins {
			lines[len(lines)-1] += " " + strings.TrimLeft(line, " ")
		} else {
			lines = append(lines, line)
		}
	}
	for i, line := range lines {
		indent := ""
		if strings.HasPrefix(line, "- ") {
			indent = "  "
		}
		lines[i] = fold(line, width, indent)
	}
	return strings.Join(lines, "\n")
}

// WriteRules writes a line for each rule; a title that a narrow terminal has no
// room for goes on below itself, or below its rule.
func WriteRules(w io.Writer, rules []*inspect.Rule, s Style) error {
	b := bufio.NewWriter(w)
	name, severity := 0, 0
	for _, r := range rules {
		name, severity = max(name, len(r.Name)), max(severity, len(r.Severity.String()))
	}
	for _, r := range rules {
		before := fmt.Sprintf("%s  %-*s  %-*s  ", r.ID, severity, r.Severity, name, r.Name)
		indent := strings.Repeat(" ", len(before))
		if s.Width < len(before)+leastTitle {
			indent = cureIndent
		}
		fmt.Fprintln(b, fold(before+r.Title, s.Width, indent))
	}
	return b.Flush()
}

// leastTitle is how many columns there have to be for a title to go on in.
const leastTitle = 24

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
