package fdscan

// DMABuf is memory that devices share.
var DMABuf = registerKind(&Kind{
	Name: "dma-buf", Title: "memory that devices share (dma-buf)", Says: "size, exporter, and the name that a program has given it",
	Links: []string{"/dmabuf:*", "anon_inode:dmabuf"},
	tell: func(_ *lister, d *Descriptor) string {
		size := d.detail("size")
		if size != "" {
			size += " B"
		}
		return sentence(size, labelled("of", d.detail("exp_name")), d.detail("name"))
	},
})
