package fdscan

// Regular is a file with a path. That the path leads to something else, only
// the file itself tells.
var Regular = registerKind(&Kind{
	Name: "regular", Title: "a regular file", Links: []string{"/*"},
	Says: "the type of its file system, unless that is one of a disk",
	tell: func(l *lister, d *Descriptor) string { return l.unusualFileSystem(d) },
})
