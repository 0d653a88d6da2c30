package inspect_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/internal/proctest"
	"stray/internal/testenv"
	"stray/internal/wiretest"
)

func TestMain(m *testing.M) {
	proctest.Main()
	wiretest.Main()
	testenv.Main(m)
}

// who answers who holds a target on this machine, as the command does.
func who(t testing.TB, target string) *inspect.Answer {
	t.Helper()
	parsed, err := fdscan.ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	targets := []fdscan.Target{parsed}
	snap, err := (&fdscan.Scanner{}).Lookup(t.Context(), fdscan.Question{Targets: targets})
	if err != nil {
		t.Fatal(err)
	}
	return inspect.Who(snap, targets, rules.All(), false)
}

// cast gives the processes of a story short names, so that stories can be told
// without pids.
type cast map[int]string

// roles names the processes of a script a, b, c … in the order in which they
// are written; the first is the one that the whole script describes.
func roles(p *proctest.Process) cast {
	c := cast{}
	for i, q := range p.All() {
		c[q.PID] = string(rune('a' + i))
	}
	return c
}

func (c cast) name(pid int) string {
	if name, ok := c[pid]; ok {
		return name
	}
	return fmt.Sprintf("pid %d", pid)
}

// origins tells what is said of each holder of a socket: "a: opened, serves",
// "b: fork from a, certain, idle, leak".
func (c cast) origins(s *inspect.Socket) []string {
	seen := map[string]bool{}
	all := []string{}
	for _, h := range s.Holders {
		text := c.name(h.Process.PID) + ": " + string(h.Origin.Kind)
		if h.Origin.From != nil {
			text += " from " + c.name(h.Origin.From.PID)
		}
		if h.Origin.Certain {
			text += ", certain"
		}
		text += map[inspect.Serving]string{inspect.Serves: ", serves", inspect.Idle: ", idle", inspect.Elsewise: ", elsewhere", inspect.Unknown: ", unclear"}[h.Serving]
		if h.Origin.Leak {
			text += ", leak"
		}
		if h.Origin.OpenerExited {
			text += ", opener exited"
		}
		if !seen[text] {
			all = append(all, text)
		}
		seen[text] = true
	}
	slices.Sort(all)
	return all
}

// findings tells what the rules say: "FD101 error b".
func (c cast) findings(a *inspect.Answer) []string {
	all := []string{}
	for _, f := range a.Findings {
		all = append(all, fmt.Sprintf("%s %s %s", f.Rule.ID, f.Severity, c.name(f.Process.PID)))
	}
	slices.Sort(all)
	return all
}

// check compares what is said of the socket with an inode, and what the rules
// find, with a story: a line for each process, and one for each finding. On a
// machine that has too much to do, threads of the Go runtime that wake up now
// and then are found waiting for a processor, which leaves open what they will
// do; then it asks again.
func (c cast) check(t testing.TB, target string, inode uint64, story ...string) {
	t.Helper()
	var want []string
	for _, line := range story {
		want = append(want, strings.TrimSpace(line))
	}
	slices.Sort(want)
	unclear := func(lines []string) int { return strings.Count(strings.Join(lines, "\n"), "unclear") }
	for try := 0; ; try++ {
		a := who(t, target)
		i := slices.IndexFunc(a.Sockets, func(s *inspect.Socket) bool { return s.Inode == inode })
		if i < 0 {
			t.Fatal("the socket was not found")
		}
		got := append(c.origins(a.Sockets[i]), c.findings(a)...)
		slices.Sort(got)
		diff := cmp.Diff(want, got)
		if unclear(got) > unclear(want) && try < 20 {
			continue
		}
		if diff != "" {
			t.Errorf("(-want +got):\n%s%s", diff, c.because(a, a.Sockets[i]))
		}
		return
	}
}

// because tells what verdicts stand on.
func (c cast) because(a *inspect.Answer, s *inspect.Socket) string {
	var b strings.Builder
	for _, h := range s.Holders {
		fmt.Fprintf(&b, "%s: %s %q\n", c.name(h.Process.PID), h.Process.Comm, h.Origin.Evidence)
		if e := h.Process.Evidence; e != nil {
			fmt.Fprintf(&b, "   waits %+v busy %v imports %+v hand-overs %v\n", e.Waits, e.Busy, e.Imports, e.HandOvers)
		}
	}
	for _, f := range a.Findings {
		fmt.Fprintln(&b, f.Rule.ID, f.Message)
	}
	return b.String()
}
