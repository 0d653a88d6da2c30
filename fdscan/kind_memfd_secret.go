package fdscan

// MemFDSecret is memory that even the kernel does not see: memfd_secret(2).
var MemFDSecret = registerKind(&Kind{Name: "memfd_secret", Title: "memory as a file that even the kernel does not see (memfd_secret)", Links: []string{"/secretmem (deleted)"}})
