package unwind

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
)

const (
	maxSegments  = 256
	maxSections  = 8192
	maxNameTable = 1 << 20
)

// image is what unwinding needs to know of an ELF file of 64 bits: where its
// bytes are in memory, relative to where it is loaded, and where its tables are.
type image struct {
	file     io.ReaderAt
	machine  uint16
	loads    []segment
	code     []segment // those of loads that can be executed
	frames   segment   // .eh_frame_hdr, by PT_GNU_EH_FRAME
	sections []section
	// index lists the descriptions of frames where the file has no table of them.
	index   []indexed
	scanned bool
}

// segment is a part of the file, and the address that it is meant for.
type segment struct{ offset, address, size uint64 }

// section is a segment with a name.
type section struct {
	name string
	segment
}

var (
	errImage = errors.New("not an ELF file of 64 bits, little-endian")
	errClass = errors.New("an ELF file of 32 bits")
)

// readImage reads the headers of an ELF file. Sections that cannot be read are
// left out: programs run without.
func readImage(file io.ReaderAt) (*image, error) {
	var head [64]byte
	if _, err := file.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	if string(head[:4]) == elf.ELFMAG && elf.Class(head[4]) == elf.ELFCLASS32 {
		return nil, errClass
	}
	if string(head[:4]) != elf.ELFMAG || elf.Class(head[4]) != elf.ELFCLASS64 || elf.Data(head[5]) != elf.ELFDATA2LSB {
		return nil, errImage
	}
	u16 := func(at int) uint64 { return uint64(binary.LittleEndian.Uint16(head[at:])) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(head[at:]) }
	i := &image{file: file, machine: uint16(u16(18))}
	if err := i.readSegments(u64(32), u16(54), min(u16(56), maxSegments)); err != nil {
		return nil, err
	}
	if n := u16(60); n <= maxSections {
		i.readSections(u64(40), u16(58), n, u16(62))
	}
	return i, nil
}

// table reads n entries of a size; they have at least the 56 or 64 bytes of the
// ELF version 1.
func table(file io.ReaderAt, offset, size, n, least uint64) ([]byte, error) {
	if n == 0 || size < least || size > 256 {
		return nil, errImage
	}
	b := make([]byte, size*n)
	_, err := file.ReadAt(b, int64(offset&(1<<62-1)))
	return b, err
}

func (i *image) readSegments(offset, size, n uint64) error {
	b, err := table(i.file, offset, size, n, 56)
	if err != nil {
		return err
	}
	for ; uint64(len(b)) >= size; b = b[size:] {
		c := cursor{b: b}
		kind := elf.ProgType(c.u32())
		flags := elf.ProgFlag(c.u32())
		s := segment{offset: c.u64(), address: c.u64()}
		c.u64() // p_paddr
		s.size = c.u64()
		switch kind {
		case elf.PT_LOAD:
			i.loads = append(i.loads, s)
			if flags&elf.PF_X != 0 {
				i.code = append(i.code, s)
			}
		case elf.PT_GNU_EH_FRAME:
			i.frames = s
		}
	}
	return nil
}

func (i *image) readSections(offset, size, n, namesIndex uint64) {
	b, err := table(i.file, offset, size, n, 64)
	if err != nil || namesIndex >= n {
		return
	}
	type header struct {
		name       uint32
		compressed bool
		section
	}
	var headers []header
	for ; uint64(len(b)) >= size; b = b[size:] {
		c := cursor{b: b}
		h := header{name: c.u32()}
		kind := elf.SectionType(c.u32())
		h.compressed = elf.SectionFlag(c.u64())&elf.SHF_COMPRESSED != 0
		h.address, h.offset, h.size = c.u64(), c.u64(), c.u64()
		if kind == elf.SHT_NOBITS {
			h.size = 0
		}
		headers = append(headers, h)
	}
	table := headers[namesIndex]
	if table.size > maxNameTable || table.compressed {
		return
	}
	names := make([]byte, table.size)
	if _, err := i.file.ReadAt(names, int64(table.offset&(1<<62-1))); err != nil {
		return
	}
	for _, h := range headers {
		if uint64(h.name) < table.size {
			c := cursor{b: names[h.name:]}
			h.section.name = c.text()
			i.sections = append(i.sections, h.section)
		}
	}
}

// section returns the first section that has one of the names.
func (i *image) section(names ...string) (section, bool) {
	for _, s := range i.sections {
		for _, name := range names {
			if s.name == name {
				return s, true
			}
		}
	}
	return section{}, false
}

// address returns where the code at the offset of the file is meant to be.
func (i *image) address(offset uint64) (uint64, bool) {
	for _, s := range i.code {
		if offset >= s.offset && offset-s.offset < s.size {
			return offset - s.offset + s.address, true
		}
	}
	return 0, false
}

// bias returns how far above the addresses that it is meant for the file is
// mapped, by the mapping of some of its code.
func (i *image) bias(m *mapping) (uint64, bool) {
	for _, s := range i.code {
		// The mapping begins with the page in which the segment does.
		if s.offset+s.size > m.offset && s.offset < m.offset+(m.end-m.start) {
			return m.start - m.offset + s.offset - s.address, true
		}
	}
	return 0, false
}

// read reads what is meant for the address, and returns how many bytes it got.
func (i *image) read(address uint64, into []byte) int {
	for _, s := range i.loads {
		if at := address - s.address; address >= s.address && at < s.size {
			into = into[:min(uint64(len(into)), s.size-at)]
			n, _ := i.file.ReadAt(into, int64((s.offset+at)&(1<<62-1)))
			return n
		}
	}
	return 0
}
