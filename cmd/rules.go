package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"stray/inspect"
	"stray/inspect/rules"
)

func (a *app) rules() *cobra.Command {
	return &cobra.Command{
		Use:   "rules",
		Short: "what is checked, a line for each rule",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, r := range rules.All() {
				if _, err := fmt.Fprintf(a.stdout, "%s  %-7s  %-24s  %s\n", r.ID, r.Severity, r.Name, r.Title); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) explain() *cobra.Command {
	return &cobra.Command{
		Use:               "explain RULE",
		Short:             "what a rule means, why it matters, and how to cure it",
		Example:           "  stray explain FD101",
		ValidArgsFunction: completeRules,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("stray explain FD101", "explain needs one rule (stray rules lists them)")
			}
			r := rules.Find(args[0])
			if r == nil {
				return usageError("stray rules", "unknown rule %q", args[0])
			}
			_, err := fmt.Fprint(a.stdout, explanation(r))
			return err
		},
	}
}

func explanation(r *inspect.Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s\n", r.ID, r.Name, r.Title)
	fmt.Fprintf(&b, "severity: %s", r.Severity)
	if r.SeverityNote != "" {
		fmt.Fprintf(&b, "; %s", r.SeverityNote)
	}
	fmt.Fprintf(&b, "\n\n%s\n\ncure:\n", r.Text)
	for _, c := range r.Cures {
		fmt.Fprintf(&b, "  %s\n", c.Language)
		for _, line := range wrap(c.Text, 72) {
			fmt.Fprintf(&b, "    %s\n", line)
		}
		if c.After != "" {
			fmt.Fprintln(&b)
			quote(&b, "-", c.Before)
			quote(&b, "+", c.After)
			fmt.Fprintln(&b)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// quote writes code with a mark before each line, as in a diff.
func quote(b *strings.Builder, mark, code string) {
	for line := range strings.SplitSeq(code, "\n") {
		fmt.Fprintln(b, strings.TrimRight("    "+mark+" "+line, " "))
	}
}

// wrap breaks text at spaces into lines of at most width columns.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

func completeRules(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, r := range rules.All() {
		words = append(words, r.ID+"\t"+r.Title)
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
