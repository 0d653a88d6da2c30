package cmd

import (
	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/report"
)

func (a *app) doctor() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "doctor",
		Short: "what this user can see on this machine, and what would add to it",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			host, abilities := (&fdscan.Scanner{}).Abilities()
			if asJSON {
				return report.WriteDoctorJSON(a.stdout, Version(), host, abilities)
			}
			return report.WriteDoctor(a.stdout, host, abilities, (&output{color: "auto"}).style(a.stdout))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}
