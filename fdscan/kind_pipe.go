package fdscan

// Pipe is one end of a pipe (pipe(7)); the link tells its inode.
var Pipe = registerKind(&Kind{
	Name: "pipe", Title: "one end of a pipe; its peers are those at the other end", Says: "that nobody has the other end, if so", Links: []string{"pipe:[*"},
	tell: func(_ *lister, d *Descriptor) string {
		switch {
		case d.lonely:
			return "no process has the other end"
		case d.unseen:
			return "nobody who could be seen has the other end"
		}
		return ""
	},
})
