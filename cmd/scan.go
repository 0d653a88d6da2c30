package cmd

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

// scanFlags are the flags of scan.
type scanFlags struct {
	out    *output
	gate   *gate
	limits *inspect.Limits
	pids   []int
	deep   bool
	list   *listFlags
}

func (a *app) scan() *cobra.Command {
	s := &scanFlags{}
	c := &cobra.Command{
		Use:   "scan",
		Short: "what leaks on this machine, or in some processes, in order of harm",
		Long: `scan looks at every process and every socket of this machine, in every network
namespace, and says what leaks: what it is, how that is known, and the next
command. What it says of the health of connections, conns says at length. With
-p it speaks of those processes and their descendants; everybody is looked at all
the same, since a leak shows in who else holds what.

With --fds it judges nothing, and lists every descriptor of the processes of -p
(without their descendants), or of all: what it is, how it was opened, and who
has the other end.

Exit codes: 0 no finding that fails (--fail-on), 1 findings, 2 usage, 3 could not
look, be it at one process of -p (with --strict: not everything).`,
		Example: `  stray scan
  stray scan -p $(pidof server)
  stray scan --fds -p $(pgrep -d, server)
  stray scan --fail-on warning -o json`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error { return a.runScan(c.Context(), c, s) },
	}
	s.out, s.gate, s.list = a.outputFlags(c), a.gateFlags(c), a.listFlags(c)
	s.limits = limitFlags(c, true)
	f := c.Flags()
	f.IntSliceVarP(&s.pids, "pid", "p", nil, "only process `PID` and its descendants (repeatable)")
	f.BoolVar(&s.deep, "deep", false, "also what needs every descriptor looked at: sockets of namespaces without a process, messages in flight")
	return c
}

func (a *app) runScan(ctx context.Context, c *cobra.Command, s *scanFlags) error {
	if err := s.out.check(c); err != nil {
		return err
	}
	if err := checkPIDs(c, s.pids); err != nil {
		return err
	}
	if s.list.asked(c) { // before the gate: what the environment has for it is no matter here
		return a.listDescriptors(ctx, c, s)
	}
	if err := s.gate.check(c); err != nil {
		return err
	}
	if err := checkLimits(c, s.limits); err != nil {
		return err
	}
	var connections *fdscan.Snapshot
	var errConnections error
	snap, err := (&fdscan.Scanner{}).Survey(ctx, fdscan.SurveyQuestion{Deep: s.deep, Meanwhile: func(read fdscan.Walker) {
		connections, errConnections = lookAtConnections(ctx, &fdscan.Scanner{Walker: read}, fdscan.ConnectionsQuestion{}, *s.limits, 0)
	}})
	if err := cmp.Or(err, errConnections); err != nil {
		return lookupError(c, err)
	}
	outcome := inspect.Scan(snap, rules.All(), s.pids...)
	outcome.Asked.Deep = s.deep
	outcome.Join(inspect.JudgeConnections(connections, inspect.Examination{Limits: *s.limits, Rules: rules.All(), PIDs: inspect.Descendants(snap, s.pids)}))
	var unseen []int
	if len(s.pids) > 0 {
		unseen = outcome.Limit(s.pids)
	}
	// What this command itself has open is closed when anybody reads of it.
	outcome.Tables = slices.DeleteFunc(outcome.Tables, func(t *fdscan.Table) bool { return t.Process.PID == os.Getpid() })
	if err := s.gate.apply(outcome); err != nil {
		return err
	}
	if err := s.out.write(a.stdout, &report.Result{Version: Version(), Command: "scan", Outcome: outcome}); err != nil {
		return err
	}
	code := s.gate.exitCode(outcome)
	if len(unseen) > 0 && code == exitOK {
		return unlistedError(unseen[0])
	}
	return &exitError{code: code}
}

// unlistedError is the end of a command that was asked for a process whose
// descriptors could not be listed, and that says so in its report.
func unlistedError(pid int) error {
	return &exitError{code: exitUnknown, message: fmt.Sprintf("could not look at pid %d, which was asked for", pid), told: true}
}
