package cmd

import (
	"io"

	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/report"
)

func (a *app) doctor() *cobra.Command {
	var out *output
	c := &cobra.Command{
		Use:   "doctor",
		Short: "what this user can see on this machine, and what would add to it",
		Args:  noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := out.checkTwo(c); err != nil {
				return err
			}
			host, abilities := (&fdscan.Scanner{}).Abilities()
			return out.to(a.stdout, func(w io.Writer) error {
				if out.isJSON() {
					return report.WriteDoctorJSON(w, Version(), host, abilities)
				}
				return report.WriteDoctor(w, host, abilities, out.style(w))
			})
		},
	}
	out = a.formatFlags(c)
	return c
}
