package fdscan

// Unknown is a file of a kind that stray does not know: a row all the same.
var Unknown = registerKind(&Kind{Name: "unknown", Title: "a kind of file that this version does not know; the link says its name"})
