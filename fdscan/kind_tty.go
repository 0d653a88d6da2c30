package fdscan

import (
	"strings"

	"golang.org/x/sys/unix"
)

// TTY is a terminal that is not a pseudoterminal: a virtual console, a serial
// line, or the controlling terminal through /dev/tty.
var TTY = registerKind(&Kind{
	Name: "tty", Title: "a terminal: a console, a serial line, or /dev/tty", Says: "major and minor number, and the driver", Of: Character,
	narrows: func(l *lister, d *Descriptor) bool {
		major, minor := unix.Major(d.Number), unix.Minor(d.Number)
		const consoles = 4 // tty0, tty1 …, ttyS0 …
		return major == consoles || major == auxiliaryMajor && minor != ptmxMinor || strings.HasPrefix(l.driver(d), "tty")
	},
	tell: (*lister).tellDevice,
})
