package unwind

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
)

// FuzzDescription reads any bytes as an .eh_frame with a search table, and goes a
// step by what it says.
func FuzzDescription(f *testing.F) {
	// A common entry, a description, and the table: all of a small function.
	common := []byte{20, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1, 0, 0}
	f.Add(common, []byte{0x41, 0x0e, 0x10, 0x86, 2, 0x43, 0x0d, 6, 0x0a, 0x0b}, uint64(0x1004))
	f.Add(common, []byte{0x0f, 4, 0x77, 8, 0x80, 0x06, 0x10, 3, 2, 0x76, 0x70, 0x16, 6, 2, 0x30, 0x9f}, uint64(0x1004))
	f.Add(common, []byte{0x2d, 0x2e, 4, 0x09, 3, 6, 0x14, 12, 1, 0x08, 13, 0x07, 14}, uint64(0x1004))
	f.Fuzz(func(t *testing.T, common, instructions []byte, address uint64) {
		const table, frames, code = 0x2000, 0x3000, 0x1000
		d := binary.LittleEndian.AppendUint32(nil, uint32(13+len(instructions)))
		at := int64(len(common)) // of the description
		d = binary.LittleEndian.AppendUint32(d, uint32(at+4))
		d = binary.LittleEndian.AppendUint32(d, uint32(code-(frames+at+8)))
		d = binary.LittleEndian.AppendUint32(d, 0x100)
		d = append(append(d, 0), instructions...)
		hdr := []byte{1, 0x1b, 3, 0x3b, 0, 0, 0, 0, 1, 0, 0, 0}
		hdr = binary.LittleEndian.AppendUint32(hdr, uint32(code-table+1<<32))
		hdr = binary.LittleEndian.AppendUint32(hdr, uint32(frames+at-table))
		file := append(append(make([]byte, 0x100), hdr...), append(bytes.Clone(common), d...)...)
		i := &image{
			file:   bytes.NewReader(file),
			frames: segment{0x100, table, uint64(len(hdr))},
			loads:  []segment{{0x100, table, uint64(len(hdr))}, {0x100 + uint64(len(hdr)), frames, uint64(len(common) + len(d))}},
		}
		for _, m := range []*machine{machines["amd64"], machines["arm64"]} {
			if d, ok := i.find(address); ok {
				step(m, d.row(m, address))
			}
			i.sections = []section{{".eh_frame", i.loads[1]}}
			if at, ok := i.searchIndex(address); ok {
				i.describe(at)
			}
		}
	})
}

// step goes a step by the row, on a stack of no process.
func step(m *machine, r *row) {
	if r == nil {
		return
	}
	u := New("")
	stack := make([]byte, blockSize)
	for i := range stack {
		stack[i] = byte(i / 8)
	}
	u.memory.blocks = []block{{0x7000, stack}}
	w := walk{unwinder: u, cpu: m.start(Registers{PC: 0x1004, SP: 0x7100, FP: 0x7200, LR: 0x1010})}
	w.stepRow(r)
}

// FuzzImage reads any bytes as a program: all that is looked for in one.
func FuzzImage(f *testing.F) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(program[:1024], uint64(0x401000))
	f.Add(smallGo(f), uint64(0x401000))
	f.Fuzz(func(t *testing.T, file []byte, address uint64) {
		i, err := readImage(bytes.NewReader(file))
		if err != nil {
			return
		}
		buildID(i)
		debugLink(i)
		i.address(address)
		for _, m := range []*machine{machines["amd64"], machines["arm64"]} {
			if d, ok := i.find(address); ok {
				step(m, d.row(m, address))
			}
		}
		if g := findGo(i, "", 0, 0); g != nil {
			for _, at := range []uint64{address, g.text, g.etext - 1} {
				g.frameSize(at)
				g.frames(at)
			}
		}
		l := newLibrary("")
		l.frames(place{&module{path: "fuzz", image: i}, address})
	})
}

// smallGo is an ELF file with a Go function table of one function.
func smallGo(t testing.TB) []byte {
	t.Helper()
	const base, names, sections = 0x401000, 0x300, 0x400
	b := make([]byte, sections+4*64)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[18:], machines["amd64"].elf)
	le.PutUint64(b[32:], 64)       // e_phoff
	le.PutUint64(b[40:], sections) // e_shoff
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	le.PutUint16(b[58:], 64)
	le.PutUint16(b[60:], 4)
	le.PutUint16(b[62:], 3)
	le.PutUint32(b[64:], 1)   // PT_LOAD of the whole file
	le.PutUint32(b[64+4:], 5) // PF_R|PF_X
	le.PutUint64(b[64+16:], base)
	le.PutUint64(b[64+32:], uint64(len(b)))
	copy(b[names:], "\x00.text\x00.gopclntab\x00")
	for n, s := range []struct{ name, offset, size uint64 }{{}, {1, 0x80, 0x40}, {7, 0x100, 0x200}, {0, names, 0x40}} {
		at := b[sections+64*n:]
		le.PutUint32(at, uint32(s.name))
		le.PutUint32(at[4:], 1)
		le.PutUint64(at[16:], base+s.offset)
		le.PutUint64(at[24:], s.offset)
		le.PutUint64(at[32:], s.size)
	}
	table := b[0x100:]
	le.PutUint32(table, magicGo120)
	table[6], table[7] = 1, 8
	le.PutUint64(table[8:], 1) // functions
	for n, offset := range []uint64{0x50, 0x60, 0x70, 0x80, 0x100} {
		le.PutUint64(table[32+8*n:], offset)
	}
	copy(table[0x50:], "main.main\x00")
	le.PutUint32(table[0x60:], 0) // the first file of the unit
	copy(table[0x70:], "main.go\x00")
	copy(table[0x80:], "\x00\x02\x40\x00\x02\x40\x00\x04\x40\x00") // no value; 0 for 64 bytes; 1
	functions := table[0x100:]
	le.PutUint32(functions[4:], 0x10) // the record of the function
	le.PutUint32(functions[8:], 0x40) // the end of the last
	record := functions[0x10:]
	le.PutUint32(record[recordFrameSize:], 1)
	le.PutUint32(record[recordFile:], 1)
	le.PutUint32(record[recordLine:], 7)
	return b
}

func TestSmallGoTable(t *testing.T) {
	i, err := readImage(bytes.NewReader(smallGo(t)))
	if err != nil {
		t.Fatal(err)
	}
	g := findGo(i, "", 0, 0)
	if g == nil {
		t.Fatal("there is no function table")
	}
	if got := g.frameSize(g.text + 5); got != (frameSize{0, true}) {
		t.Errorf("frame size %v, want 0", got)
	}
	frames := g.frames(g.text + 5)
	if want := (Frame{Function: "main.main", File: "main.go", Line: 1}); len(frames) != 1 || frames[0] != want {
		t.Errorf("frames %v, want %v", frames, want)
	}
}

func FuzzMaps(f *testing.F) {
	f.Add([]byte("00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon (deleted)\n" +
		"7ffc43879000-7ffc4389a000 rw-p 00000000 00:00 0                          [stack]\n" +
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := parseMaps(text)
		last := uint64(0)
		for n := range s.mappings {
			m := &s.mappings[n]
			if m.start < last || m.end <= m.start {
				t.Fatalf("mapping %d is %#x-%#x, after %#x", n, m.start, m.end, last)
			}
			last = m.end
			if s.find(m.start) != m || s.find(m.end-1) != m {
				t.Fatalf("mapping %d is not found by its addresses", n)
			}
		}
	})
}
