package cmd

import (
	"strings"

	"github.com/spf13/cobra"

	"stray/inspect"
)

// gate are the flags of the commands that pass or fail a build: what fails it,
// and what does not count.
type gate struct {
	failOn string
	strict bool
}

// failWords are the values of --fail-on.
var failWords = map[string]inspect.Severity{"error": inspect.Error, "warning": inspect.Warning, "note": inspect.Note, "none": inspect.Error + 1}

func (a *app) gateFlags(c *cobra.Command) *gate {
	g := &gate{}
	f := c.Flags()
	f.StringVar(&g.failOn, "fail-on", "error", "the mildest severity that fails: error, warning, note or none")
	f.BoolVar(&g.strict, "strict", false, "exit 3 when something that could change the answer could not be seen")
	_ = c.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"error", "warning", "note", "none"}, cobra.ShellCompDirectiveNoFileComp))
	return g
}

// check finds mistakes before anything is done.
func (g *gate) check(c *cobra.Command) error {
	if _, known := failWords[strings.ToLower(g.failOn)]; !known {
		return usageError(again(c, c.Flags().Args(), map[string]string{"fail-on": "error"}), "unknown value %q for --fail-on: error, warning, note or none", g.failOn)
	}
	return nil
}

// apply takes out of the findings of o what does not count.
func (g *gate) apply(*inspect.Outcome) error { return nil }

// least is the mildest severity that fails.
func (g *gate) least() inspect.Severity { return failWords[strings.ToLower(g.failOn)] }

// exitCode is what o comes to.
func (g *gate) exitCode(o *inspect.Outcome) int {
	switch {
	case o.Worst() >= g.least():
		return exitNo
	case g.strict && !o.Complete:
		return exitUnknown
	}
	return exitOK
}
