package unwind

import "encoding/binary"

const (
	// maxSearched is how far up the stack a return address is searched: the frames
	// of functions that do little but call the system are small.
	maxSearched = 1 << 10
	// nearby is how far from the start of its function an address is taken to be.
	nearby = 1 << 10
)

// stepUnknown goes to the caller of a function of which nothing is known: code
// without call frame information has a frame pointer, or is a C library that was
// built without both (musl). There the frame pointer is that of some outer
// function, and would lead past those between. What tells is the call itself: a
// return address has a call before it, to the function that is returned from.
func (w *walk) stepUnknown(here place) bool {
	if w.cpu.call == 0 {
		return w.stepFramePointer(false) // the link register hides the call
	}
	sp, _ := w.cpu.get(w.cpu.sp)
	fp, _ := w.cpu.get(w.cpu.fp)
	if fp >= sp && fp-sp <= maxFrame && w.isCall(fp+8, here) == callsThis {
		return w.stepFramePointer(false)
	}
	within := uint64(0)
	for at := sp; at < sp+maxSearched; at += 8 {
		switch w.isCall(at, here) {
		case callsThis:
			return w.returnFrom(at)
		case callsWithin:
			// The function that was called may have gone on to this one by a jump.
			if within == 0 {
				within = at
			}
		}
	}
	if within != 0 {
		return w.returnFrom(within)
	}
	return w.stepFramePointer(false)
}

// returnFrom goes to the caller by the return address that is on the stack.
func (w *walk) returnFrom(at uint64) bool {
	pc, ok := w.unwinder.memory.word(at)
	w.cpu.pc = pc
	w.cpu.set(w.cpu.sp, at+8)
	w.exact = false
	return ok
}

// calling is what a word on the stack is found to be.
type calling uint8

const (
	noCall      calling = iota
	callsWithin         // the address after a call from and to code of which nothing is known
	callsThis           // the address after a call of the function that the frame is of
)

// isCall tells what the word is that is on the stack at the address.
func (w *walk) isCall(at uint64, here place) calling {
	pc, ok := w.unwinder.memory.word(at)
	if !ok {
		return noCall
	}
	from, ok := w.find(pc - 1)
	if !ok {
		return noCall
	}
	code, ok := w.unwinder.library.code(from.module, from.address+1-codeSize)
	if !ok {
		return noCall
	}
	target := pc + uint64(int32(binary.LittleEndian.Uint32(code[codeSize-4:])))
	isThis := func(function uint64) bool { return function <= w.cpu.pc && w.cpu.pc-function < nearby }
	switch {
	case code[codeSize-6] == 0xff && code[codeSize-5] == 0x15: // call *offset(%rip)
		if function, ok := w.word(target); ok && isThis(function) {
			return callsThis
		}
	case code[codeSize-5] == 0xe8: // call offset
		if isThis(target) {
			return callsThis
		}
		if function, ok := w.jumps(target); ok && isThis(function) {
			return callsThis
		}
		to, ok := w.find(target)
		if ok && to.module == here.module && from.module == here.module && w.unwinder.library.row(from.module, w.cpu.machine, from.address) == nil {
			return callsWithin
		}
	}
	return noCall
}

// jumps returns where the code at the address jumps to, if that is all that it
// does: an entry of a procedure linkage table, or a function that is another one.
func (w *walk) jumps(address uint64) (uint64, bool) {
	here, ok := w.find(address)
	if !ok {
		return 0, false
	}
	code, ok := w.unwinder.library.code(here.module, here.address)
	if !ok {
		return 0, false
	}
	at := uint64(0)
	if binary.LittleEndian.Uint32(code[:]) == 0xfa1e0ff3 { // endbr64
		at += 4
	}
	if code[at] == 0xf2 { // bnd
		at++
	}
	offset := func() uint64 { return uint64(int32(binary.LittleEndian.Uint32(code[at:]))) }
	switch {
	case code[at] == 0xe9: // jmp offset
		at++
		return address + at + 4 + offset(), true
	case code[at] == 0xff && code[at+1] == 0x25: // jmp *offset(%rip)
		at += 2
		return w.word(address + at + 4 + offset())
	}
	return 0, false
}

// find returns the place of the code at the address, if it is of a file.
func (w *walk) find(address uint64) (place, bool) {
	m := w.space.find(address)
	if m == nil {
		return place{}, false
	}
	p := w.place(m, address)
	return p, p.module.image != nil
}

// codeSize is enough for an instruction with what may be before it.
const codeSize = 16

// code returns the bytes of the code at the address.
func (l *library) code(m *module, address uint64) (code [codeSize]byte, ok bool) {
	code, ok = m.codes[address]
	if ok || m.image == nil {
		return code, ok
	}
	i := m.image
	read, _ := ask(l, m, func() []byte {
		var b [codeSize]byte
		return b[:i.read(address, b[:])]
	}, closing[[]byte](m))
	if copy(code[:], read) < len(code) {
		return code, false
	}
	if m.codes == nil || len(m.codes) >= maxRows {
		m.codes = map[uint64][codeSize]byte{}
	}
	m.codes[address] = code
	return code, true
}

// word reads a word that is not on the stack.
func (w *walk) word(address uint64) (uint64, bool) {
	var b [8]byte
	n := readMemory(w.unwinder.library.root, w.tid, address, b[:])
	return binary.LittleEndian.Uint64(b[:]), n == len(b)
}
