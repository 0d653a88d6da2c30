package fdscan

import "golang.org/x/sys/unix"

// TmpFile is a regular file that was made without a name: open(2) with O_TMPFILE.
var TmpFile = registerKind(&Kind{
	Name: "tmpfile", Title: "a regular file that was made without a name (O_TMPFILE)", Of: Regular,
	narrows: func(_ *lister, d *Descriptor) bool {
		return d.format() == unix.S_IFREG && d.Flags != nil && *d.Flags&unix.O_TMPFILE == unix.O_TMPFILE
	},
})
