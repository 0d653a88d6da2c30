package fdscan

// EventFD is a counter (eventfd(2)).
var EventFD = registerKind(&Kind{
	Name: "eventfd", Title: "a counter (eventfd)", Says: "the count, its number, and whether it is a semaphore", Links: []string{"anon_inode:[eventfd]"},
	tell: func(_ *lister, d *Descriptor) string {
		semaphore := ""
		if d.detail("eventfd-semaphore") == "1" { // Linux 6.5
			semaphore = "a semaphore"
		}
		return sentence(labelled("count", fromHex(d.detail("eventfd-count"))), semaphore, labelled("id", d.detail("eventfd-id")))
	},
})
