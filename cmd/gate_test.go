package cmd

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

// gated runs a gate over findings, and returns what it says and comes to.
func gated(t *testing.T, o *inspect.Outcome, args ...string) (code int, stderr string) {
	t.Helper()
	var said bytes.Buffer
	a := &app{stderr: &said}
	c := &cobra.Command{Use: "scan"}
	g := a.gateFlags(c)
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	if err := g.check(c); err != nil {
		t.Fatal(err)
	}
	if err := g.apply(o); err != nil {
		t.Fatal(err)
	}
	return g.exitCode(o), said.String()
}

// found is a whole view with n errors of as many programs.
func found(n int) *inspect.Outcome {
	o := &inspect.Outcome{View: &inspect.View{Snapshot: &fdscan.Snapshot{}}, Complete: true, Evaluated: rules.All()}
	for i := range n {
		o.Findings = append(o.Findings, inspect.Finding{
			Rule: rules.Find("FD101"), Severity: inspect.Error, FD: -1, Message: fmt.Sprintf("finding %d", i), Fingerprint: fmt.Sprintf("print %d", i),
		})
	}
	return o
}

// What a baseline has and nobody finds is told, and taken out when asked for;
// where not everything was seen, nothing is.
func TestStaleEntries(t *testing.T) {
	t.Chdir(t.TempDir())
	file := filepath.Join(t.TempDir(), "known.json")
	if code, said := gated(t, found(8), "--update-baseline", "--baseline", file); code != exitOK || said != "" {
		t.Errorf("update: %d, %s", code, said)
	}
	code, said := gated(t, found(1), "--baseline", file)
	if code != exitOK || strings.Count(said, ": not found any more: FD101 finding ") != mostStale || !strings.Contains(said, ": 2 more are not found any more\n") || !strings.Contains(said, "--prune-baseline takes out of "+file) {
		t.Errorf("stale: %d, %s", code, said)
	}
	partial := found(1)
	partial.Complete = false
	if code, said := gated(t, partial, "--baseline", file, "--prune-baseline"); code != exitOK || said != "" {
		t.Errorf("prune with a partial view: %d, %s", code, said)
	}
	if code, said := gated(t, found(8), "--baseline", file); code != exitOK || said != "" {
		t.Errorf("after that: %d, %s", code, said)
	}
	if code, said := gated(t, found(1), "--baseline", file, "--prune-baseline"); code != exitOK || said != "" {
		t.Errorf("prune: %d, %s", code, said)
	}
	if code, said := gated(t, found(2), "--baseline", file); code != exitNo || said != "" {
		t.Errorf("after pruning: %d, %s", code, said)
	}
}

func TestExitCodes(t *testing.T) {
	t.Chdir(t.TempDir())
	note := found(1)
	note.Findings[0].Severity = inspect.Note
	partial := found(0)
	partial.Complete = false
	for name, tt := range map[string]struct {
		o    *inspect.Outcome
		args []string
		want int
	}{
		"clean":             {found(0), nil, exitOK},
		"clean, any":        {found(0), []string{"--fail-on", "note"}, exitOK},
		"an error":          {found(1), nil, exitNo},
		"an error, none":    {found(1), []string{"--fail-on", "none"}, exitOK},
		"a note":            {note, nil, exitOK},
		"a note that fails": {note, []string{"--fail-on", "note"}, exitNo},
		"partial":           {partial, nil, exitOK},
		"partial, strict":   {partial, []string{"--strict"}, exitUnknown},
		"in capitals":       {found(1), []string{"--fail-on", "ERROR"}, exitNo},
	} {
		if code, said := gated(t, tt.o, tt.args...); code != tt.want || said != "" {
			t.Errorf("%s: %d, %s", name, code, said)
		}
	}
}
