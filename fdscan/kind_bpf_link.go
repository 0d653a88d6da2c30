package fdscan

// BPFLink attaches a BPF program to something.
var BPFLink = registerKind(&Kind{
	Name: "bpf-link", Title: "what attaches a BPF program", Says: "type, id, and program", Links: []string{"anon_inode:bpf_link", "anon_inode:bpf-link", "anon_inode:[bpf_link]"},
	tell: func(_ *lister, d *Descriptor) string {
		return sentence(d.detail("link_type"), labelled("id", d.detail("link_id")), labelled("program", d.detail("prog_id")))
	},
})
