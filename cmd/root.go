// Package cmd is the command line: it wires what the other packages do and
// decides nothing itself. Cobra is used here only.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"stray/report"
)

// version is set by the release build with -ldflags "-X stray/cmd.version=…".
var version string

// Exit codes of the commands that answer a question.
const (
	exitOK      = 0
	exitNo      = 1 // free, findings, nothing matched
	exitUsage   = 2
	exitUnknown = 3 // could not look
	exitTimeout = 4
)

// exitError ends a command with an exit code; without a message it is an
// answer, not a failure.
type exitError struct {
	code    int
	message string
	hint    string // lines
	told    bool   // the report is written already
}

func (e *exitError) Error() string { return e.message }

func usageError(hint, format string, args ...any) error {
	return &exitError{code: exitUsage, message: fmt.Sprintf(format, args...), hint: hint}
}

// Main runs the program and returns its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ends := []os.Signal{unix.SIGTERM}
	if !signal.Ignored(unix.SIGINT) { // as in the background of a shell without job control
		ends = append(ends, unix.SIGINT)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	a := &app{args: args, stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if err != nil && ctx.Err() != nil {
		err = interrupted(ctx, err)
	}
	return a.fail(c, err)
}

// interrupted is the end by a signal, with the exit code that shells give it,
// of a command that came to end with err.
func interrupted(ctx context.Context, err error) error {
	cause := context.Cause(ctx).Error()
	message := cause
	if errors.Is(err, context.Cause(ctx)) {
		message = err.Error() // which says more
	}
	code := 128 + int(unix.SIGINT)
	if strings.HasPrefix(cause, unix.SIGTERM.String()) {
		code = 128 + int(unix.SIGTERM)
	}
	var e *exitError
	return &exitError{code: code, message: message, told: errors.As(err, &e) && e.told}
}

// app is what every command takes from its surroundings.
type app struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "stray",
		Short: "find, explain and remove leaked file descriptors",
		Long: `stray says who holds a port, socket or file, how each holder came by it, and
whether the port can be bound.`,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(c, a.args, args[0])
			}
			return c.Help()
		},
		Args:                       cobra.ArbitraryArgs,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(a.flagError)
	commands := a.commands()
	if i := slices.IndexFunc(commands, func(s subcommand) bool { return len(a.args) > 0 && s.name == a.args[0] }); i >= 0 {
		// The others, with all their flags, take a tenth of a start.
		root.AddCommand(commands[i].make())
		return root
	}
	for _, s := range commands {
		root.AddCommand(s.make())
	}
	completeFlags(root)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	strict(root)
	return root
}

// subcommand is a command that is made when it is needed.
type subcommand struct {
	name string
	make func() *cobra.Command
}

func (a *app) commands() []subcommand {
	return []subcommand{
		{"who", a.who},
		{"scan", a.scan},
		{"conns", a.conns},
		{"check", a.check},
		{"close", a.close},
		{"seal", a.seal},
		{"doctor", a.doctor},
		{"diff", a.diff},
		{"rules", a.rules},
		{"explain", a.explain},
		{"schema", a.schema},
		{"version", a.version},
	}
}

// strict makes the parents that cobra adds speak as the others do, and refuse words
// that they do not know, in place of printing help and succeeding.
func strict(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Short = "the script by which a shell completes commands of stray"
			c.Args = func(_ *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usageError("stray completion bash", "unknown shell %q: there are bash, zsh, fish and powershell", args[0])
				}
				return nil
			}
			c.RunE = func(c *cobra.Command, _ []string) error {
				return usageError("stray completion bash", "completion needs the name of a shell: bash, zsh, fish or powershell")
			}
		case "help":
			c.Short = "the help of a command"
			c.RunE = func(c *cobra.Command, args []string) error {
				found, _, err := c.Root().Find(args)
				if found == nil || err != nil || len(args) > 0 && found == c.Root() {
					return unknownCommand(c.Root(), append([]string{"help"}, args...), args[0])
				}
				return found.Help()
			}
			c.Run = nil
		}
	}
}

// fail says what went wrong with c and returns the exit code.
func (a *app) fail(c *cobra.Command, err error) int {
	var e *exitError
	var errno unix.Errno
	switch {
	case err == nil, errors.Is(err, unix.EPIPE): // the reader has seen enough
		return exitOK
	case errors.As(err, &e):
	case errors.As(err, &errno):
		e = &exitError{code: exitUnknown, message: err.Error()}
	default:
		e = &exitError{code: exitUsage, message: err.Error(), hint: c.CommandPath() + " --help"}
	}
	if e.message == "" {
		return e.code
	}
	if wantsJSON(a.args, os.Getenv(environment["output"])) && !e.told {
		_ = report.WriteError(a.stdout, Version(), c.Name(), e.message, e.hint, e.code)
	}
	fmt.Fprintf(a.stderr, "stray: error: %s\n", report.Printable(e.message))
	for line := range strings.Lines(e.hint) {
		fmt.Fprintf(a.stderr, "stray: hint: %s\n", report.Printable(strings.TrimSuffix(line, "\n")))
	}
	return e.code
}

func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.stderr, "stray: warning: %s\n", report.Printable(fmt.Sprintf(format, args...)))
}

// Version is that of the program: set at release, else what the module and the
// version control system say.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

// isTerminal reports whether a stream is a terminal, and its descriptor.
func isTerminal(w any) (int, bool) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return int(f.Fd()), err == nil
}
