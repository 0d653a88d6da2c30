package unwind

import (
	"cmp"
	"debug/elf"
	"slices"
)

const (
	// maxSymbolTable bounds the symbols of a file, with their names.
	maxSymbolTable = 256 << 20
	// maxNamed is how many places of a module are kept with their names.
	maxNamed = 1 << 14
)

// names tells the names of calls.
type names struct{}

// moduleNames is what a module knows of the names of its code.
type moduleNames struct {
	symbols []symbol
	named   map[uint64][]Frame
}

// symbol is a function of a symbol table.
type symbol struct {
	address, size uint64
	name          string
}

// frames returns the frames of a call: one, preceded by those that were inlined
// into it.
func (n *names) frames(l *library, c call) []Frame {
	m := c.module
	if m.image == nil {
		return []Frame{{Module: m.path, Offset: c.address}}
	}
	if m.names == nil {
		m.names = &moduleNames{named: map[uint64][]Frame{}}
		m.names.symbols = readSymbols(m.image)
	}
	if frames, ok := m.names.named[c.address]; ok {
		return frames
	}
	var frames []Frame
	if m.golang.contains(c.address) {
		frames = m.golang.frames(c.address)
	}
	if frames == nil {
		frames = []Frame{{Function: m.names.symbol(c.address)}}
	}
	for i := range frames {
		frames[i].Module, frames[i].Offset = m.path, c.address
	}
	if len(m.names.named) >= maxNamed {
		clear(m.names.named)
	}
	m.names.named[c.address] = frames
	return frames
}

// symbol returns the name of the function at the address, "" when not known.
func (n *moduleNames) symbol(address uint64) string {
	i, found := slices.BinarySearchFunc(n.symbols, address, func(s symbol, a uint64) int { return cmp.Compare(s.address, a) })
	if !found {
		i--
	}
	if i < 0 {
		return ""
	}
	s := n.symbols[i]
	if s.size != 0 && address-s.address >= s.size {
		return ""
	}
	return s.name
}

// readSymbols lists the functions of the symbol tables of a file, by address.
func readSymbols(i *image) (list []symbol) {
	f, err := elf.NewFile(i.file)
	if err != nil {
		return nil
	}
	for _, read := range []func() ([]elf.Symbol, error){f.Symbols, f.DynamicSymbols} {
		symbols, err := read()
		if err != nil {
			continue
		}
		for _, s := range symbols {
			kind := elf.ST_TYPE(s.Info)
			if (kind == elf.STT_FUNC || kind == elf.STT_GNU_IFUNC) && s.Section != elf.SHN_UNDEF && s.Name != "" {
				list = append(list, symbol{s.Value, s.Size, s.Name})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b symbol) int { return cmp.Compare(a.address, b.address) })
	return slices.CompactFunc(list, func(a, b symbol) bool { return a.address == b.address })
}
