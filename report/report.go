// Package report tells what was found: one file for each format, each a pure
// function of a result.
package report

import (
	"cmp"
	"fmt"
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
	// Outcome is what every command comes to; never nil.
	Outcome *inspect.Outcome
	// Answer is that of who, and holds Outcome; nil for other commands.
	Answer *inspect.Answer
	// Connections is that of conns, and holds Outcome; nil for other commands.
	Connections *inspect.Connections
	// Listed are the descriptors that the user wants to see (scan --fds), by
	// process, thread and number; nil when a command lists none.
	Listed []*fdscan.Descriptor
}

// NewAnswer returns the result of who.
func NewAnswer(version string, query []string, a *inspect.Answer) *Result {
	return &Result{Version: version, Command: "who", Query: query, Outcome: &a.Outcome, Answer: a}
}

// question is what was asked, as it was written on the command line.
func (r *Result) question() string {
	words := slices.Clone(r.Query)
	for _, pid := range r.Outcome.Asked.PIDs {
		words = append(words, fmt.Sprintf("-p %d", pid))
	}
	return strings.Join(slices.Concat(words, newAsked(r.Outcome).flags()), " ")
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
	// Append has a file keep what it holds already.
	Append bool
	// Lists reports that it tells of Result.Listed.
	Lists bool
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

// reusePortGroup is a set of sockets that share one address.
type reusePortGroup struct {
	number int // from 1
	size   int // members that are shown
}

// reusePortGroups finds the sets of sockets that share protocol, address and
// namespace. Where a member is known to lack SO_REUSEPORT, they share the
// address by SO_REUSEADDR, and are none.
func reusePortGroups(sockets []*inspect.Socket) map[*inspect.Socket]reusePortGroup {
	type key struct {
		netns    uint64
		protocol fdscan.Protocol
		address  string
	}
	members := map[key][]*inspect.Socket{}
	var order []key
	for _, s := range sockets {
		if !s.IsPort() || s.Protocol == fdscan.Unix {
			continue
		}
		k := key{s.NetNS, s.Protocol, s.Address()}
		if members[k] == nil {
			order = append(order, k)
		}
		members[k] = append(members[k], s)
	}
	groups := map[*inspect.Socket]reusePortGroup{}
	number := 0
	for _, k := range order {
		lacks := func(s *inspect.Socket) bool { return s.ReusePort != nil && !*s.ReusePort }
		if len(members[k]) < 2 || slices.ContainsFunc(members[k], lacks) {
			continue
		}
		number++
		for _, s := range members[k] {
			groups[s] = reusePortGroup{number, len(members[k])}
		}
	}
	return groups
}

func sortedStates(counts map[fdscan.State]int) []fdscan.State {
	return slices.SortedFunc(maps.Keys(counts), func(a, b fdscan.State) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}
