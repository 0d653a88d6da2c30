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

// maxLabels is how many labels within a function are passed over for its name.
const maxLabels = 64

// find returns the name of the function at the address, "" when not known: that of
// the symbol whose size includes the address, or else the last one before it that
// has no size, as those written in assembly.
func find(list []symbol, address uint64) string {
	i, found := slices.BinarySearchFunc(list, address, func(s symbol, a uint64) int { return cmp.Compare(s.address, a) })
	if !found {
		i--
	}
	label := ""
	for n := 0; i >= 0 && n < maxLabels; i, n = i-1, n+1 {
		s := list[i]
		if s.size != 0 {
			if address-s.address < s.size {
				return s.name
			}
			break
		}
		if label == "" {
			label = s.name
		}
	}
	return label
}

// isCode reports whether a symbol is one of code, and no mark of the assembler's.
func isCode(f *elf.File, s elf.Symbol) bool {
	if s.Name == "" || s.Name[0] == '$' || s.Section == elf.SHN_UNDEF {
		return false
	}
	switch elf.ST_TYPE(s.Info) {
	case elf.STT_FUNC, elf.STT_GNU_IFUNC:
		return true
	case elf.STT_NOTYPE:
		return int(s.Section) < len(f.Sections) && f.Sections[s.Section].Flags&elf.SHF_EXECINSTR != 0
	}
	return false
}

// readSymbols adds the functions of an ELF file to the list, and reports whether
// the file has more than those that it exports.
func readSymbols(f *elf.File, list []symbol) (all []symbol, own bool) {
	for _, table := range []struct {
		kind elf.SectionType
		read func() ([]elf.Symbol, error)
	}{{elf.SHT_SYMTAB, f.Symbols}, {elf.SHT_DYNSYM, f.DynamicSymbols}} {
		s := f.SectionByType(table.kind)
		if s == nil || s.Size > maxSymbols || uint64(s.Link) >= uint64(len(f.Sections)) || f.Sections[s.Link].Size > maxNames {
			continue
		}
		symbols, err := table.read()
		if err != nil {
			continue
		}
		for _, s := range symbols {
			if isCode(f, s) {
				list = append(list, symbol{s.Value, s.Size, s.Name})
				own = own || table.kind == elf.SHT_SYMTAB
			}
		}
	}
	// Of several names for an address, the plainest: open64 before __open64.
	slices.SortFunc(list, func(a, b symbol) int {
		return cmp.Or(cmp.Compare(a.address, b.address), -cmp.Compare(a.size, b.size), cmp.Compare(underscores(a.name), underscores(b.name)), cmp.Compare(a.name, b.name))
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
