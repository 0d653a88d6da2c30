package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/internal/follow"
	"stray/internal/tracee"
	"stray/report"
)

// Exit codes of check, by which env(1), timeout(1) and their like tell that a
// command was not run.
const (
	exitNotStarted    = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

// checkFlags are the flags of check.
type checkFlags struct {
	watch      *watchFlags // of check -p
	out        *output
	gate       *gate
	grace      time.Duration
	kill       bool
	openAtExit bool
	noTrace    bool
	stacks     bool
	exitCode   int
	verbose    bool
}

func (a *app) check() *cobra.Command {
	k := &checkFlags{}
	c := &cobra.Command{
		Use:   "check {-p PID | -- COMMAND [ARG…]}",
		Short: "run a command, or look at a process, and fail when descriptors leak",
		Long: `check runs a command and follows every process that comes of it: which
descriptors cross an exec that they were not meant for, what is open when a
process ends, and who outlives the command, holding its output, a port or a lock.
The command has its streams, its terminal and its signals for itself; the report
goes to the standard error, and there is none when there is nothing to tell.

--stacks says of what has leaked where it was opened: the calls of the program, with
lines of source. Every call that makes a descriptor stops for that, which takes time,
and no process can be released again: those that are left behind are ended after the
report, and all of them with stray itself.

With -p it runs nothing and looks at running processes and their descendants
again and again: which descriptors rise and never fall, how fast, and when
RLIMIT_NOFILE is reached (FD203); and at the end for what scan finds in them. A
look costs next to nothing: one stat(2) for each process, and its table is read
only when the number of its descriptors has changed. Processes that start later,
and tables that threads have for themselves, are not looked at.

Exit code: that of the command, 128 and the signal when one ended it, 126 and 127
when it could not be run, 125 when stray could not begin, 2 for wrong flags. When the
command has succeeded and a finding fails (--fail-on), 1, or --exit-code; else 3 when a
report could not be written. With -p: 0 no finding
that fails, 1 findings, 2 usage, 3 could not look (with --strict: not everything).`,
		Example: `  stray check -- make test
  stray check --stacks -- ./server --selftest
  stray check --open-at-exit --output-file leaks.json -o json -- ./server --selftest
  stray check --exit-code 99 --kill-left-behind -- npm test
  stray check -p $(pidof server) --for 1m
  stray check -p 4180 --since before.json`,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case k.stacks && (k.noTrace || len(k.watch.pids) > 0):
				return usageError(again(c, args, map[string]string{"stacks": ""}), "--stacks follows a command by ptrace, from its start")
			case len(k.watch.pids) > 0 && len(args) == 0:
				return a.runCheckProcess(c.Context(), c, k.out, k.gate, k.watch)
			case len(k.watch.pids) > 0:
				return usageError(commandAgain(c, args, unwatched), "-p looks at a process that runs already, and %q would be another one", args[0])
			case k.watch.asked(c):
				return usageError(commandAgain(c, args, unwatched), "--for, --warm-up and --since need -p: a command is followed to its end")
			case len(args) == 0 || c.ArgsLenAtDash() != 0:
				return usageError(commandAgain(c, args, nil), "check needs a command, behind --, or -p and a process id")
			}
			return a.runCheck(c.Context(), c, k, args)
		},
	}
	k.out, k.gate, k.watch = a.outputFlags(c), a.gateFlags(c), watchFlagsOf(c)
	f := c.Flags()
	f.DurationVar(&k.grace, "grace", time.Second, "how long processes may outlive the command")
	f.BoolVar(&k.kill, "kill-left-behind", false, "end the processes that are left behind, after the report")
	f.BoolVar(&k.openAtExit, "open-at-exit", false, "fail on what is open when a process ends (FD201)")
	f.BoolVar(&k.noTrace, "no-trace", false, "look at the tree in intervals, without ptrace: for commands that trace others themselves")
	f.BoolVar(&k.stacks, "stacks", false, "say where the descriptors were opened: slower, and what is left behind is ended after the report")
	f.IntVar(&k.exitCode, "exit-code", exitNo, "exit code when the command succeeds and a finding fails")
	f.BoolVarP(&k.verbose, "verbose", "v", false, "say so when nothing was found; tell of notes")
	return c
}

// commandAgain writes a command line of check anew, for hints, with the command
// behind -- where it belongs.
func commandAgain(c *cobra.Command, command []string, change map[string]string) string {
	line := again(c, nil, change) + " --"
	if len(command) == 0 {
		command = []string{"true"}
	}
	for _, word := range command {
		line += " " + shellWord(word)
	}
	return line
}

func (a *app) runCheck(ctx context.Context, c *cobra.Command, k *checkFlags, argv []string) error {
	if err := k.out.check(c); err != nil {
		return err
	}
	if err := k.gate.check(c); err != nil {
		return err
	}
	switch {
	case k.grace < 0:
		return usageError(commandAgain(c, argv, map[string]string{"grace": (-k.grace).String()}), "--grace %s is negative", k.grace)
	case k.exitCode < 0 || k.exitCode > 255:
		return usageError(commandAgain(c, argv, map[string]string{"exit-code": "99"}), "--exit-code %d: an exit code is a number from 0 to 255", k.exitCode)
	}
	if err := k.writable(); err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return notRun(argv[0], err)
	}
	run, err := follow.Start(ctx, follow.Options{
		Command: tracee.Command{Path: path, Argv: argv, Env: os.Environ()}, Grace: k.grace, Sample: k.noTrace, Stacks: k.stacks,
	})
	if err != nil {
		return notRun(argv[0], err)
	}
	defer run.Close()
	// Whoever read the standard error may have gone: the rest is to be done all the
	// same, and the exit code to be the one that is promised.
	signal.Ignore(unix.SIGPIPE)
	outcome := inspect.Check(run.Snapshot, k.runOf(run, argv), rules.All())
	trouble := k.gate.apply(outcome)
	outcome.Run.Reported = k.reported(outcome)
	k.remark(a, run)
	trouble = errors.Join(trouble, k.tell(a, outcome, argv))
	if outcome.Run.EndsLeftBehind {
		if left := run.Kill(max(k.grace, time.Second)); left > 0 {
			a.warn("%d of the processes that were left behind did not end", left)
		}
	}
	end := &exitError{code: outcome.Run.Reported, told: true}
	if trouble != nil {
		end.message, end.code = trouble.Error(), cmp.Or(end.code, exitUnknown)
	}
	return end
}

// writable finds files that could not be written once the command has run, which
// may take an hour. A directory that does not exist yet may be one that the command
// makes.
func (k *checkFlags) writable() error {
	paths := []string{k.out.file}
	for _, word := range k.out.reports {
		_, path, _ := strings.Cut(word, "=")
		paths = append(paths, path)
	}
	if k.gate.update || k.gate.prune {
		paths = append(paths, k.gate.baseline)
	}
	for _, path := range paths {
		if path == "" {
			continue
		}
		s, err := stage(content{path: path})
		switch {
		case err == nil:
			s.discard()
		case !errors.Is(err, fs.ErrNotExist):
			return fileError(path, err)
		}
	}
	return nil
}

// reported is the exit code that a run comes to: the command's own, unless it has
// succeeded.
func (k *checkFlags) reported(o *inspect.Outcome) int {
	switch verdict := k.gate.exitCode(o); {
	case o.Run.ExitCode != 0:
		return o.Run.ExitCode
	case verdict == exitNo:
		return k.exitCode
	default:
		return verdict
	}
}

// runOf is what inspect is told of a run.
func (k *checkFlags) runOf(r *follow.Run, argv []string) *inspect.Run {
	run := &inspect.Run{
		Argv: argv, ExitCode: codeOf(r.Status), Duration: r.Duration, Sampled: r.Sampled, Processes: r.Processes, OpenAtExit: k.openAtExit,
		Crossings: r.Crossings, Unclosed: r.Unclosed, Survivors: r.Survivors, Unread: r.Unread,
		Stacks: r.Stacks, EndsLeftBehind: k.kill || r.Stacks,
	}
	if r.NoStacks != nil {
		run.NoStacks = r.NoStacks.Error()
	}
	run.Directory, _ = os.Getwd()
	run.SourceRoot = repositoryOf(run.Directory)
	if r.Status.Signaled() {
		run.Signal = int(r.Status.Signal())
	}
	for _, s := range r.Survivors {
		run.LeftBehind = append(run.LeftBehind, s.Process)
	}
	return run
}

// repositoryOf is the nearest directory, from dir upwards, that a git repository is
// checked out to; dir itself when there is none.
func repositoryOf(dir string) string {
	for d := dir; d != ""; d = filepath.Dir(d) {
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil {
			return d
		}
		if d == filepath.Dir(d) {
			break
		}
	}
	return dir
}

// remark says on what terms the command was followed, where they are not the
// usual ones.
func (k *checkFlags) remark(a *app, r *follow.Run) {
	if r.Refused != nil {
		a.warn("the command was looked at in intervals only, so that what is short was missed: %v (%s)", r.Refused, whyRefused())
	}
	if r.NoStacks != nil {
		a.warn("it is not known where descriptors were opened: %v", r.NoStacks)
	}
	if p := r.Foreign; p != nil {
		a.warn("pid %d (%s) is a 32-bit program: where it opened descriptors was not seen", p.PID, p.Comm)
	}
	if n := len(r.Survivors); n > 0 && r.Stacks && !k.kill {
		a.warn("%d %s left behind and will be ended after the report: what is followed with --stacks cannot be released", n, map[bool]string{true: "process is", false: "processes are"}[n == 1])
	}
	if p := r.FailedTracer; p != nil {
		a.warn("pid %d (%s) failed, perhaps because it traces others, as strace does, or itself, as AddressSanitizer and LeakSanitizer do, and what check follows has a tracer: --no-trace leaves that free", p.PID, p.Comm)
	}
	if p := r.Unfollowed; p != nil {
		a.warn("pid %d (%s) is left behind and was not followed, nor what it has started: somebody made it with CLONE_UNTRACED", p.PID, p.Comm)
	}
	if p := r.Unprivileged; p != nil {
		why := "since a user without CAP_SYS_PTRACE followed it: --no-trace leaves it alone"
		switch {
		case r.Stacks && r.NoNewPrivileges:
			why = "since no_new_privs is set, as --stacks has to without CAP_SYS_ADMIN"
		case r.NoNewPrivileges:
			why = "since no_new_privs is set here, with stray or without"
		}
		a.warn("pid %d (%s) is installed with privileges (setuid, setgid, capabilities) and got none, %s", p.PID, p.Comm, why)
	}
}

// whyRefused says what in this place refuses ptrace, as far as that can be known.
func whyRefused() string {
	return cmp.Or((&fdscan.Scanner{}).WhyNoTracing(), "a container's seccomp profile, perhaps")
}

// tell writes the report to the standard error, and where the flags say. What a
// person reads has no notes but on request, and is not there at all when there is
// nothing to read; files that were asked for have everything, and always are. What
// cannot be written to its file comes to the standard error.
func (k *checkFlags) tell(a *app, o *inspect.Outcome, argv []string) error {
	result := &report.Result{Version: Version(), Command: "check", Query: argv, Outcome: o}
	err := k.out.writeToFiles(result)
	page := k.out.format == "table" || k.out.format == "wide"
	switch {
	case k.out.quiet, k.out.file != "" && err == nil:
		return err
	case page && !k.verbose:
		grave := *o
		grave.Findings = slices.DeleteFunc(slices.Clone(o.Findings), func(f inspect.Finding) bool {
			return f.Severity < inspect.Warning && !o.Fails(f.Severity)
		})
		if len(grave.Findings)+len(o.Suppressed) == 0 && o.HoldersComplete {
			return err
		}
		result.Outcome = &grave
	}
	if e := report.Find(k.out.format).Write(a.stderr, result, k.out.style(a.stderr)); !errors.Is(e, unix.EPIPE) {
		err = errors.Join(err, e) // else the reader has seen enough
	}
	return err
}

// codeOf is the exit code that shells give to a way of ending.
func codeOf(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// notRun is why a command was not run, with the exit code by which callers know:
// what is wrong with the program has codes of its own.
func notRun(name string, err error) error {
	var found *exec.Error
	var executed *tracee.ExecError
	why := &exitError{code: exitNotStarted, message: fmt.Sprintf("run %q: %v", name, err)}
	switch {
	case !errors.As(err, &found) && !errors.As(err, &executed):
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		why.code, why.message = exitNotFound, fmt.Sprintf("run %q: there is no such program", name)
	default:
		why.code = exitNotExecutable
	}
	return why
}
