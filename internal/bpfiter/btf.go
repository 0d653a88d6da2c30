package bpfiter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// btfFile describes the types of the running kernel (CONFIG_DEBUG_INFO_BTF), in
// the format that Documentation/bpf/btf.rst tells.
const btfFile = "/sys/kernel/btf/vmlinux"

// The kinds of types: enum in linux/btf.h.
const (
	kindInt       = 1
	kindArray     = 3
	kindStruct    = 4
	kindUnion     = 5
	kindEnum      = 6
	kindFunc      = 12
	kindFuncProto = 13
	kindVar       = 14
	kindDataSec   = 15
	kindDeclTag   = 17
	kindEnum64    = 19
)

// trailing is how many bytes follow a type of a kind: for each of its elements,
// and once.
var trailing = [32]struct{ each, once int }{
	kindInt: {0, 4}, kindArray: {0, 12}, kindStruct: {12, 0}, kindUnion: {12, 0}, kindEnum: {8, 0},
	kindFuncProto: {8, 0}, kindVar: {0, 4}, kindDataSec: {12, 0}, kindDeclTag: {0, 4}, kindEnum64: {12, 0},
}

const (
	typeSize   = 12 // struct btf_type, and struct btf_member
	headerSize = 24 // struct btf_header
	stride     = 64 // types between two whose place is kept
)

// errBTF is what is not as the format has it.
var errBTF = errors.New("parse " + btfFile + ": malformed")

// btf is a description of types. It is read where it lies: of the 5 MB a look
// needs a few structures only.
type btf struct {
	types, names []byte
	// places are where every 64th type begins: a member tells its type by number.
	places []int
}

// mapBTF makes the description of the running kernel's types readable. The kernel
// lets it be mapped since Linux 6.16; before, it is read, which takes 8 ms.
func mapBTF() (data []byte, release func(), err error) {
	f, err := os.Open(btfFile)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE); err == nil {
		return data, func() { _ = unix.Munmap(data) }, nil
	}
	data, err = os.ReadFile(btfFile)
	return data, func() {}, err
}

// parseBTF finds the parts of data.
func parseBTF(data []byte) (*btf, error) {
	const magic = 0xeb9f
	if len(data) < headerSize || binary.LittleEndian.Uint16(data) != magic {
		return nil, errBTF
	}
	field := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(data[i:])) }
	header := field(4)
	part := func(offset, length uint64) ([]byte, bool) {
		from, to := header+offset, header+offset+length
		if to > uint64(len(data)) {
			return nil, false
		}
		return data[from:to], true
	}
	types, ok1 := part(field(8), field(12))
	names, ok2 := part(field(16), field(20))
	if !ok1 || !ok2 {
		return nil, errBTF
	}
	return &btf{types: types, names: names, places: make([]int, 0, 1<<12)}, nil
}

// typeAt is what stands at the head of every type.
type typeAt struct {
	name       uint32 // where it is in names; 0 for none
	kind       int
	elements   int
	bitOffsets bool // members tell the width of a bit field too
	size       uint32
	next       int // where the next type begins
}

func (b *btf) at(place int) (t typeAt, ok bool) {
	if place+typeSize > len(b.types) {
		return t, false
	}
	info := binary.LittleEndian.Uint32(b.types[place+4:])
	t = typeAt{
		name: binary.LittleEndian.Uint32(b.types[place:]), size: binary.LittleEndian.Uint32(b.types[place+8:]),
		kind: int(info >> 24 & 0x1f), elements: int(info & 0xffff), bitOffsets: info>>31 != 0,
	}
	after := trailing[t.kind]
	t.next = place + typeSize + after.once + after.each*t.elements
	return t, t.next <= len(b.types)
}

// is reports whether the name at a place in names is the one given.
func (b *btf) is(name uint32, wanted string) bool {
	end := int(name) + len(wanted)
	return end < len(b.names) && b.names[end] == 0 && string(b.names[name:end]) == wanted
}

// named is a type that is looked for by its name.
type named struct {
	name  string
	kind  int
	id    uint32 // 0 when it has not been found
	place int
}

// find goes over all types once, and fills in the first of each name.
func (b *btf) find(wanted []*named) error {
	// Of 100,000 names few begin with two letters that one of the wanted does.
	letters := func(name string) uint8 { return name[0]*31 + name[1] }
	var maybe [256]bool
	for _, w := range wanted {
		maybe[letters(w.name)] = true
	}
	id := uint32(1) // 0 is void
	for place := 0; place < len(b.types); id++ {
		if len(b.types) < place+typeSize {
			return errBTF
		}
		if (id-1)%stride == 0 {
			b.places = append(b.places, place)
		}
		name, info := binary.LittleEndian.Uint32(b.types[place:]), binary.LittleEndian.Uint32(b.types[place+4:])
		kind := int(info >> 24 & 0x1f)
		if (kind == kindStruct || kind == kindFunc) && int(name)+1 < len(b.names) && maybe[b.names[name]*31+b.names[name+1]] {
			for _, w := range wanted {
				if w.id == 0 && w.kind == kind && b.is(name, w.name) {
					w.id, w.place = id, place
				}
			}
		}
		after := trailing[kind]
		place += typeSize + after.once + after.each*int(info&0xffff)
	}
	for _, w := range wanted {
		if w.id == 0 {
			return fmt.Errorf("%s: no %s", btfFile, w.name)
		}
	}
	return nil
}

// place is where a type begins. All types have been gone over.
func (b *btf) place(id uint32) (place int, ok bool) {
	i := int(id) - 1
	if i < 0 || i/stride >= len(b.places) {
		return 0, false
	}
	place = b.places[i/stride]
	for range i % stride {
		t, ok := b.at(place)
		if !ok {
			return 0, false
		}
		place = t.next
	}
	return place, place < len(b.types)
}

// member returns the offset of a member, in bytes, in the structure at a place,
// or in one without a name in there.
func (b *btf) member(place int, name string) (offset int, err error) {
	offset, ok := b.search(place, name, 0)
	if !ok {
		return 0, fmt.Errorf("%s: no member %s", btfFile, name)
	}
	return offset, nil
}

func (b *btf) search(place int, name string, depth int) (offset int, ok bool) {
	const deepest = 8
	t, ok := b.at(place)
	if !ok || depth > deepest || t.kind != kindStruct && t.kind != kindUnion {
		return 0, false
	}
	for i := range t.elements {
		m := b.types[place+typeSize*(i+1):]
		label, of, bits := binary.LittleEndian.Uint32(m), binary.LittleEndian.Uint32(m[4:]), binary.LittleEndian.Uint32(m[8:])
		if t.bitOffsets {
			bits &= 1<<24 - 1
		}
		if label != 0 {
			if b.is(label, name) {
				return int(bits / 8), true
			}
			continue
		}
		if inner, known := b.place(of); known {
			if within, found := b.search(inner, name, depth+1); found {
				return int(bits/8) + within, true
			}
		}
	}
	return 0, false
}
