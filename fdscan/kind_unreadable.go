package fdscan

// Unreadable is a descriptor whose link may not be read.
var Unreadable = registerKind(&Kind{Name: "unreadable", Title: "a descriptor that may not be looked at; the reason is with it"})
