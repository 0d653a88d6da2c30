package fdscan

import "golang.org/x/sys/unix"

// SocketFile is the file that a unix socket is bound to, which only O_PATH
// opens. It is not the socket.
var SocketFile = registerKind(&Kind{Name: "socket-file", Title: "the file that a unix socket is bound to, not the socket (O_PATH)", Of: Regular, narrows: ofFormat(unix.S_IFSOCK)})
