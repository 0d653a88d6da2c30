package fdscan

import (
	"context"
	"errors"
	"time"
)

// patience is how long a fact about one process is waited for. What is read of
// a process's memory or program can hang for ever in the kernel: on a file
// server that is dead or hostile, or behind the lock of an address space.
const patience = time.Second

// errSlow is why a fact is missing that was waited for long enough.
var errSlow = errors.New("no answer within " + patience.String())

// within returns what f returns. When that takes too long, or ctx ends, ok is
// false and f is left alone: what it works on must be its own.
func within[T any](ctx context.Context, f func() T) (v T, ok bool) {
	done := make(chan T, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-done:
		return v, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return v, false
}
