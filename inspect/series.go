package inspect

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"stray/fdscan"
)

// MinLooks is how many looks at a table it takes to tell a leak from a pool that
// fills: two for each stretch of time.
const MinLooks = 2 * stretches

const (
	// stretches are parts of the time that was watched, each with as many looks.
	// What counts is the least number in each: what comes and goes under load
	// is gone for a moment, what leaks is not.
	stretches = 8
	// minRises is how often that number must rise from one stretch to the next,
	// of the seven times that it can.
	minRises = 5
)

// Trend is what the looks at a descriptor table come to.
type Trend struct {
	Looks int
	Over  time.Duration // from the first look to the last
	// First and Last are the numbers of descriptors.
	First, Last int
	// PerMinute is by how many they grow; 0 when they do not.
	PerMinute float64
	// Growths are what grows, the fastest first: as little of the table as
	// accounts for it.
	Growths []Growth
}

// Growth is a kind of descriptor that rises and never falls.
type Growth struct {
	// Item is what grows. Without a target it is all of a kind, without a kind
	// all descriptors together, where nothing smaller accounts for the rise.
	fdscan.Item
	First, Last int
	PerMinute   float64
	// Floors are the least numbers in each stretch of the time.
	Floors []int
	Over   time.Duration
}

// Rise is by how much the floor has risen.
func (g *Growth) Rise() int { return g.Floors[len(g.Floors)-1] - g.Floors[0] }

// TrendOf judges the looks at a table. With fewer than MinLooks nothing is known
// to grow.
func TrendOf(t *fdscan.Table) Trend {
	n := len(t.Looks)
	if n == 0 {
		return Trend{First: t.Open, Last: t.Open}
	}
	first, last := t.Looks[0], t.Looks[n-1]
	trend := Trend{Looks: n, Over: last.At.Sub(first.At), First: first.Open, Last: last.Open}
	at := make([]time.Time, n)
	all := make([]int, n)
	items, kinds := map[fdscan.Item][]int{}, map[fdscan.Item][]int{}
	count := func(counts map[fdscan.Item][]int, item fdscan.Item, look, n int) {
		if counts[item] == nil {
			counts[item] = make([]int, len(t.Looks))
		}
		counts[item][look] += n
	}
	for i, look := range t.Looks {
		at[i], all[i] = look.At, look.Open
		for item, n := range look.Items {
			count(items, item, i, n)
			count(kinds, fdscan.Item{Kind: item.Kind}, i, n)
		}
	}
	whole := growths(at, map[fdscan.Item][]int{{}: all})
	trend.Growths = narrow(whole, narrow(growths(at, kinds), growths(at, items)))
	for _, g := range whole {
		trend.PerMinute = g.PerMinute
	}
	if trend.PerMinute == 0 {
		for _, g := range trend.Growths {
			trend.PerMinute += g.PerMinute
		}
	}
	return trend
}

// UntilLimit is when so many descriptors are open that the limit is reached, if
// they grow on as they do; ok is false when they do not, or without a limit.
func (t *Trend) UntilLimit(limit uint64) (left time.Duration, ok bool) {
	if t.PerMinute <= 0 || limit == 0 || limit >= math.MaxInt64 {
		return 0, false
	}
	minutes := max(0, float64(limit)-float64(t.Last)) / t.PerMinute
	if minutes > float64(math.MaxInt64)/float64(time.Minute) {
		return 0, false
	}
	return time.Duration(minutes * float64(time.Minute)), true
}

// growths returns those of the sequences that grow.
func growths(at []time.Time, counts map[fdscan.Item][]int) (found []Growth) {
	for _, item := range slices.SortedFunc(maps.Keys(counts), compareItems) {
		// What fills at the beginning and grows after that shows in the second
		// half.
		c, half := counts[item], len(at)/2
		fall := deepestFall(c)
		g, ok := growth(at, c, fall)
		if !ok {
			g, ok = growth(at[half:], c[half:], fall)
		}
		if ok {
			g.Item = item
			found = append(found, g)
		}
	}
	return found
}

func compareItems(a, b fdscan.Item) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Target, b.Target))
}

// growth judges a sequence of numbers: it grows when its floor never falls,
// rises in most stretches of the time and in the last ones, has risen by more
// than the numbers have ever fallen in between, and does not slow down as what
// fills does.
func growth(at []time.Time, counts []int, fall int) (g Growth, ok bool) {
	n := len(counts)
	if n < MinLooks {
		return g, false
	}
	var middle [stretches]time.Time
	floors := make([]int, stretches)
	rises, last := 0, 0
	for i := range stretches {
		from, to := i*n/stretches, (i+1)*n/stretches
		floors[i], middle[i] = slices.Min(counts[from:to]), at[(from+to)/2]
		switch {
		case i == 0:
		case floors[i] < floors[i-1]:
			return g, false
		case floors[i] > floors[i-1]:
			rises, last = rises+1, i
		}
	}
	const half = stretches / 2
	early, late := floors[half]-floors[0], floors[stretches-1]-floors[half]
	if rises < minRises || last < stretches-2 || early+late < fall || 3*late < early {
		return g, false
	}
	slope := medianSlope(middle[:], floors)
	if slope <= 0 {
		return g, false
	}
	return Growth{First: counts[0], Last: counts[n-1], PerMinute: slope, Floors: floors, Over: at[n-1].Sub(at[0])}, true
}

// deepestFall is the most that a later number lies below an earlier one.
func deepestFall(counts []int) (deepest int) {
	high := counts[0]
	for _, n := range counts {
		high = max(high, n)
		deepest = max(deepest, high-n)
	}
	return deepest
}

// medianSlope is by how much a minute the floors rise: the median over all pairs
// of them (Theil and Sen), which a burst does not move.
func medianSlope(at []time.Time, floors []int) float64 {
	var slopes []float64
	for i := range floors {
		for j := range i {
			if minutes := at[i].Sub(at[j]).Minutes(); minutes > 0 {
				slopes = append(slopes, float64(floors[i]-floors[j])/minutes)
			}
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	return (slopes[(len(slopes)-1)/2] + slopes[len(slopes)/2]) / 2
}

// narrow replaces each growth by its parts where these account for most of it,
// and keeps the parts of what does not grow as a whole.
func narrow(wholes, parts []Growth) (found []Growth) {
	belongs := func(part, whole Growth) bool { return whole.Kind == "" || part.Kind == whole.Kind }
	left := slices.Clone(parts)
	for _, whole := range wholes {
		rise := 0
		for _, part := range parts {
			if belongs(part, whole) {
				rise += part.Rise()
			}
		}
		if 4*rise < 3*whole.Rise() {
			found = append(found, whole)
			left = slices.DeleteFunc(left, func(part Growth) bool { return belongs(part, whole) })
		}
	}
	found = append(found, left...)
	slices.SortStableFunc(found, func(a, b Growth) int { return cmp.Compare(b.PerMinute, a.PerMinute) })
	return found
}

// Words names what grows, in the plural: "tcp sockets to 10.0.0.5:5432".
func (g *Growth) Words() string { return itemWords(g.Item) }

func itemWords(i fdscan.Item) string {
	switch {
	case i.Kind == "":
		return "descriptors of several kinds"
	case isProtocol(i.Kind) && i.Target == "":
		return i.Kind + " sockets"
	case isProtocol(i.Kind):
		return i.Kind + " sockets " + i.Target
	case i.Kind == fdscan.AnySocket.Name:
		return "sockets that are neither bound nor connected"
	case i.Kind == fdscan.Pipe.Name:
		return "ends of pipes"
	case strings.HasSuffix(i.Target, "/…"):
		return "different files in " + strings.TrimSuffix(i.Target, "…")
	case strings.HasSuffix(i.Target, "/… (deleted)"):
		return "different deleted files in " + strings.TrimSuffix(i.Target, "… (deleted)")
	case i.Target != "":
		return "descriptors of " + i.Target
	}
	return fmt.Sprintf("descriptors of kind %s", i.Kind)
}

func isProtocol(kind string) bool {
	return slices.Contains([]fdscan.Protocol{fdscan.TCP, fdscan.UDP, fdscan.UDPLite, fdscan.MPTCP, fdscan.Unix}, fdscan.Protocol(kind))
}

// StableTarget is the target of an item, less a port that the kernel chose: that
// is another one after a restart.
func StableTarget(host fdscan.Host, target string) string {
	i := strings.LastIndexByte(target, ':')
	if port, err := strconv.ParseUint(target[i+1:], 10, 16); i >= 0 && err == nil && Ephemeral(host, uint16(port)) {
		return target[:i] + " *"
	}
	return target
}

// About writes a duration as people say it: "45s", "9m", "3h20m", "12d".
func About(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Round(time.Second).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Round(time.Minute).Minutes()))
	case d < 48*time.Hour:
		d = d.Round(time.Minute)
		if d%time.Hour == 0 {
			return fmt.Sprintf("%dh", d/time.Hour)
		}
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Rate writes a number a minute: as a whole one from ten on.
func Rate(perMinute float64) string {
	if perMinute >= 10 {
		return fmt.Sprintf("%.0f", perMinute)
	}
	return fmt.Sprintf("%.2g", perMinute)
}
