package fdscan

import (
	"strings"

	"golang.org/x/sys/unix"
)

// The numbers of pseudoterminals (admin-guide/devices.txt of the kernel).
const (
	auxiliaryMajor = 5 // /dev/tty, /dev/console, /dev/ptmx
	ptmxMinor      = 2
	ptsFirstMajor  = 136
	ptsLastMajor   = 143
)

// PTY is one end of a pseudoterminal (pty(7)).
var PTY = registerKind(&Kind{
	Name: "pty", Title: "one end of a pseudoterminal; its peers are those at the other end", Says: "which end, and the number of the terminal", Of: Character,
	narrows: func(_ *lister, d *Descriptor) bool {
		major, minor := unix.Major(d.Number), unix.Minor(d.Number)
		return major == auxiliaryMajor && minor == ptmxMinor || major >= ptsFirstMajor && major <= ptsLastMajor
	},
	tell: func(_ *lister, d *Descriptor) string {
		if index := d.detail("tty-index"); index != "" { // Linux 4.13; masters only
			return "master of /dev/pts/" + index
		}
		if strings.HasSuffix(d.Link, "ptmx") {
			return "master"
		}
		return "slave"
	},
})
