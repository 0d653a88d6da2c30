package fdscan

import "golang.org/x/sys/unix"

// FIFO is a named pipe (fifo(7)).
var FIFO = registerKind(&Kind{Name: "fifo", Title: "a named pipe; its peers are those at the other end", Of: Regular, narrows: ofFormat(unix.S_IFIFO)})
