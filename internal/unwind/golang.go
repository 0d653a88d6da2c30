package unwind

import (
	"encoding/binary"
	"strings"
)

// Magic numbers of the function table (internal/abi/symtab.go of Go). Programs of
// before Go 1.18 have another form of it.
const (
	magicGo118 = 0xfffffff0
	magicGo120 = 0xfffffff1
)

// Offsets in runtime.moduledata, of Go 1.20 to 1.26 (runtime/symtab.go).
const (
	moduleText   = 176
	moduleGoFunc = 320
	moduleSize   = 328
)

// Parts of a function's record (runtime/runtime2.go, type _func). There is no
// line of the function's start before Go 1.20.
const (
	recordName      = 4
	recordFrameSize = 16
	recordFile      = 20
	recordLine      = 24
	recordNPCData   = 28
	recordUnit      = 32
	recordNFuncData = 43
	recordSize      = 44
	recordStartLine = 4

	pcdataInline   = 2 // PCDATA_InlTreeIndex
	funcdataInline = 3 // FUNCDATA_InlTree
	inlinedSize    = 16
)

const (
	maxGoData     = 64 << 20 // bytes searched for runtime.moduledata
	maxGoInlined  = 64       // calls inlined into one place
	maxGoText     = 4096     // bytes of a name
	maxGoPCTable  = 1 << 20  // bytes of one table of values by address
	maxGoPCData   = 64       // tables of a function
	missingOffset = ^uint32(0)
)

// goTable is the function table of a Go program (pclntab), which tells frame
// sizes, names, lines and inlined calls, and is there without symbols too.
type goTable struct {
	image                           *image
	go120                           bool
	quantum                         uint64 // size of the shortest instruction
	functions                       uint64 // how many
	text, etext                     uint64 // where the code is
	names, units, files, pctab, tab uint64 // addresses of the parts
	funcdata                        uint64 // address; 0 when not known
}

// findGo returns the function table of an image that is loaded into the process
// of tid, bias above the addresses that its symbols count; nil when it has none.
func findGo(i *image, tid int, bias uint64) *goTable {
	s, ok := i.section(".gopclntab", ".data.rel.ro.gopclntab")
	if !ok {
		return nil
	}
	var head [72]byte
	if i.read(s.address, head[:]) < len(head) {
		return nil
	}
	c := cursor{b: head[:]}
	magic := c.u32()
	c.u16()
	g := &goTable{image: i, go120: magic == magicGo120, quantum: uint64(c.u8())}
	if pointer := c.u8(); magic != magicGo118 && magic != magicGo120 || pointer != 8 {
		return nil
	}
	g.functions = c.u64()
	c.u64() // how many files
	g.text = c.u64()
	g.names, g.units, g.files = s.address+c.u64(), s.address+c.u64(), s.address+c.u64()
	g.pctab, g.tab = s.address+c.u64(), s.address+c.u64()
	if g.functions == 0 || g.functions > s.size/8 {
		return nil
	}
	// The runtime's description of the module has the rest, but a program that can
	// be loaded anywhere has its addresses in memory only. Go 1.26 gave it a section,
	// and took the address of the code out of the table.
	if at, ok := findModule(i, tid, s.address, bias); ok {
		var b [moduleSize]byte
		if readMemory(tid, bias+at, b[:]) == len(b) {
			g.text = binary.LittleEndian.Uint64(b[moduleText:]) - bias
			if g.go120 {
				g.funcdata = binary.LittleEndian.Uint64(b[moduleGoFunc:]) - bias
			}
		}
	}
	if text, ok := i.section(".text"); ok && (g.text < text.address || g.text-text.address >= text.size) {
		g.text = text.address
	}
	// The table ends with the end of the last function.
	g.etext = g.text + uint64(g.u32(g.tab+8*g.functions))
	return g
}

// findModule returns the address of runtime.moduledata, which begins with that
// of the function table.
func findModule(i *image, tid int, table, bias uint64) (uint64, bool) {
	if s, ok := i.section(".go.module"); ok {
		return s.address, true
	}
	s, ok := i.section(".noptrdata")
	if !ok || s.size > maxGoData {
		return 0, false
	}
	var b [1 << 16]byte
	for done := uint64(0); done < s.size; {
		part := b[:min(uint64(len(b)), s.size-done)]
		got := readMemory(tid, bias+s.address+done, part)
		for at := 0; at+8 <= got; at += 8 {
			if binary.LittleEndian.Uint64(part[at:]) == bias+table {
				return s.address + done + uint64(at), true
			}
		}
		if got < len(part) {
			break
		}
		done += uint64(got)
	}
	return 0, false
}

// contains reports whether the code at the address is Go's.
func (g *goTable) contains(address uint64) bool {
	return g != nil && g.text <= address && address < g.etext
}

func (g *goTable) u32(address uint64) uint32 {
	var b [4]byte
	if g.image.read(address, b[:]) < len(b) {
		return 0
	}
	return binary.LittleEndian.Uint32(b[:])
}

// textAt returns the string at the address.
func (g *goTable) textAt(address uint64) string {
	var b [maxGoText]byte
	for size := 128; size <= len(b); size *= 4 {
		n := g.image.read(address, b[:min(size, len(b))])
		if s, _, ok := strings.Cut(string(b[:n]), "\x00"); ok {
			return s
		}
	}
	return ""
}

// goFunction is a function of the table.
type goFunction struct {
	entry    uint64 // address
	record   [recordSize]byte
	address  uint64 // of the record
	nPCData  uint64
	pcdata   uint64 // address of the list of tables
	funcdata uint64 // address of the list of data
}

func (f *goFunction) u32(at int) uint32 { return binary.LittleEndian.Uint32(f.record[at:]) }

// function returns the function that has the code at the address.
func (g *goTable) function(address uint64) (f goFunction, ok bool) {
	if !g.contains(address) {
		return f, false
	}
	offset := uint32(min(address-g.text, 1<<32-1))
	low, high := uint64(0), g.functions
	for low < high {
		middle := low + (high-low)/2
		if g.u32(g.tab+8*middle) <= offset {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return f, false
	}
	at := g.tab + 8*(low-1)
	f.entry = g.text + uint64(g.u32(at))
	f.address = g.tab + uint64(g.u32(at+4))
	if g.image.read(f.address, f.record[:]) < len(f.record) {
		return f, false
	}
	size, data := uint64(recordSize), f.record[recordNFuncData]
	if !g.go120 {
		size, data = size-recordStartLine, f.record[recordNFuncData-recordStartLine]
	}
	f.nPCData = min(uint64(f.u32(recordNPCData)), maxGoPCData)
	f.pcdata = f.address + size
	if data > funcdataInline {
		f.funcdata = f.pcdata + 4*f.nPCData
	}
	return f, true
}

// value returns what the table of values by address, at an offset in pctab, has
// for an address of f.
func (g *goTable) value(f *goFunction, offset uint32, address uint64) (int32, bool) {
	for size := 256; size <= maxGoPCTable; size *= 16 {
		b := make([]byte, size)
		b = b[:g.image.read(g.pctab+uint64(offset), b)]
		c := cursor{b: b}
		value, pc := int32(-1), f.entry
		for first := true; !c.bad; first = false {
			delta := uint32(c.uleb())
			if delta == 0 && !first {
				break
			}
			value += int32(delta>>1) ^ -int32(delta&1) // zigzag
			pc += c.uleb() * g.quantum
			if address < pc && !c.bad {
				return value, true
			}
		}
		if !c.bad || len(b) < size {
			break
		}
	}
	return 0, false
}

// frameSize returns how much the function has on the stack when it is at the
// address, without what the call of it pushed, in bytes.
func (g *goTable) frameSize(address uint64) (uint64, bool) {
	f, ok := g.function(address)
	if !ok {
		return 0, false
	}
	size, ok := g.value(&f, f.u32(recordFrameSize), address)
	return uint64(size), ok && size >= 0
}

// frames names the code at the address: the function, preceded by the calls that
// were inlined there.
func (g *goTable) frames(address uint64) []Frame {
	f, ok := g.function(address)
	if !ok {
		return nil
	}
	var frames []Frame
	pc := address
	for range maxGoInlined {
		name, parent, ok := g.inlined(&f, pc)
		if !ok {
			break
		}
		frame := Frame{Function: name, Inlined: true}
		frame.File, frame.Line = g.line(&f, pc)
		frames = append(frames, frame)
		pc = f.entry + uint64(parent)
	}
	last := Frame{Function: g.textAt(g.names + uint64(f.u32(recordName)))}
	last.File, last.Line = g.line(&f, pc)
	return append(frames, last)
}

// inlined returns the name of the innermost call that was inlined at the address,
// and an offset in f that belongs to where it was called.
func (g *goTable) inlined(f *goFunction, address uint64) (name string, parent uint32, ok bool) {
	if g.funcdata == 0 || f.funcdata == 0 || f.nPCData <= pcdataInline {
		return "", 0, false
	}
	offset := g.u32(f.pcdata + 4*pcdataInline)
	tree := g.u32(f.funcdata + 4*funcdataInline)
	if offset == 0 || tree == missingOffset {
		return "", 0, false
	}
	index, ok := g.value(f, offset, address)
	if !ok || index < 0 {
		return "", 0, false
	}
	at := g.funcdata + uint64(tree) + inlinedSize*uint64(index)
	name = g.textAt(g.names + uint64(g.u32(at+4)))
	return name, g.u32(at + 8), name != ""
}

// line returns the file and the line of the code at the address.
func (g *goTable) line(f *goFunction, address uint64) (string, int) {
	file, ok1 := g.value(f, f.u32(recordFile), address)
	line, ok2 := g.value(f, f.u32(recordLine), address)
	if !ok1 || !ok2 || file < 0 || line <= 0 {
		return "", 0
	}
	offset := g.u32(g.units + 4*(uint64(f.u32(recordUnit))+uint64(file)))
	if offset == missingOffset {
		return "", 0
	}
	return g.textAt(g.files + uint64(offset)), int(line)
}
