package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/inspect"
	"stray/internal/act"
	"stray/internal/tracee"
	"stray/report"
)

// refuseManagers refuses pid 1 and service managers, unless named by --force.
func (f *actFlags) refuseManagers(plan *act.Plan) {
	for _, s := range plan.Steps {
		for _, h := range s.Holders {
			p := h.Process
			if inspect.StopInstead(p) == "" || f.force == p.Comm {
				continue
			}
			s.Refusals = slices.Insert(s.Refusals, 0, &tracee.Refusal{
				Reason: tracee.Init, PID: p.PID, Detail: fmt.Sprintf("%s is %s (or name it with --force %s)", p.Comm, inspect.StopInstead(p), shellWord(p.Comm)),
			})
			break
		}
	}
}

// consent asks on a terminal; elsewhere --yes has to have been given.
func (a *app) consent(ctx context.Context, f *actFlags, said *report.Actions) error {
	if f.yes {
		return nil
	}
	refuse := func(why string) error {
		return &exitError{code: exitUnknown, message: "nothing was done: " + why, hint: "add --yes to do it, or --dry-run to see the plan only"}
	}
	_, input := isTerminal(a.stdin)
	_, prompt := isTerminal(a.stderr)
	switch {
	case f.out.isJSON():
		return refuse("with JSON it is not asked")
	case f.out.quiet:
		return refuse("-q shows no plan that could be agreed to")
	case !input || !prompt:
		return refuse("there is no terminal to ask on")
	}
	// Nobody agrees to what he has not seen.
	if _, shown := isTerminal(a.stdout); !shown || f.out.file != "" {
		if err := said.WritePlan(a.stderr); err != nil {
			return err
		}
	}
	fmt.Fprint(a.stderr, "proceed? [y/N] ")
	agreed := make(chan bool, 1)
	go func() {
		line, err := bufio.NewReader(a.stdin).ReadString('\n')
		answer := strings.ToLower(strings.TrimSpace(line))
		agreed <- err == nil && (answer == "y" || answer == "yes")
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return fmt.Errorf("nothing was done: %w", context.Cause(ctx))
	case yes := <-agreed:
		if yes && ctx.Err() == nil {
			return nil
		}
		return &exitError{code: exitUnknown, message: "nothing was done: not confirmed"}
	}
}

// verify looks again, and says what has become of it.
func (a *app) verify(ctx context.Context, c *cobra.Command, f *actFlags, see look, said *report.Actions, results []act.Result) error {
	// What was done is told even when the command is being interrupted.
	after, err := see(context.WithoutCancel(ctx))
	if err != nil {
		return lookupError(c, err)
	}
	if f.method != act.Seal {
		after.SettleBinds(fdscan.TryBind)
	}
	said.Finish(after, results)
	err = f.out.to(a.stdout, func(w io.Writer) error {
		switch {
		case f.out.isJSON():
			return said.WriteJSON(w)
		case f.out.file != "": // which has the plan, and is replaced
			if err := said.WritePlan(w); err != nil {
				return err
			}
		}
		return said.WriteResults(w)
	})
	if err != nil {
		return err
	}
	for _, r := range results {
		switch {
		case errors.Is(r.Err, act.ErrPeerTimeout):
			return &exitError{code: exitTimeout, told: true}
		case r.Err != nil, !act.Verified(r, after.Snapshot):
			return &exitError{code: exitUnknown, told: true}
		}
	}
	return nil
}
