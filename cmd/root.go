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
	hint    string
}

func (e *exitError) Error() string { return e.message }

func usageError(hint, format string, args ...any) error {
	return &exitError{exitUsage, fmt.Sprintf(format, args...), hint}
}

// Main runs the program and returns its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return a.fail(err)
}

// app is what every command takes from its surroundings.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	running        *cobra.Command
	json           func() bool // whether the running command was asked for JSON
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "stray",
		Short: "find, explain and remove leaked file descriptors",
		Long: `stray says who holds a port, socket or file, how each holder came by it, and
whether the port can be bound.`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRun: func(c *cobra.Command, _ []string) { a.running = c },
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.unknownCommand(c, args[0])
			}
			return c.Help()
		},
		Args:              cobra.ArbitraryArgs,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		a.running = c
		return usageError(c.CommandPath()+" --help", "%s", err)
	})
	root.AddCommand(a.who(), a.close(), a.seal(), a.doctor(), a.rules(), a.explain(), a.schema(), a.version())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	strict(root)
	return root
}

// strict makes the parents that cobra adds refuse words that they do not know,
// in place of printing help and succeeding.
func strict(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Args = cobra.NoArgs
			c.RunE = func(c *cobra.Command, _ []string) error {
				return usageError("stray completion bash", "completion needs the name of a shell: bash, zsh, fish or powershell")
			}
		case "help":
			c.RunE = func(c *cobra.Command, args []string) error {
				found, _, err := c.Root().Find(args)
				if found == nil || err != nil || len(args) > 0 && found == c.Root() {
					return usageError("stray --help", "unknown command %q", strings.Join(args, " "))
				}
				return found.Help()
			}
			c.Run = nil
		}
	}
}

// unknownCommand suggests the nearest command; a port is what people write when
// they forget the command.
func (a *app) unknownCommand(c *cobra.Command, word string) error {
	if near := c.SuggestionsFor(word); len(near) > 0 {
		return usageError("stray "+near[0], "unknown command %q", word)
	}
	if isTarget(word) {
		return usageError("stray who "+word, "unknown command %q", word)
	}
	return usageError("stray --help", "unknown command %q", word)
}

// fail says what went wrong and returns the exit code.
func (a *app) fail(err error) int {
	if err == nil {
		return exitOK
	}
	var e *exitError
	if !errors.As(err, &e) {
		e = &exitError{code: exitUsage, message: err.Error(), hint: a.helpHint()}
		if errors.Is(err, unix.EPIPE) {
			return exitOK // the reader has seen enough
		}
	}
	if e.message == "" {
		return e.code
	}
	if a.json != nil && a.json() {
		_ = report.WriteError(a.stdout, Version(), a.running.Name(), e.message, e.hint, e.code)
	}
	fmt.Fprintf(a.stderr, "stray: error: %s\n", e.message)
	if e.hint != "" {
		fmt.Fprintf(a.stderr, "stray: hint: %s\n", e.hint)
	}
	return e.code
}

func (a *app) helpHint() string {
	if a.running != nil {
		return a.running.CommandPath() + " --help"
	}
	return "stray --help"
}

func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.stderr, "stray: warning: "+format+"\n", args...)
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
