package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"stray/inspect"
	"stray/report"
)

// The names of the files that a gate uses where no other is named.
const (
	settingsFile = ".stray.yaml"
	baselineFile = "stray-baseline.json"
)

// gate are the flags of the commands that pass or fail a build: what fails it,
// and what does not count.
type gate struct {
	app        *app
	failOn     string
	strict     bool
	baseline   string // path
	update     bool
	prune      bool
	ignoreFile string

	settings *inspect.Settings
	known    *inspect.Baseline // nil without a baseline
}

func (a *app) gateFlags(c *cobra.Command) *gate {
	g := &gate{app: a}
	f := c.Flags()
	failOnFlag(c, &g.failOn)
	f.BoolVar(&g.strict, "strict", false, "exit 3 when something that could change the answer could not be seen")
	f.StringVar(&g.baseline, "baseline", "", "findings in this `file` are known, and do not count")
	f.BoolVar(&g.update, "update-baseline", false, "write the findings of this run into the baseline (default "+baselineFile+")")
	f.BoolVar(&g.prune, "prune-baseline", false, "take out of the baseline what is not found any more")
	f.StringVar(&g.ignoreFile, "ignore-file", "", "what does not count, and why, is in this `file` (default "+settingsFile+", when it exists)")
	return g
}

func failOnFlag(c *cobra.Command, value *string) {
	c.Flags().StringVar(value, "fail-on", "error", "the mildest `SEVERITY` that fails: error, warning, note or none")
	_ = c.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"error", "warning", "note", "none"}, cobra.ShellCompDirectiveNoFileComp))
}

// readFailOn is the severity of a value of --fail-on.
func readFailOn(c *cobra.Command, word string) (inspect.Severity, error) {
	s := failOnWord(strings.ToLower(word))
	if s == 0 {
		return 0, usageError(again(c, c.Flags().Args(), map[string]string{"fail-on": "error"}), "unknown value %q for --fail-on%s: error, warning, note or none", word, source(c, "fail-on"))
	}
	return s, nil
}

// failOnWord is the severity of a value of --fail-on; 0 for none of them.
func failOnWord(word string) inspect.Severity {
	if word == "none" {
		return inspect.Error + 1
	}
	return inspect.SeverityNamed(word)
}

// check finds mistakes before anything is done: in the flags, and in the files
// that they name.
func (g *gate) check(c *cobra.Command) error {
	if err := fromEnvironment(c, "fail-on", "strict", "baseline", "ignore-file"); err != nil {
		return err
	}
	if _, err := readFailOn(c, g.failOn); err != nil {
		return err
	}
	for name, value := range map[string]string{"baseline": g.baseline, "ignore-file": g.ignoreFile} {
		if c.Flags().Changed(name) && value == "" {
			return usageError(again(c, c.Flags().Args(), map[string]string{name: ""}), "--%s needs a value", name)
		}
	}
	if g.update && g.prune {
		return usageError(again(c, c.Flags().Args(), map[string]string{"prune-baseline": ""}), "--update-baseline takes out what is gone, too: --prune-baseline is for that alone")
	}
	if err := g.readSettings(c); err != nil {
		return err
	}
	return g.readBaseline(c)
}

// readSettings reads the ignore file. What it says of flags holds where neither
// the command line nor the environment do.
func (g *gate) readSettings(c *cobra.Command) error {
	g.settings = &inspect.Settings{}
	named := g.ignoreFile != ""
	if !named {
		g.ignoreFile = settingsFile
	}
	var text []byte
	var err error
	if named {
		text, _, err = readRegular(g.ignoreFile, mostSettings, 0)
	} else {
		text, err = readUnnamed(g.ignoreFile)
	}
	switch {
	case !named && errors.Is(err, fs.ErrNotExist):
		return nil
	case !named && err != nil:
		return usageError(again(c, c.Flags().Args(), map[string]string{"ignore-file": os.DevNull})+"\nreads none", "read the ignore file: %s", err)
	case err != nil:
		return usageError(again(c, c.Flags().Args(), map[string]string{"ignore-file": ""}), "read the ignore file%s: %s", source(c, "ignore-file"), err)
	}
	g.settings, err = parseSettings(text)
	if err != nil {
		return settingsError(g.ignoreFile, text, err)
	}
	unset := func(name string) bool { return !c.Flags().Changed(name) && source(c, name) == "" }
	if g.settings.FailOn != "" && unset("fail-on") {
		g.failOn = g.settings.FailOn
	}
	if unset("strict") {
		g.strict = g.settings.Strict
	}
	if g.settings.Baseline != "" && unset("baseline") {
		g.baseline = g.settings.Baseline
		if !filepath.IsAbs(g.baseline) {
			g.baseline = filepath.Join(filepath.Dir(g.ignoreFile), g.baseline)
		}
		if (g.update || g.prune) && !beside(filepath.Dir(g.ignoreFile), g.baseline) {
			return usageError(again(c, c.Flags().Args(), map[string]string{"baseline": g.baseline}), "%s names a baseline that is no file in its directory, and none is written there unless it is named: %s", g.ignoreFile, g.baseline)
		}
	}
	return nil
}

// settingsError shows where in the file the mistake is.
func settingsError(path string, text []byte, err error) error {
	var e *inspect.SettingsError
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", path, err)
	}
	var hint []string
	if lines := bytes.Split(text, []byte("\n")); e.Line <= len(lines) {
		number := fmt.Sprintf("%d | ", e.Line)
		hint = append(hint, number+strings.ReplaceAll(string(lines[e.Line-1]), "\t", " "), strings.Repeat(" ", len(number)+e.Column-1)+"^")
	}
	if e.Hint != "" {
		hint = append(hint, e.Hint)
	}
	return usageError(strings.Join(hint, "\n"), "%s:%d:%d: %s", path, e.Line, e.Column, e.Message)
}

// readBaseline reads the baseline, if there is to be one.
func (g *gate) readBaseline(c *cobra.Command) error {
	if g.baseline == "" && (g.update || g.prune) {
		g.baseline = baselineFile
		if _, err := os.Lstat(g.baseline); err == nil && !beside(".", g.baseline) {
			return usageError(again(c, c.Flags().Args(), map[string]string{"baseline": g.baseline}), "%s is no regular file, and none is written through it unless it is named", g.baseline)
		}
	}
	if g.baseline == "" {
		return nil
	}
	data, _, err := readRegular(g.baseline, mostBaseline, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist) && g.update:
		g.known = &inspect.Baseline{}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return usageError(again(c, c.Flags().Args(), map[string]string{"baseline": g.baseline, "prune-baseline": "", "update-baseline": "true"})+"\nthat makes it, of what is found now", "there is no baseline %q%s", g.baseline, source(c, "baseline"))
	case err != nil:
		return usageError(c.CommandPath()+" --help", "read the baseline: %s", err)
	}
	g.known, err = report.ReadBaseline(data)
	if err != nil {
		return usageError(c.CommandPath()+" --help", "read the baseline %q: %s", g.baseline, err)
	}
	return nil
}

// apply takes out of the findings of o what does not count: first what the
// ignore file names, then what the baseline knows.
func (g *gate) apply(o *inspect.Outcome) error {
	o.FailOn = g.least()
	for _, r := range o.Ignore(g.settings.Ignore) {
		g.app.warn("%s:%d: %s", g.ignoreFile, r.Line, r.Text)
	}
	if g.known == nil {
		return nil
	}
	if g.update {
		g.known.Update(o)
	}
	stale := g.known.Apply(o)
	switch {
	case g.prune:
		g.known.Prune(stale)
		if o.Asked.Narrow() {
			g.app.warn("%s: what was not asked about stays in it: without -p, targets and limits everything is looked at", g.baseline)
		}
	case !g.update:
		g.tellStale(stale)
		return nil
	}
	var b bytes.Buffer
	if err := report.WriteBaseline(&b, g.known); err != nil {
		return err
	}
	return writeFiles([]content{{path: g.baseline, data: b.Bytes()}})
}

// mostStale is how many entries are told of one by one.
const mostStale = 5

// tellStale says which entries of the baseline are found no more.
func (g *gate) tellStale(stale []inspect.BaselineEntry) {
	for _, e := range stale[:min(len(stale), mostStale)] {
		g.app.warn("%s: not found any more: %s %s", g.baseline, e.Rule, e.Message)
	}
	if more := len(stale) - mostStale; more > 0 {
		g.app.warn("%s: %d more are not found any more", g.baseline, more)
	}
	if len(stale) > 0 {
		g.app.warn("--prune-baseline takes out of %s what is gone", g.baseline)
	}
}

// least is the mildest severity that fails.
func (g *gate) least() inspect.Severity { return failOnWord(strings.ToLower(g.failOn)) }

// exitCode is what o comes to.
func (g *gate) exitCode(o *inspect.Outcome) int {
	switch {
	case o.Fails(o.Worst()):
		return exitNo
	case g.strict && !o.Complete:
		return exitUnknown
	}
	return exitOK
}
