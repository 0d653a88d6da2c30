package fdscan

import "golang.org/x/sys/unix"

// Directory is an open directory.
var Directory = registerKind(&Kind{
	Name: "directory", Title: "a directory", Of: Regular,
	narrows: ofFormat(unix.S_IFDIR), Says: "the server that it is on, if it is on one", tell: (*lister).onServer,
})
