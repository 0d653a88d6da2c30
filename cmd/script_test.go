package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/sys/unix"

	"stray/cmd"
	"stray/internal/proctest"
	"stray/internal/testenv"
	"stray/internal/tracee"
	"stray/internal/wiretest"
	"stray/report"
)

func TestMain(m *testing.M) {
	tracee.HelperMain() // the helper is a run of this binary under a name of its own
	proctest.Main()
	wiretest.Main()
	testscript.Main(testenv.Checked(m), map[string]func(){
		"stray":        runStray,
		"stray-nobody": func() { becomeNobody(); runStray() },
		"holder":       proctest.Main,
	})
}

// runStray is the program.
func runStray() {
	os.Exit(cmd.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// becomeNobody gives up every privilege of root.
func becomeNobody() {
	const nobody = 65534
	err := syscall.Setgroups(nil)
	if err == nil {
		err = syscall.Setgid(nobody)
	}
	if err == nil {
		err = syscall.Setuid(nobody)
	}
	if err == nil {
		// As after an exec by that user: its own files in /proc are its own.
		err = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "become nobody:", err)
		os.Exit(125)
	}
}

// updateScripts writes what the scripts compare with anew:
//
//	STRAY_UPDATE_SCRIPTS=1 go test ./cmd
var updateScripts = os.Getenv("STRAY_UPDATE_SCRIPTS") != ""

// TestScripts runs the whole program, as a process of its own, in the scripts
// of testdata/script. Each begins with a comment that says what it guards.
// stray-nobody is the same program, run by a user without any privilege.
// Besides the commands of testscript and of proctest.ScriptCommands they have
//
//	need NEED…                skips the script unless the machine has that:
//	                          root, netns, ipv6, mptcp, iouring or untraced
//	exits CODE COMMAND ARG…   runs a command, which has to end with this code, or
//	                          with one of several, between commas
//	refuses ARG…              runs stray with arguments that are wrong
//	valid FILE                checks JSON, or the lines of ndjson, against the schema
func TestScripts(t *testing.T) {
	commands := proctest.ScriptCommands[*testscript.TestScript]()
	commands["need"] = need
	commands["exits"] = exits
	commands["refuses"] = refuses
	commands["valid"] = valid
	testscript.Run(t, testscript.Params{
		Dir: "../testdata/script", Cmds: commands, UpdateScripts: updateScripts, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Values["test"] = env.T()
			return nil
		},
	})
}

// needs are what scripts may need.
var needs = map[string]func(testing.TB){
	"root": testenv.NeedRoot, "netns": testenv.NeedNetNS, "ipv6": testenv.NeedIPv6, "mptcp": testenv.NeedMPTCP, "iouring": testenv.NeedIOURing,
	"untraced": testenv.NeedUntraced,
}

// need skips the script or, where the machine is required to have everything,
// fails it.
func need(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		ask := needs[name]
		if neg || ask == nil {
			ts.Fatalf("usage: need root|netns|ipv6|mptcp|iouring|untraced…")
		}
		a := &asked{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			ask(a)
		}()
		<-done
		if a.failed != "" {
			ts.Fatalf("%s", a.failed)
		}
		if a.skipped != "" {
			ts.Value("test").(testscript.T).Skip(a.skipped)
		}
	}
}

// asked is a testing.TB that notes what a need has against the test.
type asked struct {
	testing.TB
	skipped, failed string
}

func (a *asked) Helper() {}

func (a *asked) Skipf(format string, args ...any) {
	a.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (a *asked) Fatalf(format string, args ...any) {
	a.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// exits runs a command and checks its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE[,CODE…] COMMAND ARG…")
	}
	code := strconv.Itoa(exitCode(ts, ts.Exec(args[1], args[2:]...)))
	if !slices.Contains(strings.Split(args[0], ","), code) {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

func exitCode(ts *testscript.TestScript, err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	ts.Fatalf("%v", err)
	return -1
}

// refuses runs stray with wrong arguments. It ends with code 2; says what is
// wrong in one line, and in the next how it would be right; writes nothing to
// the standard output unless that is asked to be JSON; and the command that it
// shows is not refused.
func refuses(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: refuses ARG…")
	}
	if code := exitCode(ts, ts.Exec("stray", args...)); code != 2 {
		ts.Fatalf("exit code %d, want 2", code)
	}
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	message, isError := strings.CutPrefix(lines[0], "stray: error: ")
	if !isError || message == "" || len(lines) < 2 {
		ts.Fatalf("the first line is no error, or has no hint behind it")
	}
	for _, line := range lines[1:] {
		if !strings.HasPrefix(line, "stray: hint: ") {
			ts.Fatalf("neither error nor hint: %q", line)
		}
	}
	hint := strings.TrimPrefix(lines[1], "stray: hint: ")
	if !strings.HasPrefix(hint, "stray ") {
		ts.Fatalf("the hint is no command: %q", hint)
	}
	if stdout != "" {
		if err := validJSON(stdout); err != nil {
			ts.Fatalf("the standard output: %v", err)
		}
		var document report.ErrorDocument
		if err := json.Unmarshal([]byte(stdout), &document); err != nil || document.Error.Message != message || document.Error.ExitCode != 2 {
			ts.Fatalf("the standard output is no error document (%v): %s", err, stdout)
		}
	}
	if code := exitCode(ts, ts.Exec("sh", "-c", hint)); code == 2 || code > 3 {
		ts.Fatalf("the hint %q ends with code %d", hint, code)
	}
	// What the script looks at next is the refusal.
	if code := exitCode(ts, ts.Exec("stray", args...)); code != 2 {
		ts.Fatalf("exit code %d, want 2", code)
	}
}

// valid checks a file of JSON against the schema of reports.
func valid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: valid FILE")
	}
	text := ts.ReadFile(args[0])
	documents := []string{text}
	if !strings.HasPrefix(text, "{\n") {
		documents = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	}
	for _, d := range documents {
		if err := validJSON(d); err != nil {
			ts.Fatalf("%s: %v", args[0], err)
		}
	}
}

// validJSON checks one document against the schema.
func validJSON(text string) error {
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(report.Schema))
	if err != nil {
		return err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("stray.json", schema); err != nil {
		return err
	}
	compiled, err := c.Compile("stray.json")
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}
