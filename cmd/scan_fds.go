package cmd

import (
	"context"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/inspect"
	"stray/report"
)

// listFlags are the flags of scan that list descriptors in place of findings.
type listFlags struct {
	on    bool
	kinds []string
}

func (a *app) listFlags(c *cobra.Command) *listFlags {
	l := &listFlags{}
	f := c.Flags()
	f.BoolVar(&l.on, "fds", false, "list the descriptors of these processes, or of all, and judge nothing")
	f.StringSliceVar(&l.kinds, "kind", nil, "with --fds only descriptors of this `KIND`, such as pipe or eventfd (repeatable)")
	_ = c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kindNames(), cobra.ShellCompDirectiveNoFileComp))
	return l
}

func kindNames() (names []string) {
	for _, k := range fdscan.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

// asked reports that descriptors are to be listed.
func (l *listFlags) asked(c *cobra.Command) bool { return l.on || c.Flags().Changed("kind") }

// judging are the flags of scan that mean nothing where nothing is judged.
func judging() []string {
	names := []string{"baseline", "deep", "fail-on", "ignore-file", "prune-baseline", "update-baseline"}
	for _, l := range inspect.LimitTable() {
		names = append(names, l.Name)
	}
	return names
}

// find returns the kinds that were named.
func (l *listFlags) find(c *cobra.Command) (kinds []*fdscan.Kind, err error) {
	as := func(change map[string]string) string { return again(c, c.Flags().Args(), change) }
	for _, name := range judging() {
		if l.on && c.Flags().Changed(name) {
			return nil, usageError(as(map[string]string{name: ""}), "--fds judges nothing, so that --%s means nothing", name)
		}
	}
	switch {
	case c.Flags().Changed("kind") && len(l.kinds) == 0:
		return nil, usageError(as(map[string]string{"fds": "true", "kind": "pipe"}), "--kind needs a value")
	case len(l.kinds) > 0 && !l.on:
		return nil, usageError(as(map[string]string{"fds": "true"}), "--kind needs --fds")
	}
	for _, name := range l.kinds {
		k := fdscan.FindKind(strings.ToLower(name))
		if k == nil {
			return nil, usageError(as(map[string]string{"kind": "pipe"}), "unknown kind %q: there are %s", name, strings.Join(kindNames(), ", "))
		}
		kinds = append(kinds, k)
	}
	return kinds, nil
}

// formats refuses formats that tell findings only: their reports would say that
// there are none. What STRAY_FORMAT wants of reports is no mistake here.
func (l *listFlags) formats(c *cobra.Command, out *output) error {
	lists := func(name string) bool {
		f := report.Find(name)
		return f == nil || f.Lists
	}
	if !lists(out.format) && !c.Flags().Changed("output") {
		out.format = "table"
	}
	asked := []string{out.format}
	for _, word := range out.reports {
		name, _, _ := strings.Cut(word, "=")
		asked = append(asked, name)
	}
	for _, name := range asked {
		if !lists(name) {
			return usageError(again(c, c.Flags().Args(), map[string]string{"output": "tsv", "report": ""}), "format %q tells findings, and --fds lists descriptors", name)
		}
	}
	return nil
}

// listDescriptors writes the descriptors of the processes with these pids, or of
// all when there are none.
func (a *app) listDescriptors(ctx context.Context, c *cobra.Command, s *scanFlags) error {
	kinds, err := s.list.find(c)
	if err != nil {
		return err
	}
	if err := s.list.formats(c, s.out); err != nil {
		return err
	}
	if err := fromEnvironment(c, "strict"); err != nil {
		return err
	}
	// What is found is kept to the end: half as much garbage beside it is enough.
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	snap, err := (&fdscan.Scanner{}).List(ctx, s.pids)
	if err != nil {
		return lookupError(c, err)
	}
	outcome := &inspect.Outcome{View: inspect.Judge(snap), Complete: snap.TablesComplete && snap.HoldersComplete, Asked: inspect.Scope{PIDs: s.pids}, PIDs: s.pids}
	listed := []*fdscan.Descriptor{}
	for _, d := range snap.Descriptors {
		if len(kinds) == 0 || slices.ContainsFunc(kinds, d.Kind.Is) {
			listed = append(listed, d)
		}
	}
	if err := s.out.write(a.stdout, &report.Result{Version: Version(), Command: c.Name(), Outcome: outcome, Listed: listed}); err != nil {
		return err
	}
	if len(outcome.Tables) == 0 && !outcome.Complete {
		return &exitError{code: exitUnknown}
	}
	return &exitError{code: s.gate.exitCode(outcome)}
}
