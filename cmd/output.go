package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
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
			return usageError(again(c, c.Flags().Args(), map[string]string{"json": ""}), "--json and -o %s contradict each other", o.format)
		}
		o.format = "json"
	}
	if report.Find(o.format) == nil {
		var names []string
		for _, f := range report.Formats() {
			names = append(names, f.Name)
		}
		return usageError(again(c, c.Flags().Args(), map[string]string{"output": "json"}), "unknown format %q: there are %s", o.format, strings.Join(names, ", "))
	}
	switch o.color {
	case "auto", "always", "never":
	default:
		return usageError(again(c, c.Flags().Args(), map[string]string{"color": "never"}), "unknown value %q for --color: auto, always or never", o.color)
	}
	return nil
}

func (o *output) isJSON() bool { return o.json || o.format == "json" }

// asked reports that a report was asked for in so many words.
func (o *output) asked(c *cobra.Command) bool {
	return o.isJSON() || c.Flags().Changed("output") || o.file != ""
}

// write writes r as the flags say.
func (o *output) write(stdout io.Writer, r *report.Result) error {
	f := report.Find(o.format)
	return o.to(stdout, func(w io.Writer) error { return f.Write(w, r, o.style(w)) })
}

// to calls f with where the report goes; -q leaves only a file.
func (o *output) to(stdout io.Writer, f func(io.Writer) error) error {
	switch {
	case o.file != "":
		var b bytes.Buffer
		if err := f(&b); err != nil {
			return err
		}
		return writeFile(o.file, b.Bytes())
	case o.quiet:
		return nil
	}
	return f(stdout)
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
	err := replaceFile(path, data)
	if err == nil {
		return nil
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		err = errno // the name of the temporary file says nothing
	}
	return &exitError{code: exitUsage, message: fmt.Sprintf("write report to %q: %s", path, err), hint: "name a file in a directory that exists and can be written"}
}

func replaceFile(path string, data []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		// A pipe or a device is written to, and not replaced.
		return os.WriteFile(path, data, 0)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".stray-*")
	if err != nil {
		return err
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
	return err
}
