// Package report tells what was found: one file for each format, each a pure
// function of a result.
package report

import (
	"cmp"
	"io"
	"maps"
	"slices"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

// Result is what a format tells.
type Result struct {
	Version string // of the program
	Command string // "who"
	Query   []string
	Answer  *inspect.Answer
}

// Style is how a text format looks.
type Style struct {
	// Headers are the names of columns.
	Headers bool
	// Color puts ANSI colours where they help.
	Color bool
	// Width is that of the terminal in columns, 0 for no limit.
	Width int
}

// Format is one way to tell a result.
type Format struct {
	Name  string
	Title string // what it is for, one line
	Write func(w io.Writer, r *Result, s Style) error
}

var formats []*Format

func register(f *Format) *Format {
	formats = append(formats, f)
	return f
}

// Formats returns every format, by name.
func Formats() []*Format {
	all := slices.Clone(formats)
	slices.SortFunc(all, func(a, b *Format) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Find returns the format with a name; nil when there is none.
func Find(name string) *Format {
	for _, f := range formats {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// reusePortGroups numbers the sets of sockets that share protocol, address and
// namespace, which only SO_REUSEPORT (or SO_REUSEADDR, for datagrams) allows.
func reusePortGroups(sockets []*inspect.Socket) map[*inspect.Socket]int {
	type key struct {
		netns    uint64
		protocol fdscan.Protocol
		address  string
	}
	byKey := map[key][]*inspect.Socket{}
	var order []key
	for _, s := range sockets {
		if !s.IsPort() || s.Protocol == fdscan.Unix {
			continue
		}
		k := key{s.NetNS, s.Protocol, s.Address()}
		if byKey[k] == nil {
			order = append(order, k)
		}
		byKey[k] = append(byKey[k], s)
	}
	groups := map[*inspect.Socket]int{}
	n := 0
	for _, k := range order {
		if len(byKey[k]) < 2 {
			continue
		}
		n++
		for _, s := range byKey[k] {
			groups[s] = n
		}
	}
	return groups
}

func sortedStates(counts map[fdscan.State]int) []fdscan.State {
	return slices.SortedFunc(maps.Keys(counts), func(a, b fdscan.State) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}
