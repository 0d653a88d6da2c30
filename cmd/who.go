package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

// whoFlags are the flags of who.
type whoFlags struct {
	out     *output
	pids    []int
	all     bool
	deep    bool
	pidOnly bool
	wait    string
	timeout time.Duration
	strict  bool
	tryBind bool
}

func (a *app) who() *cobra.Command {
	w := &whoFlags{}
	c := &cobra.Command{
		Use:   "who TARGET…",
		Short: "every holder of a port, socket or file, and whether the port can be bound",
		Long: `who names every holder of a port, socket or file: in every network namespace,
in threads with tables of their own, in io_uring instances and in messages in
flight; says how each came by it; and whether the port can be bound, and who
says no.

A TARGET is one of
  ` + strings.ReplaceAll(fdscan.TargetForms, ", ", "\n  ") + `

Exit codes: 0 held (any of several targets), 1 free, 2 usage, 3 unknown: the
socket tables of this network namespace could not be read whole. With --wait:
0 reached, 3 cannot be known, 4 timeout.`,
		Example: `  stray who 18080
  stray who --wait free --timeout 30s 18080 && server
  stray who -o json udp:53 unix:/run/x.sock`,
		ValidArgsFunction: completeTargets,
		RunE: func(c *cobra.Command, args []string) error {
			return a.runWho(c.Context(), c, w, args)
		},
	}
	w.out = a.outputFlags(c)
	f := c.Flags()
	f.IntSliceVarP(&w.pids, "pid", "p", nil, "only what these processes hold (repeatable)")
	f.BoolVarP(&w.all, "all", "a", false, "also the connections that a listener explains")
	f.BoolVar(&w.deep, "deep", false, "also what needs every descriptor looked at: sockets of namespaces without a process, messages in flight")
	f.BoolVarP(&w.pidOnly, "terse", "t", false, "only the pids that hold listeners and bound sockets of this namespace, one on a line")
	f.StringVar(&w.wait, "wait", "", "wait until it is free, held, or bindable (with SO_REUSEADDR, as servers do: past TIME_WAIT); then no report, unless a format is asked for")
	f.DurationVar(&w.timeout, "timeout", 0, "give up waiting after this time (default: never)")
	f.BoolVar(&w.strict, "strict", false, "exit 3 when any process could not be read")
	f.BoolVar(&w.tryBind, "try-bind", false, "where it is unknown whether the port can be bound, bind it once, and close that at once")
	_ = c.RegisterFlagCompletionFunc("wait", cobra.FixedCompletions([]string{"free", "held", "bindable"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) runWho(ctx context.Context, c *cobra.Command, w *whoFlags, args []string) error {
	targets, err := parseTargets(c, args)
	if err != nil {
		return err
	}
	if err := w.check(c, targets); err != nil {
		return err
	}
	if err := checkPIDs(c, w.pids); err != nil {
		return err
	}
	question := fdscan.Question{Targets: targets, Deep: w.deep}
	ask := func() (*inspect.Answer, error) {
		snap, err := (&fdscan.Scanner{}).Lookup(ctx, question)
		if err != nil {
			return nil, lookupError(c, err)
		}
		answer := inspect.Who(snap, targets, rules.All(), w.all, w.pids...)
		answer.Asked.Deep = w.deep
		if w.tryBind {
			answer.SettleBinds(fdscan.TryBind)
		}
		if len(w.pids) > 0 {
			answer.Only(w.pids)
		}
		return answer, nil
	}
	if w.wait != "" {
		return a.waitFor(ctx, c, w, args, ask)
	}
	answer, err := ask()
	if err != nil {
		return err
	}
	if err := a.tell(w, args, answer); err != nil {
		return err
	}
	return &exitError{code: w.exitCode(answer)}
}

func (w *whoFlags) exitCode(answer *inspect.Answer) int {
	switch {
	case answer.Verdict == inspect.VerdictOpen, w.strict && !(answer.TablesComplete && answer.HoldersComplete):
		return exitUnknown
	case answer.Verdict == inspect.Free:
		return exitNo
	}
	return exitOK
}

func (w *whoFlags) check(c *cobra.Command, targets []fdscan.Target) error {
	if err := w.out.check(c); err != nil {
		return err
	}
	as := func(change map[string]string) string { return again(c, c.Flags().Args(), change) }
	switch {
	case w.wait != "" && w.wait != "free" && w.wait != "held" && w.wait != "bindable":
		return usageError(as(map[string]string{"wait": "free"}), "unknown value %q for --wait: free, held or bindable", w.wait)
	case w.wait == "bindable" && !slices.ContainsFunc(targets, func(t fdscan.Target) bool { return t.Kind == fdscan.PortTarget }):
		return usageError(as(map[string]string{"wait": "free"}), "--wait bindable needs a port")
	case w.timeout < 0:
		return usageError(as(map[string]string{"wait": "free", "timeout": (-w.timeout).String()}), "--timeout %s is negative", w.timeout)
	case w.timeout > 0 && w.wait == "":
		return usageError(as(map[string]string{"wait": "free"}), "--timeout needs --wait")
	case w.pidOnly && c.Flags().Changed("output"), w.pidOnly && w.out.json:
		return usageError(as(map[string]string{"output": "", "json": ""}), "-t and a format contradict each other")
	}
	return nil
}

// tell writes the answer as the flags want it.
func (a *app) tell(w *whoFlags, args []string, answer *inspect.Answer) error {
	r := report.NewAnswer(Version(), args, answer)
	if !w.pidOnly {
		return w.out.write(a.stdout, r)
	}
	if err := w.out.writeReports(r); err != nil {
		return err
	}
	return a.tellPIDs(w, answer)
}

// tellPIDs writes what "kill $(stray who -t 8080)" can take: the holders of
// ports of this namespace, without those whose end would be a disaster.
func (a *app) tellPIDs(w *whoFlags, answer *inspect.Answer) error {
	var pids []int
	left := map[int]bool{}
	add := func(p *fdscan.Process) {
		switch instead := inspect.StopInstead(p); {
		case instead == "":
			pids = append(pids, p.PID)
		case !left[p.PID]:
			left[p.PID] = true
			a.warn("pid %d (%s) holds it too and is left out: %s", p.PID, p.Comm, instead)
		}
	}
	for _, s := range answer.Shown {
		if !s.IsPort() || !s.NetNSMine {
			continue
		}
		for _, h := range s.Holders {
			add(h.Process)
		}
	}
	for _, o := range answer.Objects {
		for _, h := range o.Holders {
			add(h.Process)
		}
	}
	if unread := inspect.UnreadHolders(answer.Snapshot); unread != "" && answer.Verdict != inspect.Free {
		a.warn("%s: there may be more holders", unread)
	}
	slices.Sort(pids)
	pids = slices.Compact(pids)
	return w.out.to(a.stdout, func(file io.Writer) error {
		out := bufio.NewWriter(file)
		for _, pid := range pids {
			fmt.Fprintln(out, pid)
		}
		return out.Flush()
	})
}

const (
	// waitFirst and waitMost are the pauses between two looks of --wait,
	// which grow from one to the other.
	waitFirst = 10 * time.Millisecond
	waitMost  = 250 * time.Millisecond
)

// waitFor looks again and again until the verdict is the one waited for. Then
// it says nothing, unless it was asked for a report.
func (a *app) waitFor(ctx context.Context, c *cobra.Command, w *whoFlags, args []string, ask func() (*inspect.Answer, error)) error {
	var deadline <-chan time.Time
	if w.timeout > 0 {
		timer := time.NewTimer(w.timeout)
		defer timer.Stop()
		deadline = timer.C
	}
	for pause := waitFirst; ; pause = min(2*pause, waitMost) {
		answer, err := ask()
		if err != nil {
			return err
		}
		switch answer.Verdict {
		case inspect.Verdict(w.wait):
			return a.reached(c, w, args, answer)
		case inspect.VerdictOpen:
			if err := a.tell(w, args, answer); err != nil {
				return err
			}
			return &exitError{code: exitUnknown, message: "cannot be known: the socket tables could not be read whole", hint: "stray doctor", told: true}
		case inspect.Held, inspect.Free:
			if w.wait == "bindable" && answer.Bindable() {
				return a.reached(c, w, args, answer)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			if err := a.tell(w, args, answer); err != nil {
				return err
			}
			return &exitError{code: exitTimeout, message: fmt.Sprintf("not %s after %s", w.wait, w.timeout), told: true}
		case <-time.After(pause):
		}
	}
}

// reached ends a wait: without a word, unless a report was asked for.
func (a *app) reached(c *cobra.Command, w *whoFlags, args []string, answer *inspect.Answer) error {
	if w.pidOnly || w.out.asked(c) {
		return a.tell(w, args, answer)
	}
	return w.out.writeReports(report.NewAnswer(Version(), args, answer))
}

// parseTargets reads all words before anything is looked up.
func parseTargets(c *cobra.Command, args []string) ([]fdscan.Target, error) {
	if len(args) == 0 {
		return nil, usageError(again(c, []string{exampleTarget}, nil), "%s needs a target: a port, socket or file", c.Name())
	}
	targets := make([]fdscan.Target, len(args))
	for i, word := range args {
		t, err := fdscan.ParseTarget(word)
		if err != nil {
			return nil, targetError(c, err)
		}
		targets[i] = t
	}
	return targets, nil
}

// targetError shows the command with what was meant, or with something that
// could have been, and the accepted forms.
func targetError(c *cobra.Command, err error) error {
	var t *fdscan.TargetError
	if !errors.As(err, &t) {
		return err
	}
	instead, forms := t.Instead, ""
	if _, err := os.Stat(t.Text); err == nil && instead == "" {
		instead, forms = "./"+t.Text, "\na file is written with a slash"
	}
	if instead == "" {
		instead, forms = exampleTarget, "\na target is one of "+fdscan.TargetForms
	}
	return usageError(instruct(c, t.Text, instead)+forms, "%s", t.Error())
}

// instruct writes the command line with another target in the place of one.
func instruct(c *cobra.Command, target, instead string) string {
	args := slices.Clone(c.Flags().Args())
	if i := slices.Index(args, target); i >= 0 {
		args[i] = instead
	}
	return again(c, args, nil)
}

func lookupError(c *cobra.Command, err error) error {
	var t *fdscan.TargetError
	switch {
	case errors.As(err, &t):
		return usageError(instruct(c, t.Text, "unix:"+t.Text)+"\nthat finds a unix socket whose file is gone; of any other file check the path\na deleted file that is still open has the path /proc/PID/fd/N: stray scan finds it (FD205)", "%s", t.Error())
	case errors.Is(err, context.Canceled):
		return err
	}
	return &exitError{code: exitUnknown, message: err.Error(), hint: "stray doctor"}
}

// checkPIDs refuses pids that do not exist.
func checkPIDs(c *cobra.Command, pids []int) error {
	problem := func(pid int) string {
		switch {
		case pid <= 0:
			return "a pid is a number above 0"
		case unix.Kill(pid, 0) == unix.ESRCH:
			return "no such process"
		}
		return ""
	}
	bad := slices.IndexFunc(pids, func(pid int) bool { return problem(pid) != "" })
	if bad < 0 {
		return nil
	}
	var others []string
	for _, pid := range pids {
		if problem(pid) == "" {
			others = append(others, strconv.Itoa(pid))
		}
	}
	hint := again(c, c.Flags().Args(), map[string]string{"pid": strings.Join(others, ",")})
	return usageError(hint, "pid %d: %s", pids[bad], problem(pids[bad]))
}
