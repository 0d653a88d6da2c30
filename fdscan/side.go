package fdscan

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// sideBySide calls f with each number below n, on as many threads as a walk.
func sideBySide(n int, f func(i int)) {
	const share = 64 // numbers that one takes at a time
	workers := min(runtime.GOMAXPROCS(0), 4, (n+share-1)/share)
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
