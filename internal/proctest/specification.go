package proctest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// specification says what an operation is, and how it is done: exactly one of
// expand, compile and run is set.
type specification struct {
	name        string // the first word of usage
	usage, text string
	min, max    int // number of arguments; max is -1 for any
	options     []string
	block       bool // it takes a body
	process     bool // its body or its program is another process
	last        bool // nothing can follow it
	// admits reports whether an operation can stand in its body; nil means any.
	admits func(inner *specification) bool
	// expand returns the operations that it is short for, as a script.
	expand func(op *operation) string
	// compile returns the operation as system calls, and changes the table as
	// they will.
	compile func(t *table, op *operation) (program, error)
	// run does what system calls prepared beforehand cannot.
	run func(r *role, op *operation) error
}

// specifications are the words of the language. They are filled in by the
// files of the operations.
var specifications = map[string]*specification{}

// define enters an operation.
func define(spec *specification) *specification {
	spec.name, _, _ = strings.Cut(spec.usage, " ")
	if specifications[spec.name] != nil {
		panic("proctest: two specifications of " + spec.name)
	}
	specifications[spec.name] = spec
	return spec
}

// Language describes the operations, one paragraph each.
func Language() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(specifications)) {
		spec := specifications[name]
		fmt.Fprintf(&b, "%s\n    %s\n", spec.usage, spec.text)
	}
	return b.String()
}
