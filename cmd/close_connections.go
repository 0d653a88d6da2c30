package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/internal/act"
)

// connectionRules are the rules that --rule takes: those about single
// connections.
var connectionRules = []string{"FD301", "FD302", "FD303", "FD305"}

// look is how close and seal see what they act on: before, and again after it.
type look func(context.Context) (*inspect.Answer, error)

// choice is what close and seal have found to act on.
type choice struct {
	before  *inspect.Answer
	sockets []*inspect.Socket
	// after sees what has become of it.
	after look
	// remark says how the targets were understood; empty when as they stand.
	remark string
}

// choose finds what the flags and targets mean: by a rule; by their own end; or,
// where nothing that is meant has that, by their far end.
func (f *actFlags) choose(ctx context.Context, scanner *fdscan.Scanner, targets []fdscan.Target) (choice, error) {
	if f.rule != "" {
		before, err := f.byRule(ctx, scanner, targets)
		if err != nil {
			return choice{}, err
		}
		return choice{before: before, sockets: before.Shown, after: lookAgain(scanner, before)}, nil
	}
	before, err := lookUp(scanner, targets, true)(ctx)
	if err != nil {
		return choice{}, err
	}
	own := choice{before: before, sockets: f.sockets(before), after: lookUp(scanner, targets, f.connections || f.method == act.Half)}
	hasAddress := func(t fdscan.Target) bool { return t.Kind == fdscan.PortTarget && t.Addr.IsValid() }
	if plan, _ := f.plan(own.sockets); len(plan.Steps) > 0 || f.method == act.Seal || f.holders != "" || !slices.ContainsFunc(targets, hasAddress) {
		return own, nil
	}
	far, err := byPeer(ctx, scanner, targets, f.pids)
	if err != nil {
		return choice{}, err
	}
	if len(far.Shown) == 0 {
		return own, nil
	}
	words := make([]string, len(targets))
	for i, t := range targets {
		words[i] = t.Text
	}
	return choice{far, far.Shown, lookAgain(scanner, far), strings.Join(words, ", ") + ": taken as the far end, since nothing that is meant has it as its own"}, nil
}

// bare are the sockets without what was judged of them.
func bare(judged []*inspect.Socket) []*fdscan.Socket {
	sockets := make([]*fdscan.Socket, len(judged))
	for i, s := range judged {
		sockets[i] = s.Socket
	}
	return sockets
}

// lookUp looks targets up by their own end, as who does.
func lookUp(scanner *fdscan.Scanner, targets []fdscan.Target, all bool) look {
	return func(ctx context.Context) (*inspect.Answer, error) {
		snap, err := scanner.Lookup(ctx, fdscan.Question{Targets: targets})
		if err != nil {
			return nil, err
		}
		return inspect.Who(snap, targets, rules.All(), all), nil
	}
}

// lookAgain sees the very sockets of an answer once more.
func lookAgain(scanner *fdscan.Scanner, before *inspect.Answer) look {
	cookies := map[uint64]bool{}
	for _, s := range before.Shown {
		cookies[s.Cookie] = true
	}
	return func(ctx context.Context) (*inspect.Answer, error) {
		snap, err := scanner.Connections(ctx, fdscan.ConnectionsQuestion{Evidence: true, Suspect: func(s *fdscan.Socket) bool { return cookies[s.Cookie] }})
		if err != nil {
			return nil, err
		}
		return inspect.Choose(snap, inspect.DefaultLimits(), func(*inspect.Socket) bool { return true }), nil
	}
}

// byPeer finds the connections of this namespace whose far end the targets are;
// without any, the answer shows nothing.
func byPeer(ctx context.Context, scanner *fdscan.Scanner, targets []fdscan.Target, pids []int) (*inspect.Answer, error) {
	far := func(s *fdscan.Socket) bool {
		return s.NetNSMine && slices.ContainsFunc(targets, func(t fdscan.Target) bool { return t.Addr.IsValid() && t.MatchesPeer(s) })
	}
	snap, err := scanner.Connections(ctx, fdscan.ConnectionsQuestion{PIDs: pids, Suspect: far, Evidence: true})
	if err != nil {
		return nil, err
	}
	return inspect.Choose(snap, inspect.DefaultLimits(), func(s *inspect.Socket) bool { return far(s.Socket) }), nil
}

// byRule finds the connections that a rule speaks of. A note is none: of what may
// be as healthy as any, nothing is closed in bulk.
func (f *actFlags) byRule(ctx context.Context, scanner *fdscan.Scanner, targets []fdscan.Target) (*inspect.Answer, error) {
	limits := *f.limits
	snap, err := scanner.Connections(ctx, fdscan.ConnectionsQuestion{Targets: targets, PIDs: f.pids, Suspect: limits.Suspect(false), Evidence: true})
	if err != nil {
		return nil, err
	}
	return inspect.Choose(snap, limits, func(s *inspect.Socket) bool {
		d, ails := s.Ails(f.rule)
		return ails && d.For >= f.older
	}), nil
}

// checkRule finds mistakes in --rule and --older.
func (f *actFlags) checkRule(c *cobra.Command, hint func(map[string]string) string) error {
	if f.rule == "" {
		if f.older != 0 {
			return usageError(hint(map[string]string{"rule": "FD302"}), "--older needs --rule")
		}
		return nil
	}
	r := rules.Find(f.rule)
	switch {
	case r == nil || !slices.Contains(connectionRules, r.ID):
		return usageError(hint(map[string]string{"rule": "FD302"}), "--rule %s: there are %s", f.rule, strings.Join(connectionRules, ", "))
	case checkLimits(c, f.limits) != nil:
		return checkLimits(c, f.limits)
	case f.older < 0:
		return usageError(hint(map[string]string{"older": (-f.older).String()}), "--older %s is negative", f.older)
	case f.holders != "":
		return usageError(hint(map[string]string{"holders": ""}), "--rule and --holders exclude each other")
	}
	f.rule = r.ID
	return nil
}

// noneOfRule is the answer where a rule speaks of nothing.
func (f *actFlags) noneOfRule(answer *inspect.Answer) error {
	e := &exitError{code: exitNo, message: "nothing matched: " + f.rule + " speaks of no connection", hint: "stray conns"}
	if len(f.pids) > 0 {
		e.message += " of pid " + pidList(f.pids)
		e.hint += " -p " + pidList(f.pids)
	}
	if f.older > 0 {
		e.message += fmt.Sprintf(" for %s or more", f.older)
	}
	if !answer.TablesComplete {
		e.code, e.message = exitUnknown, e.message+"; a socket table could not be read whole"
	}
	return e
}
