package cmd

import (
	"github.com/spf13/cobra"

	"stray/report"
)

func (a *app) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "the JSON Schema of -o json",
		Args:  noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(report.Schema)
			return err
		},
	}
}
