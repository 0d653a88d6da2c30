package cmd

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// environment are the variables that stand for a flag where it is not given, by
// the name of the flag. There is none for consent (--yes), for force, or for what
// a command acts on: those are said each time.
var environment = map[string]string{
	"output": "STRAY_FORMAT", "color": "STRAY_COLOR", "fail-on": "STRAY_FAIL_ON", "strict": "STRAY_STRICT",
	"baseline": "STRAY_BASELINE", "ignore-file": "STRAY_IGNORE_FILE",
}

// fromEnvironment gives flags that were not given the values of their variables.
func fromEnvironment(c *cobra.Command, names ...string) error {
	for _, name := range names {
		f := c.Flags().Lookup(name)
		value := os.Getenv(environment[name])
		if f == nil || f.Changed || value == "" {
			continue
		}
		// Not through the set, which would take it for one that was given.
		if err := f.Value.Set(value); err != nil {
			return usageError(c.CommandPath()+" --help", "%s: %q is not a value for --%s", environment[name], value, name)
		}
	}
	return nil
}

// source says where the value of a flag comes from, when that is not the command
// line: " (STRAY_FORMAT)".
func source(c *cobra.Command, name string) string {
	if f := c.Flags().Lookup(name); f != nil && !f.Changed && os.Getenv(environment[name]) != "" {
		return fmt.Sprintf(" (%s)", environment[name])
	}
	return ""
}
