package inspect_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"stray/fdscan"
	"stray/inspect"
)

// began is when the looks of tests begin.
var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// pipes and dials are what tables of tests hold.
var (
	pipes = fdscan.Item{Kind: "pipe"}
	dials = fdscan.Item{Kind: "tcp", Target: "to 10.0.0.5:5432"}
)

// looked returns a table that was looked at once a second, and held so many of
// each item, besides ten files.
func looked(counts map[fdscan.Item][]int) *fdscan.Table {
	t := &fdscan.Table{Process: &fdscan.Process{PID: 10, Comm: "server"}, Limit: 1024}
	for item, sequence := range counts {
		for i, n := range sequence {
			if i == len(t.Looks) {
				t.Looks = append(t.Looks, fdscan.Look{At: began.Add(time.Duration(i) * time.Second), Open: 10, Items: map[fdscan.Item]int{{Kind: "regular"}: 10}})
			}
			t.Looks[i].Open += n
			if n > 0 {
				t.Looks[i].Items[item] = n
			}
			t.Open = t.Looks[i].Open
		}
	}
	return t
}

// sequence is f of 0 to n-1.
func sequence(n int, f func(i int) int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = f(i)
	}
	return s
}

func TestTrendOfSequences(t *testing.T) {
	const n = 40
	for name, tt := range map[string]struct {
		counts    []int
		perMinute float64 // 0 for what does not grow
	}{
		"nothing":                    {counts: sequence(n, func(int) int { return 5 })},
		"two points":                 {counts: []int{5, 500}},
		"fifteen points":             {counts: sequence(15, func(i int) int { return 5 * i })},
		"one each second":            {sequence(n, func(i int) int { return i }), 60},
		"one each four seconds":      {sequence(n, func(i int) int { return i / 4 }), 15},
		"under load that comes":      {sequence(n, func(i int) int { return 4*i + 30*(i%3) }), 240},
		"and goes, too much to tell": {counts: sequence(n, func(i int) int { return i/4 + 90*(i%3) })},
		"a pool fills and stays":     {counts: sequence(n, func(i int) int { return min(3*i, 60) })},
		"a pool fills in a step":     {counts: sequence(n, func(i int) int { return map[bool]int{true: 50}[i > 17] })},
		"a pool fills, then a leak":  {sequence(n, func(i int) int { return min(8*i, 80) + i }), 60},
		"a sawtooth, collected":      {counts: sequence(n, func(i int) int { return i % 20 * 3 })},
		"falls":                      {counts: sequence(n, func(i int) int { return 200 - 3*i })},
		"rises and falls":            {counts: sequence(n, func(i int) int { return min(i, n-i) })},
		"falls once, a little":       {sequence(n, func(i int) int { return 3*i - 4*(i/33) }), 180},
		"one burst":                  {sequence(n, func(i int) int { return i + map[bool]int{true: 20}[i == 13] }), 60},
		"three in all":               {counts: sequence(n, func(i int) int { return i / 12 })},
		"ends early":                 {counts: sequence(n, func(i int) int { return min(i, 25) })},
	} {
		trend := inspect.TrendOf(looked(map[fdscan.Item][]int{pipes: tt.counts}))
		if grows := len(trend.Growths) > 0; grows != (tt.perMinute > 0) {
			t.Errorf("%s: growths %+v", name, trend.Growths)
			continue
		}
		if tt.perMinute == 0 {
			continue
		}
		if g := trend.Growths[0]; len(trend.Growths) != 1 || g.Item != pipes || math.Abs(g.PerMinute-tt.perMinute) > tt.perMinute/5 {
			t.Errorf("%s: growths %+v, want %v a minute", name, trend.Growths, tt.perMinute)
		}
	}
}

// As little of a table as accounts for the rise is named.
func TestGrowthIsNarrowedDown(t *testing.T) {
	const n = 40
	rising := func(every int) []int { return sequence(n, func(i int) int { return 5 + i/every }) }
	flat := sequence(n, func(int) int { return 20 })
	from := func(host int) fdscan.Item {
		return fdscan.Item{Kind: "tcp", Target: fmt.Sprintf("to 10.0.0.%d:80", host)}
	}
	spread := map[fdscan.Item][]int{}
	for host := range n {
		spread[from(host)] = sequence(n, func(i int) int { return map[bool]int{true: 1}[i >= host] })
	}
	everything := map[fdscan.Item][]int{}
	for kind := range n {
		everything[fdscan.Item{Kind: fmt.Sprint("kind", kind)}] = sequence(n, func(i int) int { return map[bool]int{true: 1}[i >= kind] })
	}
	for name, tt := range map[string]struct {
		counts map[fdscan.Item][]int
		want   []fdscan.Item
	}{
		"one target":                 {map[fdscan.Item][]int{dials: rising(1), from(1): flat, pipes: flat}, []fdscan.Item{dials}},
		"two kinds":                  {map[fdscan.Item][]int{dials: rising(1), pipes: rising(2)}, []fdscan.Item{dials, pipes}},
		"many targets of one kind":   {spread, []fdscan.Item{{Kind: "tcp"}}},
		"many kinds":                 {everything, []fdscan.Item{{}}},
		"while another kind falls":   {map[fdscan.Item][]int{dials: rising(1), pipes: sequence(n, func(i int) int { return 100 - i })}, []fdscan.Item{dials}},
		"while a target of it falls": {map[fdscan.Item][]int{dials: rising(1), from(1): sequence(n, func(i int) int { return 100 - 2*i })}, []fdscan.Item{dials}},
	} {
		trend := inspect.TrendOf(looked(tt.counts))
		var got []fdscan.Item
		for _, g := range trend.Growths {
			got = append(got, g.Item)
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestUntilLimit(t *testing.T) {
	trend := inspect.TrendOf(looked(map[fdscan.Item][]int{pipes: sequence(41, func(i int) int { return i })}))
	if trend.First != 10 || trend.Last != 50 || trend.Over != 40*time.Second || trend.Looks != 41 {
		t.Errorf("%+v", trend)
	}
	for limit, want := range map[uint64]time.Duration{110: time.Minute, 50: 0, 20: 0} {
		left, ok := trend.UntilLimit(limit)
		if !ok || left < want-time.Second || left > want+time.Second {
			t.Errorf("limit %d: %v, %v, want %v", limit, left, ok, want)
		}
	}
	for _, limit := range []uint64{0, math.MaxUint64} {
		if left, ok := trend.UntilLimit(limit); ok {
			t.Errorf("limit %d: %v", limit, left)
		}
	}
	flat := inspect.TrendOf(looked(map[fdscan.Item][]int{pipes: make([]int, 40)}))
	if left, ok := flat.UntilLimit(1024); ok {
		t.Errorf("nothing grows, and the limit is reached in %v", left)
	}
}

// noise is what programs without a leak do.
var noise = map[string]func(r *rand.Rand, n int) []int{
	// Requests come at random and last a random time: as many as there were
	// leave, sooner or later.
	"requests": func(r *rand.Rand, n int) []int {
		now, most := r.IntN(20), 1+r.IntN(200)
		return sequence(n, func(int) int {
			for range most / 10 {
				if r.IntN(most) >= now {
					now++
				} else {
					now--
				}
			}
			return now
		})
	},
	"independent": func(r *rand.Rand, n int) []int {
		most := 1 + r.IntN(100)
		return sequence(n, func(int) int { return r.IntN(most) })
	},
	"a pool": func(r *rand.Rand, n int) []int {
		size, full, busy := 1+r.IntN(100), 1+r.IntN(n*6/10), 1+r.IntN(5)
		return sequence(n, func(i int) int { return min(size, size*i/full) + r.IntN(busy) })
	},
	"collected": func(r *rand.Rand, n int) []int {
		period, slope, phase := 2+r.IntN(n/2), 1+r.IntN(5), r.IntN(n)
		return sequence(n, func(i int) int { return (i + phase) % period * slope })
	},
}

// What does not leak is hardly ever accused, and what leaks always, at about its
// rate, whatever the program does besides.
func TestTrendOfRandomSequences(t *testing.T) {
	const n, tries = 40, 2000
	for name, make := range noise {
		r := rand.New(rand.NewPCG(1, 2)) // each its own: a map has no order
		accused, missed, wrong := 0, 0, 0
		for range tries {
			quiet := make(r, n)
			if len(inspect.TrendOf(looked(map[fdscan.Item][]int{pipes: quiet})).Growths) > 0 {
				accused++
			}
			if name == "collected" {
				continue // with a leak besides it is neither the one nor the other
			}
			// A leak that in the time watched exceeds what comes and goes.
			span := 0
			for _, c := range quiet {
				span = max(span, c)
			}
			slope := 1 + span/5
			trend := inspect.TrendOf(looked(map[fdscan.Item][]int{pipes: sequence(n, func(i int) int { return quiet[i] + slope*i })}))
			switch {
			case len(trend.Growths) == 0:
				missed++
			case math.Abs(trend.PerMinute/60-float64(slope)) > float64(slope)/2:
				wrong++
			}
		}
		t.Logf("%s: of %d, %d accused; with a leak %d missed, %d of a wrong rate", name, tries, accused, missed, wrong)
		if accused > tries/200 || missed > tries/100 || wrong > tries/50 {
			t.Errorf("%s: of %d, %d accused; with a leak %d missed, %d of a wrong rate", name, tries, accused, missed, wrong)
		}
	}
}

// Whatever the looks, the parts of a trend agree with each other.
func FuzzTrendOf(f *testing.F) {
	f.Add([]byte("aabbccddeeffgghhiijjkkll"))
	f.Fuzz(func(t *testing.T, data []byte) {
		counts := map[fdscan.Item][]int{
			pipes: sequence(len(data), func(i int) int { return int(data[i]) }),
			dials: sequence(len(data), func(i int) int { return int(data[len(data)-1-i]) }),
		}
		table := looked(counts)
		trend := inspect.TrendOf(table)
		if trend.Last != table.Open && len(data) > 0 || trend.PerMinute < 0 {
			t.Errorf("%+v", trend)
		}
		for _, g := range trend.Growths {
			if len(table.Looks) < inspect.MinLooks || g.PerMinute <= 0 || g.Rise() < 5 || g.Last < g.Floors[0] {
				t.Errorf("%+v", g)
			}
		}
		if left, ok := trend.UntilLimit(1 << 20); ok && left < 0 {
			t.Errorf("%v", left)
		}
	})
}
