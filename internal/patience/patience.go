// Package patience waits for what may never come. A file system that is served by
// a process (FUSE), or by a server, does not answer while that stands still; whoever
// has stopped it would wait for ever, and in the kernel, where no signal reaches.
package patience

import "time"

// Limit is how long Within waits: longer than a busy machine takes to do anything.
const Limit = 3 * time.Second

// Within returns what f returns, or false when that takes too long. Then f is left
// alone, what it works on must be its own, and late gets what it returns in the end.
func Within[T any](f func() T, late func(T)) (v T, ok bool) {
	done, over := make(chan T), make(chan struct{})
	go func() {
		v := f()
		select {
		case done <- v:
		case <-over:
			late(v)
		}
	}()
	timer := time.NewTimer(Limit)
	defer timer.Stop()
	select {
	case v = <-done:
		return v, true
	case <-timer.C:
		close(over)
		return v, false
	}
}
