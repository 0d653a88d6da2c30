package fdscan

// Regular is a file with a path. What the path leads to (a directory, a device,
// a FIFO) only the file itself tells.
var Regular = registerKind(&Kind{Name: "regular", Title: "a regular file", Claims: byPrefix("/")})
