package fdscan

import (
	"slices"
	"strings"
	"sync"
)

// Kind is what a descriptor can refer to. Each kind is a value in a file of its
// own. It is chosen by what the link text says, which asks no file system; a
// kind that only the file itself tells narrows one that the link does.
type Kind struct {
	// Name is the kind as reports write it: "pipe", "eventfd".
	Name string
	// Title is what it is, in one line.
	Title string
	// Says is what Descriptor.Target tells of it; empty where the link says it
	// all.
	Says string
	// Links are the link texts, as the kernel writes them, that lead to this
	// kind. One that ends with "*" stands for all that begin so.
	Links []string
	// Of is the wider kind, for a kind that only the file itself, or a socket
	// table, tells; else nil.
	Of *Kind
	// narrows reports whether what is of kind Of is of this kind.
	narrows func(l *lister, d *Descriptor) bool
	// tell returns Descriptor.Target; nil for none.
	tell func(l *lister, d *Descriptor) string
}

// ofFormat narrows by the type of the file.
func ofFormat(format uint32) func(*lister, *Descriptor) bool {
	return func(_ *lister, d *Descriptor) bool { return d.format() == format }
}

// ofProtocol narrows a socket by the name of its protocol.
func ofProtocol(names ...string) func(*lister, *Descriptor) bool {
	return func(_ *lister, d *Descriptor) bool { return slices.Contains(names, d.protocol) }
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

// FindKind returns the kind with a name; nil when there is none.
func FindKind(name string) *Kind {
	for _, k := range kinds {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// anyFile counts, in Table.Kinds, what has a path and was not asked what it is.
const anyFile = "file"

// unasked is the name under which to count what only the link has told of.
func (k *Kind) unasked() string {
	if k == Regular {
		return anyFile
	}
	return k.Name
}

// UnaskedName is the name under which a survey counts, in Table.Kinds, what a list
// calls by the name of a kind: a survey asks no file what it is, and leaves
// sockets to their tables. A name that is no kind's is its own.
func UnaskedName(name string) string {
	k := FindKind(name)
	if k == nil {
		return name
	}
	for k.Of != nil && len(k.Links) == 0 {
		k = k.Of
	}
	return k.unasked()
}

// Is reports whether k is the kind other, or narrower than it. What has a path
// is taken for a regular file until the file is asked: of kinds that are told
// apart then, none is one.
func (k *Kind) Is(other *Kind) bool {
	for ; k != nil; k = k.Of {
		if k == other {
			return true
		}
		if k.Of == Regular {
			return false
		}
	}
	return false
}

// narrow chooses the narrowest kind, now that the file has been asked.
func (l *lister) narrow(d *Descriptor) {
	for again := true; again; {
		again = false
		for _, k := range kinds {
			if k.Of == d.Kind && k != d.Kind && k.narrows(l, d) {
				d.Kind, again = k, true
				break
			}
		}
	}
}

// links finds the kind that a link text leads to.
type links struct {
	whole    map[string]*Kind
	prefixes []linkPrefix // the longest first
}

type linkPrefix struct {
	text string
	kind *Kind
}

// kindLinks are the Links of all kinds.
var kindLinks = sync.OnceValue(func() links {
	l := links{whole: map[string]*Kind{}}
	for _, k := range kinds {
		for _, text := range k.Links {
			if prefix, ok := strings.CutSuffix(text, "*"); ok {
				l.prefixes = append(l.prefixes, linkPrefix{prefix, k})
			} else {
				l.whole[text] = k
			}
		}
	}
	slices.SortFunc(l.prefixes, func(a, b linkPrefix) int { return len(b.text) - len(a.text) })
	return l
})

// kindOf chooses the kind that a link text leads to.
func kindOf(link string) *Kind {
	l := kindLinks()
	if k := l.whole[link]; k != nil {
		return k
	}
	for _, p := range l.prefixes {
		if strings.HasPrefix(link, p.text) {
			return p.kind
		}
	}
	return Unknown
}

// KindOf returns the kind that the text of a link of /proc/PID/fd leads to.
func KindOf(link string) *Kind { return kindOf(link) }
