package unwind

import (
	"cmp"
	"debug/elf"
	"slices"
	"strings"

	"github.com/ianlancetaylor/demangle"
)

// symbol is a function of a symbol table.
type symbol struct {
	address, size uint64
	name          string
}

// find returns the name of the function at the address, "" when not known.
func find(list []symbol, address uint64) string {
	i, found := slices.BinarySearchFunc(list, address, func(s symbol, a uint64) int { return cmp.Compare(s.address, a) })
	if !found {
		i--
	}
	if i < 0 || list[i].size != 0 && address-list[i].address >= list[i].size {
		return ""
	}
	return list[i].name
}

// readSymbols adds the functions of an ELF file to the list, and reports whether
// the file has more than those that it exports.
func readSymbols(f *elf.File, list []symbol) (all []symbol, own bool) {
	for kind, read := range map[elf.SectionType]func() ([]elf.Symbol, error){elf.SHT_SYMTAB: f.Symbols, elf.SHT_DYNSYM: f.DynamicSymbols} {
		s := f.SectionByType(kind)
		if s == nil || s.Size > maxSymbols || uint64(s.Link) >= uint64(len(f.Sections)) || f.Sections[s.Link].Size > maxNames {
			continue
		}
		symbols, err := read()
		if err != nil {
			continue
		}
		for _, s := range symbols {
			t := elf.ST_TYPE(s.Info)
			if (t == elf.STT_FUNC || t == elf.STT_GNU_IFUNC) && s.Section != elf.SHN_UNDEF && s.Name != "" {
				list = append(list, symbol{s.Value, s.Size, s.Name})
				own = own || kind == elf.SHT_SYMTAB
			}
		}
	}
	// Of several names for an address, the plainest: open64 before __open64.
	slices.SortFunc(list, func(a, b symbol) int {
		return cmp.Or(cmp.Compare(a.address, b.address), cmp.Compare(underscores(a.name), underscores(b.name)), cmp.Compare(a.name, b.name))
	})
	return slices.CompactFunc(list, func(a, b symbol) bool { return a.address == b.address }), own
}

func underscores(name string) int {
	n := 0
	for n < len(name) && name[n] == '_' {
		n++
	}
	return n
}

// mangled reports whether a symbol is one of C++ or Rust, which has the whole name
// of its function in it.
func mangled(symbol string) bool {
	return strings.HasPrefix(symbol, "_Z") || strings.HasPrefix(symbol, "_R")
}

// readable returns the name of a C++ or Rust function as the language writes it,
// without parameters, and any other as it is.
func readable(symbol string) string {
	// No one reads the longest names, and they are the dearest.
	if !mangled(symbol) || len(symbol) > 4096 {
		return symbol
	}
	options := []demangle.Option{demangle.NoParams, demangle.NoEnclosingParams, demangle.MaxLength(12)}
	if symbol[1] == 'Z' {
		// What these leave of a Rust name is none.
		options = append(options, demangle.NoTemplateParams)
	}
	return demangle.Filter(symbol, options...)
}
