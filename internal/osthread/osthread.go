// Package osthread runs what changes a thread for good on one that is thrown away.
package osthread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Discard calls f on a thread that ends with it, and waits for it. What f makes
// of that thread, as entering a namespace (setns(2)) or tracing a process
// (ptrace(2)), ends with it too. The error is that of f.
func Discard(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread ends with the process only, and is what /proc/self
			// shows. As long as it is locked here, another goroutine is on another.
			defer runtime.UnlockOSThread()
			done <- Discard(f)
			return
		}
		// Never unlocked: the runtime ends the thread with the goroutine.
		done <- f()
	}()
	return <-done
}
