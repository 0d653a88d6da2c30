package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// row is a question that is put to stray and to its peers.
type row struct {
	question string
	worlds   []string // in which it is put
	uid      int      // that puts it
	ours     []string // stray's arguments
	exit     int      // stray's exit status
	prints   string   // what stray's answer tells
	// pids are the arguments with which stray answers the same question by
	// pids, one a line; nil when it is not about holders.
	pids  []string
	held  bool // the holders of the world are the answer; otherwise nobody
	peers []command
	bars  []bar
	// grows says that stray's memory may grow with the world, since the answer
	// is about all of it: up to that of the peers.
	grows bool
}

// bar is the least ratio of a peer's wall time to stray's that is good enough.
type bar struct {
	world, peer string
	least       float64
}

const (
	// tooSlow is the wall time above which a peer takes part in the warm-up
	// round only, which is then its result.
	tooSlow = 5 * time.Second
	// maxGrowth is how much more memory stray may take in any world than in
	// the small one, which has 400 times fewer descriptors than the large.
	maxGrowth = 1.5
)

func port(number int) string { return strconv.Itoa(number) }

// stray builds the program, readable by everybody, and returns its path.
var stray = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "stray-bench-")
	if err != nil {
		return "", err
	}
	remove = func() error { return os.RemoveAll(dir) }
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "stray")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "stray")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build stray: %w\n%s", err, out)
	}
	return path, nil
})

// remove removes what stray has made.
var remove = func() error { return nil }

// bench puts the row's question in its worlds.
func (r row) bench(b *testing.B) {
	memory := make(map[string]float64)
	for _, s := range scenes {
		if !slices.Contains(r.worlds, s.Name) {
			continue
		}
		b.Run(s.Name, func(b *testing.B) {
			if !selected(s.Name) {
				b.Skip("a large world: choose it by -bench or STRAY_BENCH_WORLDS")
			}
			memory[s.Name] = r.measure(b, s)
		})
	}
	small := memory["small"]
	for _, world := range r.worlds {
		if rss := memory[world]; !r.grows && small > 0 && rss > maxGrowth*small {
			missed(b, "stray takes %.1f MB in world %s and %.1f in small, want at most %.1f times as much", rss, world, small, maxGrowth)
		}
	}
}

// missed reports a bar that was not held.
func missed(b *testing.B, format string, args ...any) {
	b.Helper()
	if os.Getenv("STRAY_BENCH_GATE") == "1" {
		b.Errorf(format, args...)
	} else {
		b.Logf(format, args...)
	}
}

// contestant is a command with what it has used.
type contestant struct {
	command
	exit   int
	rounds []usage
	once   bool // it is too slow for more than the warm-up round
}

// measure puts the question in one world and returns stray's largest resident
// set in MB.
func (r row) measure(b *testing.B, s scene) float64 {
	path, err := stray()
	if err != nil {
		b.Fatal(err)
	}
	contestants := []*contestant{{command: command{
		name: "stray", argv: append([]string{path}, r.ours...), prints: r.prints,
	}, exit: r.exit}}
	for _, p := range r.peers {
		program, err := exec.LookPath(p.argv[0])
		if err != nil {
			b.Logf("%s is left out: %v", p.name, err)
			continue
		}
		p.argv = append([]string{program}, p.argv[1:]...)
		contestants = append(contestants, &contestant{command: p})
	}
	w := build(b, s)
	r.warmUp(b, w, path, contestants)
	for b.Loop() {
		for _, c := range contestants {
			if c.once {
				continue
			}
			u, err := w.run(c.argv, r.uid)
			if err != nil {
				b.Fatal(err)
			}
			if u.Exit != c.exit {
				b.Fatalf("%q: exit %d, want %d", c.argv, u.Exit, c.exit)
			}
			c.rounds = append(c.rounds, u)
		}
	}
	o := outcome{name: b.Name(), question: r.question, scene: s, rounds: len(contestants[0].rounds)}
	for _, c := range contestants {
		o.lines = append(o.lines, reckon(contestants[0], c))
	}
	o.metrics(b)
	o.judge(b, r.bars)
	for _, l := range o.lines[1:] {
		if r.grows && o.lines[0].rss > l.rss {
			missed(b, "stray takes %.1f MB, and %s %.1f", o.lines[0].rss, l.name, l.rss)
		}
	}
	summary = append(summary, o)
	return o.lines[0].rss
}

// warmUp runs every command once, and fails when one names other holders than
// those there are.
func (r row) warmUp(b *testing.B, w *world, path string, contestants []*contestant) {
	b.Helper()
	want := []int{}
	if r.held {
		want = w.holders
	}
	if r.pids != nil {
		c := command{argv: append([]string{path}, r.pids...), pids: pidsInColumn(-1)}
		if u := r.check(b, w, c, want); u.Exit != r.exit {
			b.Fatalf("%q: exit %d, want %d", c.argv, u.Exit, r.exit)
		}
	}
	for i, c := range contestants {
		u := r.check(b, w, c.command, want)
		switch {
		case i > 0:
			c.exit = u.Exit
			if c.once = u.Wall > tooSlow; c.once {
				c.rounds = []usage{u}
			}
		case u.Exit != r.exit:
			b.Fatalf("%q: exit %d, want %d", c.argv, u.Exit, r.exit)
		}
	}
}

// check runs a command and compares the holders that it names with want.
func (r row) check(b *testing.B, w *world, c command, want []int) usage {
	b.Helper()
	u, err := w.run(c.argv, r.uid)
	if err != nil {
		b.Fatal(err)
	}
	if c.pids == nil {
		return u
	}
	stdout, err := output(w.stdout)
	if err != nil {
		b.Fatal(err)
	}
	got, err := c.pids(stdout)
	if err != nil || !slices.Equal(got, want) {
		stderr, _ := output(w.stderr)
		b.Fatalf("%q names the holders %v, want %v (exit %d, %v)\n%s%s", c.argv, got, want, u.Exit, err, stdout, stderr)
	}
	return u
}
