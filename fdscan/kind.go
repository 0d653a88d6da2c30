package fdscan

import (
	"slices"
	"strings"
)

// Kind is what a descriptor can refer to. Each kind is a value in a file of its
// own, and is chosen by what the link text says: a dead file system is never
// asked.
type Kind struct {
	// Name is the kind as reports write it: "pipe", "eventfd".
	Name string
	// Title is what it is, in one line.
	Title string
	// Claims reports whether a link text, as the kernel wrote it, leads to this
	// kind; nil for a kind that only the file itself can tell.
	Claims func(link string) bool
}

var kinds []*Kind

func registerKind(k *Kind) *Kind {
	kinds = append(kinds, k)
	return k
}

// Kinds returns every kind, by name.
func Kinds() []*Kind {
	all := slices.Clone(kinds)
	slices.SortFunc(all, func(a, b *Kind) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// kindOf chooses the kind that a link text leads to.
func kindOf(link string) *Kind {
	for _, k := range kinds {
		if k.Claims != nil && k.Claims(link) {
			return k
		}
	}
	return Unknown
}

// KindOf returns the kind that the text of a link of /proc/PID/fd leads to.
func KindOf(link string) *Kind { return kindOf(link) }

// anonymous is the claim of a kind whose files are anonymous inodes of a name:
// "anon_inode:[eventfd]", or "anon_inode:inotify" without brackets.
func anonymous(name string) func(link string) bool {
	return func(link string) bool {
		rest, ok := strings.CutPrefix(link, "anon_inode:")
		return ok && (rest == name || rest == "["+name+"]")
	}
}

// byPrefix is the claim of a kind whose link texts begin alike.
func byPrefix(prefix string) func(link string) bool {
	return func(link string) bool { return strings.HasPrefix(link, prefix) }
}
