package testenv

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// AsNobody calls f with the file access rights of user 65534, for this thread:
// of what f does, only what it does itself, and not in other goroutines, is
// subject to mode bits. It is for files, and not for what ptrace access
// decides: CAP_SYS_PTRACE remains. Anyone but root is nobody enough already.
func AsNobody(t testing.TB, f func()) {
	t.Helper()
	if unix.Geteuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// setfsuid(2) drops the capabilities that override mode bits, and takes
	// them back with the 0; it reports no errors, but the old id.
	const nobody = 65534
	set := func(id int) {
		unix.Setfsgid(id)
		unix.Setfsuid(id)
		if now, _ := unix.SetfsuidRetUid(-1); now != id {
			t.Fatalf("setfsuid to %d: it is %d", id, now)
		}
	}
	set(nobody)
	defer set(0)
	f()
}
