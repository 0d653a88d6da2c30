package cmd

import (
	"bytes"
	"io"
	"os"
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
	reports   []string // FORMAT=PATH
	noHeaders bool
	color     string
	quiet     bool
}

// outputFlags are those of the commands that write a report.Result.
func (a *app) outputFlags(c *cobra.Command) *output {
	o := a.formatFlags(c)
	c.Flags().Lookup("output").Usage = "`FORMAT`: " + strings.Join(formatNames(), ", ")
	c.Flags().StringArrayVar(&o.reports, "report", nil, "also write `FORMAT=PATH`, none before all are complete (repeatable)")
	return o
}

// formatFlags are those of every command that has a format: table or json, and
// others where it writes a report.Result.
func (a *app) formatFlags(c *cobra.Command) *output {
	o := &output{}
	f := c.Flags()
	f.StringVarP(&o.format, "output", "o", "table", "`FORMAT`: table or json")
	f.BoolVar(&o.json, "json", false, "the same as -o json")
	f.StringVar(&o.file, "output-file", "", "write the report to this `file`, whole or not at all")
	f.BoolVar(&o.noHeaders, "no-headers", false, "leave out the names of columns")
	f.StringVar(&o.color, "color", "auto", "`WHEN`: auto, always or never")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing: the exit code is the answer")
	_ = c.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	return o
}

func formatNames() (names []string) {
	for _, f := range report.Formats() {
		names = append(names, f.Name)
	}
	return names
}

// check finds mistakes before anything is done.
func (o *output) check(c *cobra.Command) error {
	if err := fromEnvironment(c, "output", "color"); err != nil {
		return err
	}
	if o.json {
		if c.Flags().Changed("output") && o.format != "json" {
			return usageError(again(c, c.Flags().Args(), map[string]string{"json": ""}), "--json and -o %s contradict each other", o.format)
		}
		o.format = "json"
	}
	if report.Find(o.format) == nil {
		return usageError(again(c, c.Flags().Args(), map[string]string{"output": "json"}), "unknown format %q%s: there are %s", o.format, source(c, "output"), strings.Join(formatNames(), ", "))
	}
	switch o.color {
	case "auto", "always", "never":
	default:
		return usageError(again(c, c.Flags().Args(), map[string]string{"color": "never"}), "unknown value %q for --color%s: auto, always or never", o.color, source(c, "color"))
	}
	without := again(c, c.Flags().Args(), map[string]string{"output-file": ""})
	switch {
	case o.file == "-":
		return usageError(without, "--output-file writes a file: the standard output is what there is without it")
	case o.file == "" && c.Flags().Changed("output-file"):
		return usageError(without, "--output-file needs a value")
	}
	return o.checkReports(c)
}

// checkReports finds mistakes in --report.
func (o *output) checkReports(c *cobra.Command) error {
	without := again(c, c.Flags().Args(), map[string]string{"report": ""})
	paths := map[string]bool{o.file: o.file != ""}
	for _, word := range o.reports {
		name, path, named := strings.Cut(word, "=")
		switch {
		case !named || path == "":
			return usageError(without+" --report json=report.json", "--report takes FORMAT=PATH, not %q", word)
		case report.Find(name) == nil:
			return usageError(without+" --report "+shellWord("json="+path), "unknown format %q: there are %s", name, strings.Join(formatNames(), ", "))
		case path == "-":
			return usageError(again(c, c.Flags().Args(), map[string]string{"report": "", "output": name}), "--report writes files: the standard output is -o %s", name)
		case paths[path]:
			return usageError(without, "two reports to one file: %q", path)
		}
		paths[path] = true
	}
	return nil
}

// orTable is for commands that write table and json only: what STRAY_FORMAT wants
// of reports is no mistake there.
func (o *output) orTable(c *cobra.Command) {
	if o.format != "json" && !c.Flags().Changed("output") {
		o.format = "table"
	}
}

// checkTwo is check for these commands.
func (o *output) checkTwo(c *cobra.Command) error {
	if err := o.check(c); err != nil {
		return err
	}
	o.orTable(c)
	if o.format != "table" && o.format != "json" {
		return usageError(again(c, c.Flags().Args(), map[string]string{"output": "json"}), "%s writes table or json, not %q", c.Name(), o.format)
	}
	return nil
}

func (o *output) isJSON() bool { return o.json || o.format == "json" }

// asked reports that a report was asked for in so many words.
func (o *output) asked(c *cobra.Command) bool {
	return o.isJSON() || c.Flags().Changed("output") || o.file != ""
}

// write writes r as the flags say: first the files.
func (o *output) write(stdout io.Writer, r *report.Result) error {
	if err := o.writeToFiles(r); err != nil || o.file != "" || o.quiet {
		return err
	}
	return report.Find(o.format).Write(stdout, r, o.style(stdout))
}

// writeToFiles writes r to the files that the flags name.
func (o *output) writeToFiles(r *report.Result) error {
	files, err := o.files(r)
	if err == nil && o.file != "" {
		var b bytes.Buffer
		err = report.Find(o.format).Write(&b, r, o.style(&b))
		files = append(files, content{path: o.file, data: b.Bytes()})
	}
	if err != nil {
		return err
	}
	return writeFiles(files)
}

// writeReports writes those of --report alone.
func (o *output) writeReports(r *report.Result) error {
	files, err := o.files(r)
	if err != nil {
		return err
	}
	return writeFiles(files)
}

// files renders those of --report.
func (o *output) files(r *report.Result) (files []content, err error) {
	for _, word := range o.reports {
		name, path, _ := strings.Cut(word, "=")
		f := report.Find(name)
		var b bytes.Buffer
		if err := f.Write(&b, r, o.style(&b)); err != nil {
			return nil, err
		}
		files = append(files, content{path, b.Bytes(), f.Append})
	}
	return files, nil
}

// to calls f with where a text goes that is no report.Result; -q leaves only a
// file.
func (o *output) to(stdout io.Writer, f func(io.Writer) error) error {
	switch {
	case o.file != "":
		var b bytes.Buffer
		if err := f(&b); err != nil {
			return err
		}
		return writeFiles([]content{{path: o.file, data: b.Bytes()}})
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
