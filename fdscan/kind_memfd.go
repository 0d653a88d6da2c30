package fdscan

// MemFD is memory that memfd_create(2) has made a file of. It never has a name,
// so that Descriptor.Deleted says nothing.
var MemFD = registerKind(&Kind{Name: "memfd", Title: "memory as a file (memfd_create)", Links: []string{"/memfd:*"}})
