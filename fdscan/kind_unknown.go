package fdscan

// Unknown is a file of a kind that stray does not know: a row all the same.
var Unknown = registerKind(&Kind{Name: "unknown", Title: "a kind of file that this version does not know"})

// Unreadable is a descriptor whose link may not be read.
var Unreadable = registerKind(&Kind{Name: "unreadable", Title: "a descriptor that may not be looked at"})
