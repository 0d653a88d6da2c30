package fdscan

import (
	"context"
	"testing"
)

// What hangs is left alone, and everything else is done all the same, by as many
// workers as before.
func TestEachWithinLeavesWhatHangs(t *testing.T) {
	const n, workers = 100, 2
	release := make(chan struct{})
	defer close(release)
	hangs := func(i int) bool { return i == 3 || i == 50 || i == n-1 }
	answered := map[int]bool{}
	eachWithin(t.Context(), n, workers, func(i int) int {
		if hangs(i) {
			<-release
		}
		return 2 * i
	}, func(i, v int, ok bool) {
		if _, twice := answered[i]; twice || ok == hangs(i) || ok && v != 2*i {
			t.Errorf("%d: %d, %t", i, v, ok)
		}
		answered[i] = ok
	})
	if len(answered) != n {
		t.Errorf("%d of %d answered", len(answered), n)
	}
}

func TestEachWithinEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	left := 0
	eachWithin(ctx, 100, 2, func(i int) bool {
		if i == 1 {
			cancel()
		}
		<-release
		return true
	}, func(_ int, _, ok bool) {
		if !ok {
			left++
		}
	})
	if left != 100 {
		t.Errorf("%d were left, want all", left)
	}
	eachWithin(t.Context(), 0, 2, func(int) bool { return true }, func(int, bool, bool) { t.Error("nothing was taken") })
}
