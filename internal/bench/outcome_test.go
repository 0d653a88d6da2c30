package bench

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// summary is what the benchmarks have found, for the table at the end.
var summary []outcome

// outcome is what a row has found in one world.
type outcome struct {
	name     string // of the benchmark
	question string
	scene    scene
	rounds   int
	lines    []line // stray's first
}

// line is what one command has used. Times are medians over the rounds in
// milliseconds, rss is the most of any round in MB.
type line struct {
	name, command, prints   string
	wall, user, system, rss float64
	// ratio is the median over the rounds of the wall time divided by stray's
	// in the same round.
	ratio, lowest, highest float64
	once                   bool
}

// reckon sums up what a contestant has used in the same rounds as ours.
func reckon(ours, c *contestant) line {
	l := line{
		name: c.name, command: commandLine(c.argv), prints: c.prints, once: c.once,
		wall:   milliseconds(c.rounds, func(u usage) time.Duration { return u.Wall }),
		user:   milliseconds(c.rounds, func(u usage) time.Duration { return u.User }),
		system: milliseconds(c.rounds, func(u usage) time.Duration { return u.System }),
	}
	for _, u := range c.rounds {
		l.rss = max(l.rss, float64(u.MaxRSS)/1e6)
	}
	var ratios []float64
	if c.once {
		ratios = []float64{l.wall / milliseconds(ours.rounds, func(u usage) time.Duration { return u.Wall })}
	} else {
		for i, u := range c.rounds {
			ratios = append(ratios, float64(u.Wall)/float64(ours.rounds[i].Wall))
		}
	}
	l.ratio, l.lowest, l.highest = median(ratios), slices.Min(ratios), slices.Max(ratios)
	return l
}

// milliseconds is the median of one of the times of the rounds.
func milliseconds(rounds []usage, which func(usage) time.Duration) float64 {
	var values []float64
	for _, u := range rounds {
		values = append(values, float64(which(u))/1e6)
	}
	return median(values)
}

// median returns the middle value, or the mean of the middle two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// commandLine is how a shell would be told, without the program's directory.
func commandLine(argv []string) string {
	words := []string{filepath.Base(argv[0])}
	for _, arg := range argv[1:] {
		if strings.ContainsAny(arg, ` "`) {
			arg = "'" + arg + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// metrics reports the ratios as the benchmark's result, in place of the time
// of a round, which says nothing.
func (o outcome) metrics(b *testing.B) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(o.lines[0].wall, "ms")
	b.ReportMetric(o.lines[0].rss, "MB")
	for _, l := range o.lines[1:] {
		b.ReportMetric(l.ratio, l.name+"/stray")
	}
}

// judge compares the ratios with the bars of this world.
func (o outcome) judge(b *testing.B, bars []bar) {
	for _, bar := range bars {
		if bar.world != o.scene.Name {
			continue
		}
		i := slices.IndexFunc(o.lines, func(l line) bool { return l.name == bar.peer })
		if i < 0 {
			missed(b, "%s is not there to be compared with", bar.peer)
		} else if ratio := o.lines[i].ratio; ratio < bar.least {
			missed(b, "stray is %.2f times as fast as %s, want %.1f", ratio, bar.peer, bar.least)
		}
	}
}

// print writes the table of one outcome.
func (o outcome) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s\n%d processes with %d descriptors each; rounds: %d\n", o.name, o.question, o.scene.Processes, o.scene.Descriptors, o.rounds)
	const format = "  %-58s %8s %8s %8s %9s %8s %8s %7s  %s\n"
	fmt.Fprintf(w, format, "", "× STRAY", "MIN", "MAX", "WALL ms", "USER", "SYSTEM", "RSS MB", "PRINTS")
	for _, l := range o.lines {
		ratio, lowest, highest := fmt.Sprintf("%.2f", l.ratio), fmt.Sprintf("%.2f", l.lowest), fmt.Sprintf("%.2f", l.highest)
		if l.once {
			ratio, lowest, highest = ratio+"*", "", ""
		}
		fmt.Fprintf(w, format, l.command, ratio, lowest, highest,
			fmt.Sprintf("%.1f", l.wall), fmt.Sprintf("%.1f", l.user), fmt.Sprintf("%.1f", l.system), fmt.Sprintf("%.1f", l.rss), l.prints)
	}
	if slices.ContainsFunc(o.lines, func(l line) bool { return l.once }) {
		fmt.Fprintf(w, "  * one run, for it takes more than %v\n", tooSlow)
	}
}

func TestReckon(t *testing.T) {
	run := func(wall ...time.Duration) (rounds []usage) {
		for _, d := range wall {
			rounds = append(rounds, usage{Wall: d * time.Millisecond, MaxRSS: int64(d) * 1e6})
		}
		return rounds
	}
	tool := command{argv: []string{"tool"}}
	ours := &contestant{command: tool, rounds: run(10, 20, 40)}
	peer := reckon(ours, &contestant{command: tool, rounds: run(100, 80, 80)})
	if peer.ratio != 4 || peer.lowest != 2 || peer.highest != 10 || peer.wall != 80 || peer.rss != 100 {
		t.Errorf("a peer in every round: %+v", peer)
	}
	slow := reckon(ours, &contestant{command: tool, rounds: run(6000), once: true})
	if slow.ratio != 300 || slow.lowest != 300 || slow.highest != 300 {
		t.Errorf("a peer that ran once: %+v", slow)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{3, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("median of %v: %v, want %v", test.values, got, test.want)
		}
	}
}
