package proctest

import (
	"fmt"
	"slices"
	"strconv"
)

// entry is a descriptor that a role has made or inherited.
type entry struct {
	Name string
	FD   int
	// Kind is the operation that made it, such as "listen".
	Kind string
}

// table is the descriptors of a process by the names its script gives them.
// The last is what an operation means that names none.
type table []entry

// add notes a descriptor. Without a name it gets that of its kind, with a
// number from the second one on: listen, listen2, listen3.
func (t *table) add(name, kind string, fd int) error {
	if name == "" {
		name = t.unused(kind)
	} else if t.has(name) {
		return fmt.Errorf("there is a descriptor named %q already", name)
	}
	*t = append(*t, entry{Name: name, FD: fd, Kind: kind})
	return nil
}

// unused returns a name for the next descriptor of a kind.
func (t table) unused(kind string) string {
	name := kind
	for n := 2; t.has(name); n++ {
		name = kind + strconv.Itoa(n)
	}
	return name
}

func (t table) has(name string) bool {
	return slices.ContainsFunc(t, func(e entry) bool { return e.Name == name })
}

// find returns the descriptor of a name or number; an empty word means the last.
func (t table) find(word string) (*entry, error) {
	if word == "" {
		if len(t) == 0 {
			return nil, fmt.Errorf("there is no descriptor")
		}
		return &t[len(t)-1], nil
	}
	for i := range t {
		if t[i].Name == word || strconv.Itoa(t[i].FD) == word {
			return &t[i], nil
		}
	}
	return nil, fmt.Errorf("there is no descriptor %q", word)
}

// findAll resolves words, of which none means the last descriptor.
func (t table) findAll(words []string) ([]entry, error) {
	if len(words) == 0 {
		words = []string{""}
	}
	var found []entry
	for _, word := range words {
		e, err := t.find(word)
		if err != nil {
			return nil, err
		}
		found = append(found, *e)
	}
	return found, nil
}

// remove forgets the descriptor with this number.
func (t *table) remove(fd int) {
	*t = slices.DeleteFunc(*t, func(e entry) bool { return e.FD == fd })
}

// first returns the first of the words, or the empty one.
func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}
