package fdscan

import (
	"fmt"
	"strconv"
	"strings"
)

// IOUring is an io_uring instance (io_uring(7)).
var IOUring = registerKind(&Kind{
	Name: "io_uring", Title: "an io_uring instance", Says: "the sizes of its rings, and the registered files", Links: []string{"anon_inode:[io_uring]"},
	tell: func(_ *lister, d *Descriptor) string {
		var files []string
		for _, f := range d.Details {
			if slot, ok := strings.CutPrefix(f.Name, "UserFiles "); ok && f.Value != "<none>" {
				files = append(files, "slot "+slot+" "+unescapeMount(f.Value))
			}
		}
		registered := "no registered files"
		switch {
		case d.detail("UserFiles") == "":
			registered = "its registered files were locked" // see readRing
		case len(files) > 0:
			registered = "registered: " + several(files, func(s string) string { return s })
		}
		return sentence(ringSize("submission", d.detail("SqMask")), ringSize("completion", d.detail("CqMask")), registered)
	},
})

// ringSize reads a mask such as 0x7, which is one less than the entries.
func ringSize(name, mask string) string {
	n, err := strconv.ParseUint(mask, 0, 32)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d %s entries", n+1, name)
}
