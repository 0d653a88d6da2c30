package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/inspect"
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
	rule        string
	older       time.Duration
	limits      *inspect.Limits
}

func (a *app) close() *cobra.Command {
	f := &actFlags{method: act.Park}
	c := &cobra.Command{
		Use:   "close (TARGET… | --rule RULE) (-p PID… | --holders leaked)",
		Short: "drop a socket inside the process that holds it, without ending the process",
		Long: `close drops every descriptor of the target's listeners and bound sockets inside
the processes that are named, and nowhere else: other holders, other ports and
accepted connections stay (--connections takes those too). An address with a
port that nothing here has is taken as the far end of connections.

--rule takes the connections that a rule speaks of (FD301, FD302, FD303 or FD305;
see stray conns, whose limits such as --silence it takes too), in one plan; notes
are left out, and -p is not needed.

By default the number stays taken by an inert object, so that it cannot be
reused under the program's feet; --plain really closes it. --half ends
connections in order, --destroy has the kernel abort the socket for everybody.

The plan is shown first. On a terminal it asks; elsewhere it needs --yes.

Exit codes: 0 done and verified, or nothing to do with --holders leaked;
1 nothing matched; 2 usage; 3 refused, not permitted or failed; 4 timeout.`,
		Example: `  stray close 18080 -p 4180
  stray close 18080 --holders leaked --yes
  stray close --half 18080 -p 4180 --connections
  stray close 10.77.0.2:51140 -p 812
  stray close --rule FD302 --older 10m`,
		ValidArgsFunction: completeTargets,
		RunE:              func(c *cobra.Command, args []string) error { return a.runAct(c.Context(), c, f, args) },
	}
	a.actFlags(c, f)
	c.Flags().BoolVar(&f.connections, "connections", false, "also the connections on that port")
	c.Flags().BoolVar(&f.plain, "plain", false, "really close: the number is free at once")
	c.Flags().BoolVar(&f.half, "half", false, "connections only: shut down for writing, wait for the peer's end, then park")
	c.Flags().BoolVar(&f.destroy, "destroy", false, "have the kernel abort the socket for all its holders (SOCK_DESTROY)")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long --half waits for the peers, all together")
	c.Flags().StringVar(&f.rule, "rule", "", "the connections that this rule speaks of: "+strings.Join(connectionRules, ", "))
	c.Flags().DurationVar(&f.older, "older", 0, "of those, only what has been so for this time or more, such as 10m")
	f.limits = limitFlags(c, true)
	_ = c.RegisterFlagCompletionFunc("rule", cobra.FixedCompletions(connectionRules, cobra.ShellCompDirectiveNoFileComp))
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
	f.out = a.formatFlags(c)
	which, words := "leaked: those that the origin verdict calls leaks", []string{"leaked"}
	if f.method == act.Seal {
		which, words = which+"; all: every holder", append(words, "all")
	}
	c.Flags().IntSliceVarP(&f.pids, "pid", "p", nil, "in this process (repeatable)")
	c.Flags().StringVar(&f.holders, "holders", "", "in place of -p: "+which)
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and stop")
	c.Flags().StringVar(&f.force, "force", "", "also in pid 1 or a service manager of this name")
	_ = c.RegisterFlagCompletionFunc("holders", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func (f *actFlags) check(c *cobra.Command) error {
	if err := f.out.check(c); err != nil {
		return err
	}
	f.out.orTable(c)
	ways := 0
	for flag, method := range map[*bool]act.Method{&f.plain: act.Close, &f.half: act.Half, &f.destroy: act.Destroy} {
		if *flag {
			f.method = method
			ways++
		}
	}
	// The hints are this command line with the mistake taken out, as a plan.
	args := c.Flags().Args()
	if len(args) == 0 && f.rule == "" {
		args = []string{exampleTarget}
	}
	leaked := "leaked"
	if f.method == act.Seal {
		leaked = "all"
	}
	hint := func(change map[string]string) string {
		change["dry-run"], change["yes"] = "true", ""
		return again(c, args, change)
	}
	if err := f.checkRule(c, hint); err != nil {
		return err
	}
	switch {
	case ways > 1:
		return usageError(hint(map[string]string{"half": "", "destroy": ""}), "--plain, --half and --destroy exclude each other")
	case f.holders != "" && f.holders != "leaked" && (f.holders != "all" || f.method != act.Seal):
		return usageError(hint(map[string]string{"holders": leaked, "pid": ""}), "unknown value %q for --holders", f.holders)
	case f.holders != "" && len(f.pids) > 0:
		return usageError(hint(map[string]string{"pid": ""}), "-p and --holders exclude each other")
	case f.holders == "" && len(f.pids) == 0 && f.method != act.Destroy && f.rule == "":
		return usageError(hint(map[string]string{"holders": leaked}), "%s needs -p or --holders: in which process?", c.Name())
	case f.out.format != "table" && f.out.format != "json":
		return usageError(hint(map[string]string{"output": "json"}), "%s writes table or json, not %q", c.Name(), f.out.format)
	case f.timeout < 0:
		return usageError(hint(map[string]string{"timeout": "10s"}), "--timeout %s is negative", f.timeout)
	}
	var usage *exitError
	if err := checkPIDs(c, f.pids); errors.As(err, &usage) {
		usage.hint = "stray who " + strings.Join(args, " ")
		return usage
	}
	return nil
}

func (a *app) runAct(ctx context.Context, c *cobra.Command, f *actFlags, args []string) error {
	if err := f.check(c); err != nil {
		return err
	}
	parse := parseTargets
	if f.rule != "" {
		parse = parseTargetsOf
	}
	targets, err := parse(c, args)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(targets, func(t fdscan.Target) bool { return t.Kind == fdscan.FileTarget }); i >= 0 {
		return usageError("stray who "+targets[i].Text, "target %q is a file: %s acts on sockets", targets[i].Text, c.Name())
	}
	if len(f.pids) > 0 {
		slices.Sort(f.pids)
		f.pids = slices.Compact(f.pids)
	}
	scanner := &fdscan.Scanner{}
	chosen, err := f.choose(ctx, scanner, targets)
	if err != nil {
		return lookupError(c, err)
	}
	before, sockets := chosen.before, chosen.sockets
	plan, named := f.plan(sockets)
	scanner.Examine(bare(sockets))
	said := report.NewActions(c.Name(), args, Version(), before, plan)
	said.Remark(chosen.remark)
	switch {
	case len(plan.Steps) == 0 && f.rule != "":
		return f.noneOfRule(c, before, chosen.remark)
	case len(plan.Steps) == 0:
		return a.nothingToDo(f, args, &chosen, said)
	}
	for _, pid := range f.pids {
		if !named[pid] {
			a.warn("pid %d has no such descriptor", pid)
		}
	}
	plan.Preflight(named)
	f.refuseManagers(plan)
	possible := slices.ContainsFunc(plan.Steps, func(s *act.Step) bool { return len(s.Refusals) == 0 })
	// A file gets the plan before anything is done: so it is one that can be
	// written. JSON without --dry-run is of what was done.
	if f.dryRun || f.out.file != "" || !f.out.isJSON() {
		write := said.WritePlan
		if f.out.isJSON() {
			write = said.WriteJSON
		}
		if err := f.out.to(a.stdout, write); err != nil {
			return err
		}
	}
	switch {
	case !possible && f.dryRun:
		return &exitError{code: exitUnknown}
	case !possible:
		return refused(c, f, plan.Steps[0].Refusals[0])
	case f.dryRun:
		return nil
	}
	if err := a.consent(ctx, f, said); err != nil {
		return err
	}
	if f.rule != "" {
		if err := a.stillAil(ctx, c, f, scanner, targets, plan); err != nil {
			return err
		}
	}
	results := plan.Do(ctx, scanner, named)
	return a.verify(ctx, c, f, chosen.after, said, results)
}

// refused is the error for a plan of which nothing can be done.
func refused(c *cobra.Command, f *actFlags, r *tracee.Refusal) error {
	e := &exitError{code: exitUnknown, message: "refused: " + r.Error()}
	if r.Needs != "" {
		e.message += " (needs " + r.Needs + ")"
	}
	if len(f.pids) > 0 && (r.Reason == tracee.SharedTable || r.Reason == act.SharedSocket) {
		e.hint = again(c, c.Flags().Args(), map[string]string{"pid": pidList(append(slices.Clone(f.pids), r.Others...))})
	}
	return e
}

func pidList(pids []int) string {
	return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(pids), "[]")), ",")
}

// sockets are those that the flags mean, of those that match the targets.
func (f *actFlags) sockets(answer *inspect.Answer) (sockets []*inspect.Socket) {
	for _, s := range answer.Shown {
		byInode := slices.ContainsFunc(answer.Targets, func(t fdscan.Target) bool { return t.Kind == fdscan.InodeTarget && t.Inode == s.Inode })
		wanted := s.IsPort() || f.connections || byInode
		if f.method == act.Half {
			wanted = !s.IsPort() && s.Protocol != fdscan.UDP && s.Protocol != fdscan.UDPLite
		}
		// A port is one of this namespace; elsewhere it takes an inode to say so.
		if wanted && (s.NetNSMine || byInode) {
			sockets = append(sockets, s)
		}
	}
	return sockets
}

// plan chooses the descriptors that the flags mean.
func (f *actFlags) plan(judged []*inspect.Socket) (*act.Plan, map[int]bool) {
	leaks := map[*fdscan.Holder]bool{}
	var sockets []*fdscan.Socket
	for _, s := range judged {
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
func (a *app) nothingToDo(f *actFlags, args []string, chosen *choice, said *report.Actions) error {
	answer := chosen.before
	hidden := f.outOfSight(answer, chosen.sockets)
	if f.holders == "leaked" && hidden == "" {
		if f.out.isJSON() {
			return f.out.to(a.stdout, said.WriteJSON)
		}
		// In a service file silence is right; a person wants an answer.
		if _, person := isTerminal(a.stdout); person && !f.out.quiet && f.out.file == "" {
			fmt.Fprintf(a.stdout, "nothing to do: no holder of %s is a leaked copy\n", strings.Join(args, " "))
		}
		return nil
	}
	words := make([]string, len(args))
	for i, word := range args {
		words[i] = shellWord(word)
	}
	of := strings.Join(args, " ")
	switch len(f.pids) {
	case 0:
	case 1:
		of += fmt.Sprintf(" in pid %d", f.pids[0])
	default:
		of += " in pids " + pidList(f.pids)
	}
	e := &exitError{code: exitNo, message: "nothing matched: no such descriptor of " + of, hint: "stray who " + strings.Join(words, " ")}
	if hidden != "" {
		e = &exitError{code: exitUnknown, message: "no descriptor of " + of + " could be seen; " + hidden, hint: "stray doctor"}
	}
	if len(chosen.far) > 0 {
		e.message += "; " + chosen.farText()
		e.hint = chosen.farCommand(f.pids, words)
	}
	if hidden != "" || len(chosen.far) > 0 {
		return e
	}
	// What it has in another way than was asked for.
	for _, s := range answer.Shown {
		if !slices.ContainsFunc(s.Holders, func(h *inspect.Holder) bool { return len(f.pids) == 0 || slices.Contains(f.pids, h.Process.PID) }) {
			continue
		}
		switch {
		case !s.NetNSMine:
			e.message += fmt.Sprintf("; that of another network namespace is named by inode:%d", s.Inode)
		case f.method == act.Half && s.IsPort():
			e.message += "; --half ends connections, and there is only a " + s.Noun()
		case f.method == act.Half:
			e.message += "; --half ends connections of TCP and unix sockets"
		case !s.IsPort() && !f.connections:
			e.message += "; its connections are meant by --connections"
		default:
			continue
		}
		break
	}
	return e
}

// outOfSight says what could not be seen and may hide a holder that is meant:
// one of the processes that were named; without any, all who hold a socket.
func (f *actFlags) outOfSight(answer *inspect.Answer, sockets []*inspect.Socket) string {
	if !answer.TablesComplete {
		return "a socket table could not be read whole"
	}
	for _, g := range answer.Gaps {
		if g.Scope == fdscan.ScopeHolders && slices.Contains(f.pids, g.PID) {
			text := fmt.Sprintf("the descriptors of pid %d could not be read", g.PID)
			if g.Needs != "" {
				text += " (needs " + g.Needs + ")"
			}
			return text
		}
	}
	if len(f.pids) == 0 && slices.ContainsFunc(sockets, func(s *inspect.Socket) bool { return s.Inode != 0 && len(s.Holders) == 0 && !s.KernelOwned }) {
		return inspect.UnreadHolders(answer.Snapshot)
	}
	return ""
}
