package cmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

// connsFlags are the flags of conns.
type connsFlags struct {
	out    *output
	gate   *gate
	limits *inspect.Limits
	pids   []int
	all    bool
	deep   bool
	over   time.Duration
}

func (a *app) conns() *cobra.Command {
	f := &connsFlags{}
	c := &cobra.Command{
		Use:   "conns [TARGET…]",
		Short: "how connections fare: silent peers, stalled sends, CLOSE_WAIT piles, full backlogs",
		Long: `conns looks at every connection and listener of every network namespace that it
can see, and tells of those with which something is wrong: by process, the worst
first, with what the kernel knows of each, and who is at the other end when that
is on this machine. When all is well it says so in a sentence.

One look says what one look can. With --for it looks twice, that long apart, and
says what grows and what stands still.

A TARGET limits it to connections of which either end is meant, such as 18080 or
10.77.0.2:51140.

Exit codes: 0 clean; 1 findings at or above --fail-on (default error); 2 usage;
3 could not look (with --strict: not everything).`,
		Example: `  stray conns
  stray conns --for 3s -p 812
  stray conns -a -o wide 18080`,
		ValidArgsFunction: completeTargets,
		RunE:              func(c *cobra.Command, args []string) error { return a.runConns(c.Context(), c, f, args) },
	}
	f.out, f.gate = a.outputFlags(c), a.gateFlags(c)
	f.limits = limitFlags(c, false)
	c.Flags().IntSliceVarP(&f.pids, "pid", "p", nil, "only what these processes hold (repeatable)")
	c.Flags().BoolVarP(&f.all, "all", "a", false, "also those that are well")
	c.Flags().BoolVar(&f.deep, "deep", false, "also what needs every descriptor looked at: network namespaces without a process")
	c.Flags().DurationVar(&f.over, "for", 0, "look twice, that long apart, such as 3s")
	return c
}

// limitFlags adds a flag for each limit, which the help may hide.
func limitFlags(c *cobra.Command, hide bool) *inspect.Limits {
	limits := inspect.DefaultLimits()
	for _, l := range inspect.LimitTable() {
		if l.Age == nil {
			c.Flags().IntVar(&limits.Pile, l.Name, limits.Pile, "that many "+l.Means)
		} else {
			age := l.Age(&limits)
			c.Flags().DurationVar(age, l.Name, *age, "from this age on "+l.Means)
		}
		if hide {
			_ = c.Flags().MarkHidden(l.Name)
		}
	}
	return &limits
}

func (f *connsFlags) check(c *cobra.Command) error {
	if err := f.out.check(c); err != nil {
		return err
	}
	if err := f.gate.check(c); err != nil {
		return err
	}
	if err := checkLimits(c, f.limits); err != nil {
		return err
	}
	if f.over < 0 {
		return usageError(again(c, c.Flags().Args(), map[string]string{"for": (-f.over).String()}), "--for %s is negative", f.over)
	}
	return checkPIDs(c, f.pids)
}

func checkLimits(c *cobra.Command, limits *inspect.Limits) error {
	for _, l := range inspect.LimitTable() {
		if l.Age == nil && limits.Pile < 1 || l.Age != nil && *l.Age(limits) < 0 {
			return usageError(again(c, c.Flags().Args(), map[string]string{l.Name: ""}), "--%s %s is too small", l.Name, c.Flags().Lookup(l.Name).Value)
		}
	}
	return nil
}

func (a *app) runConns(ctx context.Context, c *cobra.Command, f *connsFlags, args []string) error {
	if err := f.check(c); err != nil {
		return err
	}
	targets, err := parseTargetsOf(c, args)
	if err != nil {
		return err
	}
	question := fdscan.ConnectionsQuestion{Targets: targets, PIDs: f.pids, All: f.all, Deep: f.deep}
	snap, err := lookAtConnections(ctx, &fdscan.Scanner{}, question, *f.limits, f.over)
	if err != nil {
		return lookupError(c, err)
	}
	found := inspect.JudgeConnections(snap, inspect.Examination{Limits: *f.limits, Rules: rules.All(), PIDs: f.pids, Targets: targets, All: f.all, Twice: f.over > 0})
	if err := f.gate.apply(&found.Outcome); err != nil {
		return err
	}
	if err := f.out.write(a.stdout, report.NewConnections(Version(), args, found)); err != nil {
		return err
	}
	if snap.Looked.Namespaces == 0 {
		return &exitError{code: exitUnknown, message: "could not look: no socket table could be read", hint: "stray doctor", told: true}
	}
	code := f.gate.exitCode(&found.Outcome)
	if len(snap.Unlisted) > 0 && code == exitOK {
		return unlistedError(snap.Unlisted[0])
	}
	return &exitError{code: code}
}

// lookAtConnections looks once or, with a time, twice.
func lookAtConnections(ctx context.Context, scanner *fdscan.Scanner, q fdscan.ConnectionsQuestion, limits inspect.Limits, over time.Duration) (*fdscan.Snapshot, error) {
	q.Suspect = limits.Suspect(over > 0)
	if over == 0 {
		return scanner.Connections(ctx, q)
	}
	first := q
	first.TablesOnly = true
	before, err := scanner.Connections(ctx, first)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(over - time.Since(before.TakenAt))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
	}
	snap, err := scanner.Connections(ctx, q)
	if err == nil {
		snap.Follow(before)
	}
	return snap, err
}

// parseTargetsOf is parseTargets for a command that needs none. A file is none of
// the targets of connections.
func parseTargetsOf(c *cobra.Command, args []string) ([]fdscan.Target, error) {
	if len(args) == 0 {
		return nil, nil
	}
	targets, err := parseTargets(c, args)
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		if t.Kind == fdscan.FileTarget {
			return nil, usageError(instruct(c, t.Text, "unix:"+t.Text), "target %q is a file: %s is about sockets", t.Text, c.Name())
		}
	}
	return targets, nil
}
