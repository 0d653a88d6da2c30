package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/internal/act"
	"stray/internal/tracee"
	"stray/report"
)

// actFlags are the flags of close and seal.
type actFlags struct {
	out         *output
	method      act.Method
	pids        []int
	holders     string
	connections bool
	plain       bool
	half        bool
	destroy     bool
	yes         bool
	dryRun      bool
	force       string
	timeout     time.Duration
}

func (a *app) close() *cobra.Command {
	f := &actFlags{method: act.Park}
	c := &cobra.Command{
		Use:   "close TARGET… (-p PID… | --holders leaked)",
		Short: "drop a socket inside the process that holds it, without ending the process",
		Long: `close drops every descriptor of the target's listeners and bound sockets inside
the processes that are named, and nowhere else: other holders, other ports and
accepted connections stay (--connections takes those too).

By default the number stays taken by an inert object, so that it cannot be
reused under the program's feet; --plain really closes it. --half ends
connections in order, --destroy has the kernel abort the socket for everybody.

The plan is shown first. On a terminal it asks; elsewhere it needs --yes.

Exit codes: 0 done and verified, or nothing to do with --holders leaked;
1 nothing matched; 2 usage; 3 refused, not permitted or failed; 4 timeout.`,
		Example: `  stray close 18080 -p 4180
  stray close 18080 --holders leaked --yes
  stray close --half 18080 -p 4180 --connections`,
		ValidArgsFunction: completeTargets,
		RunE:              func(c *cobra.Command, args []string) error { return a.runAct(c.Context(), c, f, args) },
	}
	a.actFlags(c, f)
	c.Flags().BoolVar(&f.connections, "connections", false, "also the connections on that port")
	c.Flags().BoolVar(&f.plain, "plain", false, "really close: the number is free at once")
	c.Flags().BoolVar(&f.half, "half", false, "connections only: shut down for writing, wait for the peer's end, then park")
	c.Flags().BoolVar(&f.destroy, "destroy", false, "have the kernel abort the socket for all its holders (SOCK_DESTROY)")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long --half waits for the peer")
	return c
}

func (a *app) seal() *cobra.Command {
	f := &actFlags{method: act.Seal}
	c := &cobra.Command{
		Use:   "seal TARGET… (-p PID… | --holders all)",
		Short: "set FD_CLOEXEC on a live descriptor, so that the next exec does not leak it",
		Long: `seal sets FD_CLOEXEC on every descriptor of the target's listeners and bound
sockets inside the processes that are named. It cannot cure copies that fork
made: close those.

Exit codes: 0 done and verified; 1 nothing matched; 2 usage; 3 refused, not
permitted or failed.`,
		Example:           "  stray seal 18080 -p 4180\n  stray seal 18080 --holders all --yes",
		ValidArgsFunction: completeTargets,
		RunE:              func(c *cobra.Command, args []string) error { return a.runAct(c.Context(), c, f, args) },
	}
	a.actFlags(c, f)
	c.Flags().BoolVar(&f.connections, "connections", false, "also the connections on that port")
	return c
}

func (a *app) actFlags(c *cobra.Command, f *actFlags) {
	f.out = a.outputFlags(c)
	which := "leaked: those that the origin verdict calls leaks"
	if f.method == act.Seal {
		which += "; all: every holder"
	}
	c.Flags().IntSliceVarP(&f.pids, "pid", "p", nil, "in this process (repeatable)")
	c.Flags().StringVar(&f.holders, "holders", "", "in place of -p: "+which)
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and stop")
	c.Flags().StringVar(&f.force, "force", "", "also in pid 1 or a service manager of this name")
	_ = c.RegisterFlagCompletionFunc("holders", cobra.FixedCompletions([]string{"leaked", "all"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *actFlags) check(c *cobra.Command) error {
	if err := f.out.check(c); err != nil {
		return err
	}
	ways := 0
	for flag, method := range map[*bool]act.Method{&f.plain: act.Close, &f.half: act.Half, &f.destroy: act.Destroy} {
		if *flag {
			f.method = method
			ways++
		}
	}
	path := c.CommandPath() + " 18080"
	switch {
	case ways > 1:
		return usageError(path+" --plain -p 4180", "--plain, --half and --destroy exclude each other")
	case f.holders != "" && f.holders != "leaked" && (f.holders != "all" || f.method != act.Seal):
		return usageError(path+" --holders leaked", "unknown value %q for --holders", f.holders)
	case f.holders != "" && len(f.pids) > 0:
		return usageError(path+" --holders leaked", "-p and --holders exclude each other")
	case f.holders == "" && len(f.pids) == 0 && f.method != act.Destroy:
		return usageError(path+" -p PID   (stray who names the holders)", "%s needs -p or --holders: in which process?", c.Name())
	case f.out.format != "table" && f.out.format != "json":
		return usageError(path+" -o json …", "%s writes table or json, not %q", c.Name(), f.out.format)
	case f.timeout < 0:
		return usageError(path+" --half --timeout 10s", "--timeout %s is negative", f.timeout)
	}
	return checkPIDs(c, f.pids)
}

func (a *app) runAct(ctx context.Context, c *cobra.Command, f *actFlags, args []string) error {
	if err := f.check(c); err != nil {
		return err
	}
	targets, err := parseTargets(c, args)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(targets, func(t fdscan.Target) bool { return t.Kind == fdscan.FileTarget }); i >= 0 {
		return usageError("stray who "+targets[i].Text, "target %q is a file: %s acts on sockets", targets[i].Text, c.Name())
	}
	scanner := &fdscan.Scanner{}
	snap, err := scanner.Lookup(ctx, fdscan.Question{Targets: targets})
	if err != nil {
		return lookupError(c, err)
	}
	before := inspect.Who(snap, targets, rules.All(), true)
	plan, named := f.plan(before)
	if len(plan.Steps) == 0 {
		return a.nothingToDo(f, args, before)
	}
	plan.Preflight(named)
	f.refuseManagers(plan)
	said := report.NewActions(c.Name(), args, Version(), before, plan)
	if !f.out.isJSON() && !f.out.quiet {
		if err := said.WritePlan(a.stdout); err != nil {
			return err
		}
	}
	if f.dryRun {
		if f.out.isJSON() {
			return said.WriteJSON(a.stdout)
		}
		return nil
	}
	if err := a.consent(f, plan); err != nil {
		return err
	}
	results := plan.Do(ctx, scanner, named)
	return a.verify(ctx, c, f, scanner, targets, said, results)
}

// plan chooses the descriptors that the flags mean.
func (f *actFlags) plan(answer *inspect.Answer) (*act.Plan, map[int]bool) {
	leaks := map[*fdscan.Holder]bool{}
	var sockets []*fdscan.Socket
	for _, s := range answer.Shown {
		wanted := s.IsPort() || s.Protocol == fdscan.Unix || slices.ContainsFunc(answer.Targets, func(t fdscan.Target) bool { return t.Kind == fdscan.InodeTarget })
		switch {
		case f.method == act.Half:
			wanted = !s.IsPort()
		case f.connections:
			wanted = true
		}
		if !wanted || f.method == act.Destroy && s.Protocol == fdscan.Unix {
			continue
		}
		// A port is one of this namespace; elsewhere it takes an inode to say so.
		if !s.NetNSMine && !slices.ContainsFunc(answer.Targets, func(t fdscan.Target) bool { return t.Kind == fdscan.InodeTarget && t.Inode == s.Inode }) {
			continue
		}
		sockets = append(sockets, s.Socket)
		for _, h := range s.Holders {
			leaks[h.Holder] = h.Origin.Leak
		}
	}
	named := map[int]bool{}
	plan := act.NewPlan(f.method, sockets, func(_ *fdscan.Socket, h *fdscan.Holder) bool {
		switch {
		case h == nil:
			return len(f.pids) == 0 && f.holders == ""
		case f.holders == "leaked" && !leaks[h], len(f.pids) > 0 && !slices.Contains(f.pids, h.Process.PID):
			return false
		}
		named[h.Process.PID] = true
		return true
	})
	plan.Force, plan.HalfTimeout = f.force != "", f.timeout
	return plan, named
}

// nothingToDo is success where the state that was asked for is there already.
func (a *app) nothingToDo(f *actFlags, args []string, answer *inspect.Answer) error {
	if f.holders == "leaked" && answer.Complete {
		return nil
	}
	message := "nothing matched: no such descriptor of " + strings.Join(args, " ")
	if len(f.pids) > 0 {
		message += fmt.Sprintf(" in pid %d", f.pids[0])
	}
	hint := "stray who " + strings.Join(args, " ")
	if unread := inspect.UnreadHolders(answer.Snapshot); unread != "" {
		return &exitError{code: exitUnknown, message: message + "; " + unread, hint: hint}
	}
	return &exitError{code: exitNo, message: message, hint: hint}
}

// refuseManagers refuses pid 1 and service managers, unless named by --force.
func (f *actFlags) refuseManagers(plan *act.Plan) {
	for _, s := range plan.Steps {
		p := s.Process()
		if p == nil || inspect.StopInstead(p) == "" || f.force == p.Comm {
			continue
		}
		s.Refusals = append(s.Refusals, &tracee.Refusal{
			Reason: tracee.Init, PID: p.PID, Detail: fmt.Sprintf("%s is %s (or name it with --force %s)", p.Comm, inspect.StopInstead(p), p.Comm),
		})
	}
}

// consent asks on a terminal; elsewhere --yes has to have been given.
func (a *app) consent(f *actFlags, plan *act.Plan) error {
	if slices.ContainsFunc(plan.Steps, func(s *act.Step) bool { return len(s.Refusals) == 0 }) {
		if f.yes {
			return nil
		}
	} else {
		return &exitError{code: exitUnknown, message: "refused: " + plan.Steps[0].Refusals[0].Error()}
	}
	if _, terminal := isTerminal(a.stdin); !terminal || f.out.isJSON() {
		return &exitError{code: exitUnknown, message: "nothing was done: there is no terminal to ask on", hint: "add --yes to do it, or --dry-run to see the plan only"}
	}
	fmt.Fprint(a.stderr, "proceed? [y/N] ")
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return &exitError{code: exitUnknown, message: "nothing was done: not confirmed"}
}

// verify looks again, and says what has become of it.
func (a *app) verify(ctx context.Context, c *cobra.Command, f *actFlags, scanner *fdscan.Scanner, targets []fdscan.Target, said *report.Actions, results []act.Result) error {
	// What was done is told even when the command is being interrupted.
	snap, err := scanner.Lookup(context.WithoutCancel(ctx), fdscan.Question{Targets: targets})
	if err != nil {
		return lookupError(c, err)
	}
	after := inspect.Who(snap, targets, rules.All(), f.connections || f.method == act.Half)
	said.Finish(after, results)
	switch {
	case f.out.isJSON():
		err = said.WriteJSON(a.stdout)
	case !f.out.quiet:
		err = said.WriteResults(a.stdout)
	}
	if err != nil {
		return err
	}
	for _, r := range results {
		switch {
		case errors.Is(r.Err, act.ErrPeerTimeout):
			return &exitError{code: exitTimeout}
		case r.Err != nil, !act.Verified(r, snap):
			return &exitError{code: exitUnknown}
		}
	}
	return nil
}
