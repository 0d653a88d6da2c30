package fdscan

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// SignalFD receives signals (signalfd(2)).
var SignalFD = registerKind(&Kind{
	Name: "signalfd", Title: "a receiver of signals (signalfd)", Says: "the names of the signals", Links: []string{"anon_inode:[signalfd]"},
	tell: func(_ *lister, d *Descriptor) string {
		mask, err := strconv.ParseUint(d.detail("sigmask"), 16, 64)
		switch {
		case err != nil:
			return ""
		case mask == 0:
			return "no signals"
		}
		return strings.Join(signalNames(mask), " ")
	},
})

// signalNames are the signals of a set: bit n-1 is signal n. The C library keeps
// the first two real-time signals, 32 and 33, so that SIGRTMIN is 34.
func signalNames(mask uint64) (names []string) {
	const realTime = 34
	for n := range 64 {
		if mask&(1<<n) == 0 {
			continue
		}
		signal := n + 1
		name := unix.SignalName(unix.Signal(signal))
		switch {
		case name != "":
		case signal >= realTime:
			name = fmt.Sprintf("SIGRTMIN+%d", signal-realTime)
		default:
			name = strconv.Itoa(signal)
		}
		names = append(names, strings.TrimSuffix(name, "+0"))
	}
	return names
}
