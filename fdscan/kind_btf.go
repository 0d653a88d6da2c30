package fdscan

// BTF is type information for the BPF machine.
var BTF = registerKind(&Kind{
	Name: "btf", Title: "type information for the BPF machine", Says: "its id", Links: []string{"anon_inode:btf", "anon_inode:[btf]"},
	tell: func(_ *lister, d *Descriptor) string { return labelled("id", d.detail("btf_id")) },
})
