package cmd

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"stray/report"
)

// output are the flags that say how a report looks and where it goes.
type output struct {
	format    string
	json      bool
	file      string
	noHeaders bool
	color     string
	quiet     bool
}

func (a *app) outputFlags(c *cobra.Command) *output {
	o := &output{}
	var names []string
	for _, f := range report.Formats() {
		names = append(names, f.Name)
	}
	f := c.Flags()
	f.StringVarP(&o.format, "output", "o", "table", "format: "+strings.Join(names, ", "))
	f.BoolVar(&o.json, "json", false, "the same as -o json")
	f.StringVar(&o.file, "output-file", "", "write the report to this file, whole or not at all")
	f.BoolVar(&o.noHeaders, "no-headers", false, "leave out the names of columns")
	f.StringVar(&o.color, "color", "auto", "auto, always or never")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing: the exit code is the answer")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	return o
}

// check finds mistakes before anything is done.
func (o *output) check(c *cobra.Command) error {
	if o.json {
		if c.Flags().Changed("output") && o.format != "json" {
			return usageError(c.CommandPath()+" -o "+o.format, "--json and -o %s contradict each other", o.format)
		}
		o.format = "json"
	}
	if report.Find(o.format) == nil {
		var names []string
		for _, f := range report.Formats() {
			names = append(names, f.Name)
		}
		return usageError(c.CommandPath()+" -o json", "unknown format %q: there are %s", o.format, strings.Join(names, ", "))
	}
	switch o.color {
	case "auto", "always", "never":
	default:
		return usageError(c.CommandPath()+" --color never", "unknown value %q for --color: auto, always or never", o.color)
	}
	return nil
}

func (o *output) isJSON() bool { return o.json || o.format == "json" }

// write writes r as the flags say.
func (o *output) write(stdout io.Writer, r *report.Result) error {
	if o.quiet {
		return nil
	}
	f := report.Find(o.format)
	if o.file == "" {
		return f.Write(stdout, r, o.style(stdout))
	}
	var b bytes.Buffer
	if err := f.Write(&b, r, o.style(&b)); err != nil {
		return err
	}
	return writeFile(o.file, b.Bytes())
}

// style looks at where the report goes. Colour needs a terminal that wants it
// (NO_COLOR, TERM=dumb).
func (o *output) style(w io.Writer) report.Style {
	s := report.Style{Headers: !o.noHeaders}
	fd, terminal := isTerminal(w)
	if terminal {
		// GetSize may say 0 by 0 without an error: no limit then.
		if width, _, err := term.GetSize(fd); err == nil {
			s.Width = width
		}
	}
	switch o.color {
	case "always":
		s.Color = true
	case "auto":
		s.Color = terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return s
}

// writeFile replaces path with data, atomically: a reader sees the old file or
// the new one.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".stray-*")
	if err != nil {
		return &exitError{code: exitUsage, message: err.Error()}
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return &exitError{code: exitUsage, message: err.Error()}
	}
	return nil
}
