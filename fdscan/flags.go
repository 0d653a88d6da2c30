package fdscan

import (
	"cmp"
	"strconv"

	"golang.org/x/sys/unix"
)

// flagNames are the status flags of open(2), in the order in which they are
// written. O_SYNC and O_TMPFILE contain the bits of others, which are not
// written beside them.
var flagNames = []struct {
	bits uint32
	name string
}{
	{unix.O_TMPFILE, "O_TMPFILE"},
	{unix.O_SYNC, "O_SYNC"},
	{unix.O_APPEND, "O_APPEND"},
	{unix.O_ASYNC, "O_ASYNC"},
	{unix.O_DIRECT, "O_DIRECT"},
	{unix.O_DIRECTORY, "O_DIRECTORY"},
	{unix.O_DSYNC, "O_DSYNC"},
	{unix.O_NOATIME, "O_NOATIME"},
	{unix.O_NOFOLLOW, "O_NOFOLLOW"},
	{unix.O_NONBLOCK, "O_NONBLOCK"},
	{unix.O_PATH, "O_PATH"},
}

// FlagNames are the access mode and the status flags, as open(2) names them; nil
// when they were not read. What has no name here is written in octal, as fdinfo
// does.
func (d *Descriptor) FlagNames() (names []string) {
	if d.Flags == nil {
		return nil
	}
	const largeFile = 0o100000 // O_LARGEFILE: set by the kernel on every open of a 64-bit program
	rest := *d.Flags &^ (unix.O_ACCMODE | unix.O_CLOEXEC | largeFile)
	if rest&unix.O_PATH == 0 {
		access := map[uint32]string{unix.O_RDONLY: "O_RDONLY", unix.O_WRONLY: "O_WRONLY", unix.O_RDWR: "O_RDWR"}[*d.Flags&unix.O_ACCMODE]
		names = append(names, cmp.Or(access, "O_ACCMODE"))
	}
	if d.Kind == PIDFD && rest&pidfdThread != 0 {
		names, rest = append(names, "PIDFD_THREAD"), rest&^pidfdThread
	}
	for _, f := range flagNames {
		if rest&f.bits == f.bits {
			names = append(names, f.name)
			rest &^= f.bits
		}
	}
	if rest != 0 {
		names = append(names, "0"+strconv.FormatUint(uint64(rest), 8))
	}
	return names
}
