package fdscan

import "strings"

// AnySocket is a socket of any family; the link tells its inode. Sockets of the
// families that have a kind of their own are narrowed to that.
var AnySocket = registerKind(&Kind{
	Name: "socket", Title: "a socket of another family", Says: "the name of its protocol, and what it says of itself", Links: []string{"socket:[*"},
	tell: tellNamed,
})

// tellNamed tells of a socket that no table lists what it says of itself.
func tellNamed(l *lister, d *Descriptor) string {
	return sentence(strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(d.protocol), "af_"), "v6"), l.askName(d))
}
