package fdscan

// UserFaultFD handles page faults (userfaultfd(2)).
var UserFaultFD = registerKind(&Kind{
	Name: "userfaultfd", Title: "a handler of page faults (userfaultfd)", Says: "how many faults are pending, and how many there are in all", Links: []string{"anon_inode:[userfaultfd]"},
	tell: func(_ *lister, d *Descriptor) string {
		return sentence(labelled("pending", d.detail("pending")), labelled("total", d.detail("total")))
	},
})
