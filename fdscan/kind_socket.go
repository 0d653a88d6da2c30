package fdscan

// AnySocket is a socket of any family; the link tells its inode.
var AnySocket = registerKind(&Kind{Name: "socket", Title: "a socket", Claims: byPrefix("socket:[")})
