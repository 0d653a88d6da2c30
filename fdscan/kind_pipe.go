package fdscan

// Pipe is one end of a pipe (pipe(7)); the link tells its inode.
var Pipe = registerKind(&Kind{Name: "pipe", Title: "one end of a pipe; its peers are those at the other end", Links: []string{"pipe:[*"}})
