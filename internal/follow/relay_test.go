package follow

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A SIGCONT is for the command when a SIGTSTP was, and once.
func TestRelayContinues(t *testing.T) {
	r := &relay{pidfd: -1}
	for _, signal := range []unix.Signal{unix.SIGCONT, unix.SIGTSTP, unix.SIGTERM, unix.SIGCONT, unix.SIGCONT} {
		r.came(signal, false)
	}
	r.came(unix.SIGTSTP, true) // of a terminal
	r.came(unix.SIGCONT, false)
	if want := []unix.Signal{unix.SIGTSTP, unix.SIGTERM, unix.SIGCONT}; !slices.Equal(r.early, want) {
		t.Errorf("passed on: %v, want %v", r.early, want)
	}
}
