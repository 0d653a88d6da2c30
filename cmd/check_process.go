package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

// watchFlags are the flags of check -p.
type watchFlags struct {
	pids   []int
	watch  time.Duration
	warmUp time.Duration
	since  string
}

func watchFlagsOf(c *cobra.Command) *watchFlags {
	w := &watchFlags{}
	f := c.Flags()
	f.IntSliceVarP(&w.pids, "pid", "p", nil, "look at these running processes and their descendants (repeatable), instead of running a command")
	f.DurationVar(&w.watch, "for", defaultWatch, "with -p: how long to look for growth; 0 is one look")
	f.DurationVar(&w.warmUp, "warm-up", 0, "with -p: wait before the first look, for caches and pools to fill")
	f.StringVar(&w.since, "since", "", "with -p: compare with this JSON report of an earlier check -p or scan; then --for is 0 unless given")
	return w
}

const (
	// defaultWatch is how long growth is looked for.
	defaultWatch = 30 * time.Second
	// watchLooks is how many looks there are in that time, and leastPause the
	// time between two of them at least.
	watchLooks = 40
	leastPause = 20 * time.Millisecond
	// settleTime is how long what is being closed may take at the end; it is
	// over when settleLooks have found no fewer descriptors than the one before.
	settleTime  = 2 * time.Second
	settleLooks = 3
	settlePause = 100 * time.Millisecond
)

// unwatched takes the flags of check -p out of a hint.
var unwatched = map[string]string{"pid": "", "for": "", "warm-up": "", "since": ""}

// asked reports that one of the flags that need -p was given.
func (w *watchFlags) asked(c *cobra.Command) bool {
	f := c.Flags()
	return f.Changed("for") || f.Changed("warm-up") || f.Changed("since")
}

// check finds mistakes before anything is done.
func (w *watchFlags) check(c *cobra.Command) error {
	as := func(change map[string]string) string { return again(c, nil, change) }
	switch {
	case w.watch < 0:
		return usageError(as(map[string]string{"for": (-w.watch).String()}), "--for %s is negative", w.watch)
	case w.warmUp < 0:
		return usageError(as(map[string]string{"warm-up": (-w.warmUp).String()}), "--warm-up %s is negative", w.warmUp)
	case w.watch == 0 && w.since == "":
		return usageError(as(map[string]string{"for": defaultWatch.String()}), "--for 0 is one look, which shows no growth without --since")
	case w.watch > 0 && w.watch < inspect.MinLooks*leastPause:
		return usageError(as(map[string]string{"for": "1s"}), "--for %s is too short to tell growth from chance", w.watch)
	}
	err := checkPIDs(c, w.pids)
	var e *exitError
	if errors.As(err, &e) {
		e.hint = "stray scan" // without -p this is another command
	}
	return err
}

// runCheckProcess is check -p: it looks at running processes for some time and
// reports what grows and, beside that, what scan would.
func (a *app) runCheckProcess(ctx context.Context, c *cobra.Command, out *output, g *gate, w *watchFlags) error {
	if w.since != "" && !c.Flags().Changed("for") {
		w.watch = 0
	}
	if err := errors.Join(out.check(c), g.check(c), w.check(c)); err != nil {
		return err
	}
	past, err := readPast(c, w.since)
	if err != nil {
		return err
	}
	if err := wait(ctx, w.warmUp); err != nil {
		return err
	}
	scanner := &fdscan.Scanner{}
	watcher, err := scanner.Watch(ctx, w.pids)
	if err != nil {
		return lookupError(c, err)
	}
	if _, terminal := isTerminal(a.stderr); terminal && w.watch > 0 && !out.quiet {
		n := watcher.Watched()
		fmt.Fprintf(a.stderr, "stray: looking at %d %s for %s\n", n, map[bool]string{true: "process", false: "processes"}[n == 1], w.watch)
	}
	if err := w.looks(ctx, watcher); err != nil {
		return err
	}
	snap, err := scanner.Survey(ctx, fdscan.SurveyQuestion{})
	if err != nil {
		return lookupError(c, err)
	}
	ended := watcher.Ended()
	switch n := len(ended); {
	case n == watcher.Watched():
		return &exitError{code: exitUnknown, message: "nothing is left to look at: every process has ended", hint: "stray check -- COMMAND follows a command to its end"}
	case n > 1:
		a.warn("%d processes have ended meanwhile, pid %d (%s) among them", n, ended[0].PID, ended[0].Comm)
	case n == 1:
		a.warn("pid %d (%s) has ended meanwhile", ended[0].PID, ended[0].Comm)
	}
	watcher.End(snap)
	outcome := inspect.Watched(snap, w.pids, past, rules.All())
	if err := g.apply(outcome); err != nil {
		return err
	}
	if err := out.write(a.stdout, &report.Result{Version: Version(), Command: c.Name(), Outcome: outcome}); err != nil {
		return err
	}
	if len(outcome.Tables) == 0 {
		return &exitError{code: exitUnknown, message: "no descriptor table of these processes could be read", hint: "stray doctor", told: true}
	}
	return &exitError{code: g.exitCode(outcome)}
}

// looks looks for as long as --for says, and then until what is being closed is
// closed.
func (w *watchFlags) looks(ctx context.Context, watcher *fdscan.Watcher) error {
	watcher.Look()
	if w.watch > 0 {
		ticks := time.NewTicker(max(w.watch/watchLooks, leastPause))
		defer ticks.Stop()
		// A machine under load may take longer for the looks that it takes.
		for end, n := time.Now().Add(w.watch), 1; time.Now().Before(end) || n < inspect.MinLooks; n++ {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ticks.C:
				watcher.Look()
			}
		}
	}
	before := watcher.Open()
	for end, still := time.Now().Add(settleTime), 0; still < settleLooks && time.Now().Before(end); still++ {
		if err := wait(ctx, settlePause); err != nil {
			return err
		}
		watcher.Look()
		if now := watcher.Open(); now < before {
			still = -1
		}
		before = watcher.Open()
	}
	return nil
}

// wait returns when the time is over or ctx ends, with its error.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// readPast reads the report of --since; nil without one.
func readPast(c *cobra.Command, path string) (*inspect.Past, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	var past *inspect.Past
	if err == nil {
		past, err = report.ReadPast(bytes.NewReader(text))
	}
	if err != nil {
		// What is there and is no report may be dear to somebody: the hint
		// proposes to write another file.
		proposed := "before.json"
		if errors.Is(err, fs.ErrNotExist) {
			proposed = path
		}
		var e *os.PathError
		if errors.As(err, &e) {
			err = e.Err
		}
		return nil, usageError(again(c, nil, map[string]string{"since": "", "for": ""})+"\na report is written with -o json --output-file "+shellWord(proposed), "--since %s: %v", path, err)
	}
	past.Name = path
	return past, nil
}
