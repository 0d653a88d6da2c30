package testenv

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// WithoutBPF calls f without the capabilities that loading a BPF program takes, for
// this thread: of what f does, only what it does itself, and not in other
// goroutines, lacks them.
func WithoutBPF(t testing.TB, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all [2]unix.CapUserData
	if err := unix.Capget(&header, &all[0]); err != nil {
		t.Fatal(err)
	}
	fewer := all
	for _, capability := range []int{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_ADMIN} {
		fewer[capability/32].Effective &^= 1 << (capability % 32)
	}
	set := func(data *[2]unix.CapUserData) {
		if err := unix.Capset(&header, &data[0]); err != nil {
			t.Fatal(err)
		}
	}
	set(&fewer)
	defer set(&all)
	f()
}
