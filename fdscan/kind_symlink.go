package fdscan

import "golang.org/x/sys/unix"

// Symlink is a symbolic link itself, which only O_PATH with O_NOFOLLOW opens.
var Symlink = registerKind(&Kind{Name: "symlink", Title: "a symbolic link itself (O_PATH with O_NOFOLLOW)", Of: Regular, narrows: ofFormat(unix.S_IFLNK)})
