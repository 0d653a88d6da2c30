package fdscan

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace keeps a namespace (namespaces(7)): the link tells it, or, where a
// file was opened that it is mounted on (as "ip netns" does), the file system.
var Namespace = registerKind(&Kind{
	Name: "namespace", Title: "a namespace", Says: "which namespace, and whether the process, or you, are in it",
	Links: []string{"cgroup:[*", "ipc:[*", "mnt:[*", "net:[*", "pid:[*", "time:[*", "user:[*", "uts:[*"}, Of: Regular,
	narrows: func(l *lister, d *Descriptor) bool {
		return d.format() == unix.S_IFREG && d.Device != 0 && d.Device == l.namespaceDevice()
	},
	tell: func(l *lister, d *Descriptor) string {
		link, text := d.Link, ""
		if strings.HasPrefix(link, "/") {
			m := l.mounts(d).byID[d.MountID]
			if m == nil {
				return ""
			}
			link = m.root // net:[4026532310]
			text = link + ", "
		}
		name, _, _ := strings.Cut(link, ":[")
		text += name + " namespace"
		if mine, _ := os.Readlink(l.path("thread-self/ns", name)); mine == link {
			text += ", that of this command"
		}
		if theirs, _ := os.Readlink(l.processPath(d, "ns/"+name)); theirs == link {
			text += ", that of the process"
		}
		return text
	},
})

// namespaceDevice is the device number of nsfs; 0 when it cannot be told.
func (l *lister) namespaceDevice() uint64 {
	if !l.nsfsKnown {
		l.nsfsKnown = true
		l.nsfs = exeID(l.path("thread-self/ns/net")).Device
	}
	return l.nsfs
}
