package fdscan

// Regular is a file with a path. That the path leads to something else, only
// the file itself tells.
var Regular = registerKind(&Kind{
	Name: "regular", Title: "a regular file", Links: []string{"/*"},
	Says: "the server that it is on, if it is on one", tell: (*lister).onServer,
})
