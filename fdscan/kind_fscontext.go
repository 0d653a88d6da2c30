package fdscan

// FSContext is a mount in the making: fsopen(2), fspick(2).
var FSContext = registerKind(&Kind{Name: "fscontext", Title: "a mount in the making (fsopen, fspick)", Links: []string{"anon_inode:[fscontext]"}})
