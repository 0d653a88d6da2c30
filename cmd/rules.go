package cmd

import (
	"io"

	"github.com/spf13/cobra"

	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

func (a *app) rules() *cobra.Command {
	var out *output
	c := &cobra.Command{
		Use:   "rules",
		Short: "what is checked, a line for each rule",
		Long:  "rules lists what is checked, a line for each rule; as JSON with texts and cures.",
		Args:  noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.tellRules(c, out, rules.All(), report.WriteRules)
		},
	}
	out = a.formatFlags(c)
	return c
}

func (a *app) explain() *cobra.Command {
	var out *output
	c := &cobra.Command{
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
			return a.tellRules(c, out, []*inspect.Rule{r}, func(w io.Writer, _ []*inspect.Rule, s report.Style) error {
				return report.WriteRule(w, r, s)
			})
		},
	}
	out = a.formatFlags(c)
	return c
}

// tellRules writes rules as JSON, or as write does.
func (a *app) tellRules(c *cobra.Command, out *output, some []*inspect.Rule, write func(io.Writer, []*inspect.Rule, report.Style) error) error {
	if err := out.checkTwo(c); err != nil {
		return err
	}
	return out.to(a.stdout, func(w io.Writer) error {
		if out.isJSON() {
			return report.WriteRulesJSON(w, Version(), some)
		}
		return write(w, some, out.style(w))
	})
}
