package fdscan

// FUSE is the connection of a file server in user space to the kernel.
var FUSE = registerKind(&Kind{
	Name: "fuse", Title: "a file server's connection to the kernel (/dev/fuse)", Says: "the number of the connection", Links: []string{"/dev/fuse"}, Of: Character,
	narrows: miscDevice("fuse"),
	tell: func(_ *lister, d *Descriptor) string {
		if id := d.detail("fuse_connection"); id != "" { // Linux 6.17
			return "connection " + id
		}
		return ""
	},
})
