package fdscan

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// walkers is how many threads read /proc: one for each processor, four at most,
// since all of them wait for the same locks of the kernel.
func walkers() int { return min(runtime.GOMAXPROCS(0), 4) }

// sideBySide calls f with each number below n, on as many threads as a walk.
func sideBySide(n int, f func(i int)) {
	const share = 16 // numbers that one takes at a time
	workers := min(walkers(), (n+share-1)/share)
	var next atomic.Int64
	run := func() {
		for {
			from := int(next.Add(share)) - share
			if from >= n {
				return
			}
			for i := from; i < min(from+share, n); i++ {
				f(i)
			}
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(run)
	}
	run()
	wg.Wait()
}
