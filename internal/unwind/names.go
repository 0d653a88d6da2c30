package unwind

import (
	"debug/dwarf"
	"debug/elf"
	"io"
	"strings"
)

const (
	// maxNamed is how many places of a module are kept with their names.
	maxNamed = 1 << 14
	// maxDebugInfo bounds the debugging information of a file, decompressed, and
	// maxAbbreviations the part of it that takes many times its size in memory.
	// Programs that have more are named by their symbols.
	maxDebugInfo     = 256 << 20
	maxAbbreviations = 16 << 20
	// maxSymbols bounds a symbol table, of 24 bytes for each, and maxNames the names
	// in it.
	maxSymbols = 32 << 20
	maxNames   = 128 << 20
)

// names is what a module knows of the names of its code.
type names struct {
	symbols []symbol
	lines   *dwarf.Data // nil: no line information
	named   map[uint64][]Frame
}

// frames returns the frames of a call: one, preceded by those that were inlined
// into it; none for what the compiler made to adapt a call.
func (l *library) frames(p place) []Frame {
	m := p.module
	if frames, ok := m.names.named[p.address]; ok {
		return frames
	}
	var frames []Frame
	switch {
	case m.image == nil:
		frames = []Frame{{}}
	case m.golang.contains(p.address):
		frames = m.golang.frames(p.address)
	default:
		guarded(func() { frames = l.native(m, p.address) })
	}
	l.settle(m)
	if frames == nil {
		frames = []Frame{{}}
	}
	for i := range frames {
		frames[i].Module, frames[i].Offset = m.path, p.address
	}
	if m.names.named == nil || len(m.names.named) >= maxNamed {
		m.names.named = map[uint64][]Frame{}
	}
	m.names.named[p.address] = frames
	return frames
}

// native names code by the module's symbols and debugging information.
func (l *library) native(m *module, address uint64) []Frame {
	if !m.namesRead {
		m.namesRead = true
		guarded(func() { l.readNames(m) })
	}
	var frames []Frame
	if m.names.lines != nil {
		guarded(func() { frames = lines{m.names.lines}.frames(address) })
	}
	if frames == nil {
		frames = []Frame{{}}
	}
	// A lambda is only "operator()" to the debugging information.
	symbol := find(m.names.symbols, address)
	if last := &frames[len(frames)-1]; last.Function == "" || mangled(symbol) {
		last.Function = readable(symbol)
	}
	return frames
}

// guarded calls f, and ends it where it panics. The packages of the standard
// library that read ELF and DWARF say of themselves that they do for files that
// are made for it. All of them, and what makes names readable, are called by it.
func guarded(f func()) {
	defer func() { _ = recover() }()
	f()
}

// readNames reads what the file of the module has, and what a separate file of
// debugging information adds to it.
func (l *library) readNames(m *module) {
	if !m.names.read(m.image.file) || m.names.lines == nil {
		l.withDebugFile(m, func(file io.ReaderAt) { m.names.read(file) })
	}
}

// read adds what an ELF file knows, and reports whether it has a symbol table.
func (n *names) read(file io.ReaderAt) bool {
	// debug/elf believes what a file says of the table of sections and of their names,
	// and reads it whole. Here these are known to be small.
	if i, err := readImage(file); err != nil || len(i.sections) == 0 {
		return false
	}
	f, err := elf.NewFile(file)
	if err != nil {
		return false
	}
	for _, s := range f.Sections {
		switch s.Type {
		case elf.SHT_GNU_VERSYM, elf.SHT_REL, elf.SHT_RELA:
			// Versions of symbols, and relocations, which linked programs have no use for,
			// would be read at any size: to debug/elf there are none.
			s.Type = elf.SHT_NULL
		}
	}
	var own bool
	if n.symbols, own = readSymbols(f, n.symbols); n.lines != nil {
		return own
	}
	size := uint64(0)
	for _, s := range f.Sections {
		switch {
		case strings.HasPrefix(s.Name, ".zdebug_"):
			// Compressed in the way of before 2015: how large it is no one knows before.
			return own
		case strings.HasPrefix(s.Name, ".debug_"):
			size += min(s.Size, maxDebugInfo+1) // no sum of sizes is trusted not to overflow
		}
	}
	info, abbreviations := f.Section(".debug_info"), f.Section(".debug_abbrev")
	if info == nil || info.Type == elf.SHT_NOBITS || abbreviations == nil || abbreviations.Size > maxAbbreviations || size > maxDebugInfo {
		return own
	}
	n.lines, _ = f.DWARF()
	return own
}
