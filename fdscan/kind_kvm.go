package fdscan

import "strings"

// KVM is the hypervisor: the device, a virtual machine, or one of its processors.
var KVM = registerKind(&Kind{
	Name: "kvm", Title: "the hypervisor: /dev/kvm, a virtual machine, a processor of one", Says: "which of them",
	Links: []string{"/dev/kvm", "anon_inode:kvm-*", "anon_inode:[kvm-*"},
	tell: func(_ *lister, d *Descriptor) string {
		switch part := strings.Trim(strings.TrimPrefix(d.Link, "anon_inode:"), "[]"); {
		case part == "kvm-vm":
			return "a virtual machine"
		case part == "kvm-gmem":
			return "memory of a guest"
		case strings.HasPrefix(part, "kvm-vcpu:"):
			return "processor " + strings.TrimPrefix(part, "kvm-vcpu:") + " of a virtual machine"
		}
		return ""
	},
})
