package unwind

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

const (
	// maxEntry bounds a common information or frame description entry. The longest
	// are those of huge generated functions: some ten kilobytes.
	maxEntry = 1 << 20
	// maxScan bounds the .eh_frame of a file that has no search table.
	maxScan = 32 << 20
)

// Encodings of pointers: Linux Standard Base Core, DWARF Exception Header Encoding.
const (
	encodedAbsolute = 0x00
	encodedULEB     = 0x01
	encodedU16      = 0x02
	encodedU32      = 0x03
	encodedU64      = 0x04
	encodedSLEB     = 0x09
	encodedS16      = 0x0a
	encodedS32      = 0x0b
	encodedS64      = 0x0c

	encodedFormat   = 0x0f
	encodedRelation = 0x70
	encodedRelative = 0x10 // to the pointer itself
	encodedTable    = 0x30 // to the search table
	encodedIndirect = 0x80
	encodedOmitted  = 0xff
)

// pointer reads an encoded pointer that begins at the address.
func (c *cursor) pointer(encoding uint8, address uint64) uint64 {
	var v uint64
	switch encoding & encodedFormat {
	case encodedAbsolute, encodedU64, encodedS64:
		v = c.u64()
	case encodedULEB:
		v = c.uleb()
	case encodedSLEB:
		v = uint64(c.sleb())
	case encodedU16:
		v = uint64(c.u16())
	case encodedS16:
		v = uint64(int16(c.u16()))
	case encodedU32:
		v = uint64(c.u32())
	case encodedS32:
		v = uint64(int32(c.u32()))
	default:
		c.bad = true
	}
	switch encoding &^ encodedFormat {
	case 0:
	case encodedRelative:
		v += address
	default:
		c.bad = true
	}
	return v
}

// description is a frame description entry with what its common information
// entry says.
type description struct {
	start, end   uint64 // addresses of code
	codeAlign    uint64
	dataAlign    int64
	ra           uint64 // column of the return address
	signal       bool   // the frame of a signal handler's return
	encoding     uint8
	common       []byte // instructions of the common entry
	instructions []byte
}

// entry reads the entry at the address: its bytes after the length, and their
// address. The entries of .eh_frame have lengths of 32 bits.
func (i *image) entry(address uint64) (c cursor, at uint64, ok bool) {
	var head [4]byte
	if i.read(address, head[:]) < len(head) {
		return cursor{}, 0, false
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n < 4 || n > maxEntry {
		return cursor{}, 0, false
	}
	b := make([]byte, n)
	if i.read(address+4, b) < len(b) {
		return cursor{}, 0, false
	}
	return cursor{b: b}, address + 4, true
}

// describe reads the frame description entry at the address.
func (i *image) describe(address uint64) (d description, ok bool) {
	c, at, ok := i.entry(address)
	if !ok {
		return d, false
	}
	length := uint64(len(c.b))
	distance := uint64(c.u32())
	if distance == 0 {
		return d, false // a common information entry
	}
	common, _, ok := i.entry(at - distance)
	if !ok || !d.parseCommon(common) {
		return d, false
	}
	here := func() uint64 { return at + length - uint64(len(c.b)) }
	d.start = c.pointer(d.encoding, here())
	// The length of the code has the format of a pointer, and is relative to nothing.
	d.end = d.start + c.pointer(d.encoding&encodedFormat, 0)
	if d.augmented() {
		c.take(c.uleb())
	}
	d.instructions = c.b
	return d, !c.bad && d.start < d.end
}

// augmented reports whether the entries have augmentation data, the amount of
// which they tell.
func (d *description) augmented() bool { return d.encoding != encodedOmitted }

// parseCommon reads a common information entry.
func (d *description) parseCommon(c cursor) bool {
	if c.u32() != 0 {
		return false
	}
	version := c.u8()
	augmentation := c.text()
	switch version {
	case 1, 3:
	case 4:
		if c.u8() != 8 || c.u8() != 0 { // sizes of an address, and of a segment selector
			return false
		}
	default:
		return false
	}
	d.codeAlign = c.uleb()
	d.dataAlign = c.sleb()
	if version == 1 {
		d.ra = uint64(c.u8())
	} else {
		d.ra = c.uleb()
	}
	augmentation, ok := strings.CutPrefix(augmentation, "z")
	if !ok {
		// Entries of compilers before 2001; those of today have all that follows.
		return false
	}
	data := cursor{b: c.take(c.uleb())}
	d.encoding = encodedAbsolute
	for _, letter := range augmentation {
		switch letter {
		case 'R':
			d.encoding = data.u8()
		case 'L': // encoding of the language's data
			data.u8()
		case 'P': // the language's routine
			e := data.u8()
			data.pointer(e&encodedFormat, 0)
		case 'S':
			d.signal = true
		case 'B', 'G': // arm64: the other key signs return addresses; memory is tagged
		default:
			return false
		}
	}
	d.common = c.b
	return !c.bad && !data.bad && d.encoding&encodedIndirect == 0
}

// find returns the description of the frames of the code at the address.
func (i *image) find(address uint64) (d description, ok bool) {
	at, ok := i.search(address)
	if !ok {
		return d, false
	}
	d, ok = i.describe(at)
	return d, ok && d.start <= address && address < d.end
}

// search returns where the description is that the code at the address would
// have: the last one that begins before it, by the table of .eh_frame_hdr.
func (i *image) search(address uint64) (uint64, bool) {
	var b [12]byte
	// Version 1; encodings of the pointer to .eh_frame, of the count, of the table.
	if i.frames.size < 12 || i.read(i.frames.address, b[:]) < len(b) ||
		b[0] != 1 || b[1]&encodedFormat != encodedS32 || b[2] != encodedU32 || b[3] != encodedTable|encodedS32 {
		return i.searchIndex(address)
	}
	c := cursor{b: b[8:]}
	n := min(uint64(c.u32()), (i.frames.size-12)/8)
	base := i.frames.address
	entry := func(k uint64) (code, description uint64) {
		var b [8]byte
		i.read(base+12+8*k, b[:])
		c := cursor{b: b[:]}
		return base + uint64(int32(c.u32())), base + uint64(int32(c.u32()))
	}
	low, high := uint64(0), n
	for low < high {
		middle := low + (high-low)/2
		if code, _ := entry(middle); code <= address {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return 0, false
	}
	_, at := entry(low - 1)
	return at, true
}

// indexed is a description of an .eh_frame without a search table.
type indexed struct{ start, at uint64 }

// searchIndex is search for a file that has no table of its own.
func (i *image) searchIndex(address uint64) (uint64, bool) {
	if !i.scanned {
		i.scanned = true
		i.index = i.scan()
	}
	n, found := slices.BinarySearchFunc(i.index, address, func(e indexed, a uint64) int { return cmp.Compare(e.start, a) })
	if !found {
		n--
	}
	if n < 0 {
		return 0, false
	}
	return i.index[n].at, true
}

// scan lists the descriptions of the section .eh_frame.
func (i *image) scan() (index []indexed) {
	s, ok := i.section(".eh_frame")
	if !ok || s.size > maxScan {
		return nil
	}
	for at := s.address; at-s.address < s.size; {
		var head [4]byte
		if i.read(at, head[:]) < len(head) {
			break
		}
		n := uint64(binary.LittleEndian.Uint32(head[:]))
		if n == 0 || n > maxEntry {
			break
		}
		if d, ok := i.describe(at); ok {
			index = append(index, indexed{d.start, at})
		}
		at += 4 + n
	}
	slices.SortFunc(index, func(a, b indexed) int { return cmp.Compare(a.start, b.start) })
	return index
}
