package cmd

import (
	"github.com/spf13/cobra"
)

func (a *app) check() *cobra.Command {
	c := &cobra.Command{
		Use:   "check -p PID",
		Short: "whether the descriptors of a running process grow",
		Long: `check -p looks at running processes and their descendants again and again: which
descriptors rise and never fall, how fast, and when RLIMIT_NOFILE is reached
(FD203); and at the end for what scan finds in them.

A look costs next to nothing: one stat(2) for each process, and its table is read
only when the number of its descriptors has changed. Processes that start later
are not looked at.

Exit codes: 0 no finding that fails (--fail-on), 1 findings, 2 usage, 3 could not
look (with --strict: not everything).`,
		Example: `  stray check -p $(pidof server) --for 1m
  stray check -p 4180 --warm-up 10s --for 5m -o json --output-file before.json
  stray check -p 4180 --since before.json`,
		Args: noArgs,
	}
	out, g, w := a.outputFlags(c), a.gateFlags(c), watchFlagsOf(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := out.check(c); err != nil {
			return err
		}
		if err := g.check(c); err != nil {
			return err
		}
		if len(w.pids) == 0 {
			return usageError("stray check -p 1", "check needs -p and a process id")
		}
		return a.runCheckProcess(c.Context(), c, out, g, w)
	}
	return c
}
