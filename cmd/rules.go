package cmd

import (
	"github.com/spf13/cobra"

	"stray/inspect/rules"
	"stray/report"
)

func (a *app) rules() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "rules",
		Short: "what is checked, a line for each rule",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return report.WriteRulesJSON(a.stdout, Version(), rules.All())
			}
			return report.WriteRules(a.stdout, rules.All(), (&output{}).style(a.stdout))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, with texts and cures")
	return c
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
			return report.WriteRule(a.stdout, r, (&output{}).style(a.stdout))
		},
	}
}
