package cmd

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"stray/inspect"
	"stray/report"
)

func (a *app) diff() *cobra.Command {
	var out *output
	failOn := ""
	c := &cobra.Command{
		Use:   "diff OLD.json NEW.json",
		Short: "two reports: what appeared, what went, what grew",
		Long: `diff compares two reports that -o json has written, of scan, who, conns or check:
findings by their fingerprints, and the descriptors of each process by their
kinds; of two reports of one command also listeners and, with -a, connections by
their state. A process that was started anew is compared with those of its
program. What only one of the reports was asked about (-p, a target) is left out.
One of the reports may be -, for the standard input.

Exit codes: 0 nothing has appeared that fails (--fail-on), 1 findings have, 2 usage.`,
		Example: `  stray scan --json >before.json
  stray scan --json | stray diff before.json -`,
		RunE: func(c *cobra.Command, args []string) error {
			severity, err := checkDiff(c, out, &failOn, args)
			if err != nil {
				return err
			}
			before, err := a.readReport(args[0])
			if err != nil {
				return err
			}
			after, err := a.readReport(args[1])
			if err != nil {
				return err
			}
			if before.Command != after.Command {
				a.warn("one report is of %s, the other of %s: they look at different things", before.Command, after.Command)
			}
			d := report.Compare(Version(), before, after)
			err = out.to(a.stdout, func(w io.Writer) error {
				if out.isJSON() {
					return report.WriteDiffJSON(w, d)
				}
				return report.WriteDiff(w, d, out.style(w))
			})
			if err != nil || !d.Fails(severity) {
				return err
			}
			return &exitError{code: exitNo}
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) >= 2 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []string{"json"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	out = a.formatFlags(c)
	failOnFlag(c, &failOn)
	return c
}

// checkDiff finds mistakes before anything is read.
func checkDiff(c *cobra.Command, out *output, failOn *string, args []string) (inspect.Severity, error) {
	if err := out.checkTwo(c); err != nil {
		return 0, err
	}
	if err := fromEnvironment(c, "fail-on"); err != nil {
		return 0, err
	}
	severity, err := readFailOn(c, *failOn)
	switch {
	case err != nil:
		return 0, err
	case len(args) != 2:
		return 0, usageError(again(c, []string{"old.json", "new.json"}, nil), "diff needs two reports, not %d", len(args))
	case args[0] == "-" && args[1] == "-":
		return 0, usageError(again(c, []string{"old.json", "-"}, nil), "only one of the reports can be the standard input")
	}
	return severity, nil
}

// wholeReport writes a report that can be compared.
const wholeReport = "stray scan --json --output-file new.json"

// readReport reads a report from a file, or from the standard input for "-".
func (a *app) readReport(path string) (*report.Document, error) {
	var data []byte
	var err error
	name := path
	if path == "-" {
		name = "standard input"
		data, err = io.ReadAll(a.stdin)
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, usageError(wholeReport, "read the report: %s", err)
	}
	d, err := report.ReadDocument(data)
	if err != nil {
		return nil, usageError(wholeReport, "%q cannot be compared: %s", name, err)
	}
	return d, nil
}
