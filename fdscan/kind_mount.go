package fdscan

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Mount is a mount that is in no place yet: fsmount(2), open_tree(2) with
// OPEN_TREE_CLONE. It looks like the root directory, opened with O_PATH.
var Mount = registerKind(&Kind{
	Name: "mount", Title: "a mount that is in no place (fsmount, open_tree)", Says: "the number of the mount", Of: Directory,
	narrows: func(l *lister, d *Descriptor) bool {
		return d.Link == "/" && d.Flags != nil && *d.Flags&unix.O_PATH != 0 && d.MountID != 0 && l.mounts(d).known() && l.mounts(d).byID[d.MountID] == nil
	},
	tell: func(_ *lister, d *Descriptor) string { return "mount " + strconv.Itoa(d.MountID) },
})
