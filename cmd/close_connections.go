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
	// far are the connections, if any, that the targets would name by their far
	// end, were that what they mean.
	far []*inspect.Socket
	// remark says how the targets were understood, or what is left out; empty
	// when they are taken as they stand.
	remark string
}

// choose finds what the flags and targets mean: by a rule; by their own end; or,
// where nothing here has that, by their far end. What an address that is both
// means is not guessed.
func (f *actFlags) choose(ctx context.Context, scanner *fdscan.Scanner, targets []fdscan.Target) (choice, error) {
	if f.rule != "" {
		before, elsewhere, err := f.byRule(ctx, scanner, targets)
		if err != nil {
			return choice{}, err
		}
		return choice{before: before, sockets: before.Shown, after: lookAgain(scanner, before), remark: elsewhere}, nil
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
	here := slices.ContainsFunc(before.Sockets, func(s *inspect.Socket) bool { return s.NetNSMine })
	if here || f.outOfSight(before, own.sockets) != "" {
		own.far = far.Shown
		return own, nil
	}
	words := make([]string, len(targets))
	for i, t := range targets {
		words[i] = t.Text
	}
	return choice{
		before: far, sockets: far.Shown, after: lookAgain(scanner, far),
		remark: strings.Join(words, ", ") + ": taken as the far end, since nothing here has it as its own",
	}, nil
}

// farText says what choice.far is.
func (c *choice) farText() string {
	if len(c.far) == 1 {
		return "it is the far end of a connection"
	}
	return fmt.Sprintf("it is the far end of %d connections", len(c.far))
}

// farCommand is the command that means the connections of choice.far or, for more
// than fit into a line, the one that lists them.
func (c *choice) farCommand(pids []int, args []string) string {
	words := []string{"stray", "close"}
	for _, s := range c.far {
		words = append(words, fmt.Sprintf("inode:%d", s.Inode))
	}
	if len(c.far) > 4 {
		words = append([]string{"stray", "conns", "-a"}, args...)
	}
	if len(pids) > 0 {
		words = append(words, "-p", pidList(pids))
	}
	return strings.Join(words, " ")
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
// be as healthy as any, nothing is closed in bulk. Nor is what other network
// namespaces have, unless its process is named; elsewhere says how much that is.
func (f *actFlags) byRule(ctx context.Context, scanner *fdscan.Scanner, targets []fdscan.Target) (_ *inspect.Answer, elsewhere string, err error) {
	limits := *f.limits
	snap, err := scanner.Connections(ctx, fdscan.ConnectionsQuestion{Targets: targets, PIDs: f.pids, Suspect: limits.Suspect(false), Evidence: true})
	if err != nil {
		return nil, "", err
	}
	others := 0
	answer := inspect.Choose(snap, limits, func(s *inspect.Socket) bool {
		d, ails := s.Ails(f.rule)
		if !ails || d.For < f.older {
			return false
		}
		if !s.NetNSMine && len(f.pids) == 0 {
			others++
			return false
		}
		return true
	})
	if others > 0 {
		elsewhere = fmt.Sprintf("%d more in other network namespaces are left out: -p names their processes", others)
	}
	return answer, elsewhere, nil
}

// stillAil looks once more, before anything is done: of a plan by a rule, what the
// rule speaks of no longer is left out.
func (a *app) stillAil(ctx context.Context, c *cobra.Command, f *actFlags, scanner *fdscan.Scanner, targets []fdscan.Target, plan *act.Plan) error {
	now, _, err := f.byRule(ctx, scanner, targets)
	if err != nil {
		return lookupError(c, err)
	}
	ill := map[uint64]bool{}
	for _, s := range now.Shown {
		ill[s.Cookie] = true
	}
	before := len(plan.Steps)
	plan.Steps = slices.DeleteFunc(plan.Steps, func(s *act.Step) bool { return !ill[s.Socket.Cookie] })
	well := before - len(plan.Steps)
	switch {
	case len(plan.Steps) == 0:
		return &exitError{code: exitNo, message: "nothing was done: " + f.rule + " speaks of none of them any more", hint: "stray conns"}
	case well > 0:
		a.warn("%s speaks of %d of them no more: left as they are", f.rule, well)
	}
	return nil
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

// noneOfRule is the answer where a rule speaks of nothing, or only of what has no
// descriptor that could be dropped.
func (f *actFlags) noneOfRule(c *cobra.Command, answer *inspect.Answer, elsewhere string) error {
	if n := len(answer.Shown); n > 0 {
		return f.noneHeld(c, answer, n, elsewhere)
	}
	e := &exitError{code: exitNo, message: "nothing matched: " + f.rule + " speaks of no connection", hint: "stray conns"}
	if len(f.pids) > 0 {
		e.message += " of pid " + pidList(f.pids)
		e.hint += " -p " + pidList(f.pids)
	}
	e.hint = strings.Join(append([]string{e.hint}, f.limits.Changed()...), " ")
	if f.older > 0 {
		e.message += fmt.Sprintf(" for %s or more", f.older)
	}
	if elsewhere != "" {
		e.message += "; " + elsewhere
	}
	if !answer.TablesComplete {
		e.code, e.message = exitUnknown, e.message+"; a socket table could not be read whole"
	}
	return e
}

// noneHeld is the answer where a rule speaks of n connections, and no process that
// holds one is in sight.
func (f *actFlags) noneHeld(c *cobra.Command, answer *inspect.Answer, n int, elsewhere string) error {
	of := "a connection"
	if n > 1 {
		of = fmt.Sprintf("%d connections", n)
	}
	if elsewhere != "" {
		of += " (" + elsewhere + ")"
	}
	if hidden := f.outOfSight(answer, answer.Shown); hidden != "" {
		return &exitError{code: exitUnknown, message: fmt.Sprintf("nothing matched: %s speaks of %s whose holders are out of sight: %s", f.rule, of, hidden), hint: "stray doctor"}
	}
	return &exitError{
		code: exitNo, message: fmt.Sprintf("nothing matched: %s speaks of %s that no process holds: there is no descriptor to drop", f.rule, of),
		hint: again(c, c.Flags().Args(), map[string]string{"destroy": "true", "plain": "", "half": "", "dry-run": "true", "yes": ""}),
	}
}
