package fdscan

import (
	"context"
	"errors"
	"sync"
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

// eachWithin calls f with each number below n, by so many workers, and take with
// what it returns: in no particular order, but one at a time. Of what takes too
// long ok is false, as of all that is left when ctx ends; f is left alone then,
// and what it works on must be its own. For many short calls it costs less than
// within, which starts a goroutine for each.
func eachWithin[T any](ctx context.Context, n, workers int, f func(i int) T, take func(i int, v T, ok bool)) {
	var mu sync.Mutex // of all that follows
	next, left := 0, n
	began, settled := make([]time.Time, n), make([]bool, n)
	done := make(chan struct{})
	settle := func(i int, v T, ok bool) {
		settled[i] = true
		take(i, v, ok)
		if left--; left == 0 {
			close(done)
		}
	}
	start := func() (i int) {
		mu.Lock()
		defer mu.Unlock()
		if i = next; i < n {
			next++
			began[i] = time.Now()
		}
		return i
	}
	finish := func(i int, v T) (late bool) {
		mu.Lock()
		defer mu.Unlock()
		if late = settled[i]; !late {
			settle(i, v, true)
		}
		return late
	}
	work := func() {
		for i := start(); i < n; i = start() {
			if finish(i, f(i)) {
				return // another worker has taken the place of this one
			}
		}
	}
	if n == 0 {
		return
	}
	for range min(n, workers) {
		go work()
	}
	tick := time.NewTicker(patience / 8)
	defer tick.Stop()
	// abandon settles those that have begun before a time, and returns how many.
	abandon := func(before time.Time) (late int) {
		mu.Lock()
		defer mu.Unlock()
		for i := range next {
			if !settled[i] && began[i].Before(before) {
				var none T
				settle(i, none, false)
				late++
			}
		}
		return late
	}
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			for range abandon(now.Add(-patience)) {
				go work()
			}
		case <-ctx.Done():
			mu.Lock()
			next = n
			mu.Unlock()
			abandon(time.Now().Add(patience)) // all
			return
		}
	}
}
