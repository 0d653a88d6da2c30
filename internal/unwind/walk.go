package unwind

const (
	// maxFrame bounds the distance from one frame to the next that a frame pointer
	// may tell: twice the stack of a thread that asked for nothing.
	maxFrame = 16 << 20
	// maxSwitches bounds how often a stack goes on on another one, which may be
	// anywhere: that of a signal handler, that of a Go scheduler under C.
	maxSwitches = 16
)

// walk goes up one stack.
type walk struct {
	unwinder *Unwinder
	pid, tid int
	space    *space
	fresh    bool // the space was read for this stack
	cpu      cpu
	started  bool // past the innermost frame
	exact    bool // cpu.pc is no return address: the thread was interrupted there
	switches int
}

// locate finds the place of the frame. A return address may be that of the next
// function, where the call was the last instruction: the call is before it.
func (w *walk) locate() (place, bool) {
	pc := w.cpu.pc
	if w.started && !w.exact {
		pc--
	}
	m := w.mapping(pc)
	if m == nil {
		if w.started {
			return place{}, false
		}
		return place{&module{}, pc}, true
	}
	return w.place(m, pc), true
}

// place returns the place of an address in the mapping.
func (w *walk) place(m *mapping, address uint64) place {
	mod, offset := w.unwinder.library.find(w.pid, w.tid, m), address-m.start+m.offset
	if mod.image != nil {
		if meant, ok := mod.image.address(offset); ok {
			return place{mod, meant}
		}
	}
	return place{mod, offset}
}

// mapping returns the mapping of the address. What is known of the process is
// read again, once for a stack, where it does not have the address.
func (w *walk) mapping(address uint64) *mapping {
	if w.space == nil {
		w.space = w.unwinder.spaces[w.pid]
	}
	if w.space != nil {
		if m := w.space.find(address); m != nil || w.fresh {
			return m
		}
	}
	w.space, w.fresh = readSpace(w.unwinder.library.root, w.pid, w.tid), true
	w.unwinder.spaces[w.pid] = w.space
	return w.space.find(address)
}

// step goes from the frame, which is at here, to the one that called it.
func (w *walk) step(here place) bool {
	before := w.cpu
	ok := false
	switch mod := here.module; {
	case mod.golang.contains(here.address):
		ok = w.stepGo(here)
	case mod.foreign:
	case mod.image == nil:
		ok = w.stepFramePointer(false)
	default:
		r := w.unwinder.library.row(mod, w.cpu.machine, here.address)
		if r == nil {
			ok = w.stepUnknown(here)
			break
		}
		ok = w.stepRow(r)
		w.exact = r.signal
	}
	w.started = true
	if !ok || w.cpu.pc == 0 {
		return false
	}
	w.cpu.pc &= w.cpu.addresses
	// A stack that does not get shorter never ends.
	sp, _ := w.cpu.get(w.cpu.sp)
	last, _ := before.get(w.cpu.sp)
	if sp > last || sp == last && w.cpu.pc != before.pc && w.cpu.call == 0 {
		return true
	}
	w.switches++
	return w.switches <= maxSwitches
}

// stepFramePointer goes to the caller by the frame record that the frame pointer
// points to: the caller's frame pointer, and the return address. It may be on
// another stack where the code is known to be one that goes there.
func (w *walk) stepFramePointer(anywhere bool) bool {
	sp, _ := w.cpu.get(w.cpu.sp)
	fp, ok := w.cpu.get(w.cpu.fp)
	if !ok || fp == 0 || fp%8 != 0 {
		return false
	}
	if !anywhere && (fp < sp || fp-sp > maxFrame) {
		return false
	}
	next, ok1 := w.unwinder.memory.word(fp)
	pc, ok2 := w.unwinder.memory.word(fp + 8)
	if !ok1 || !ok2 {
		return false
	}
	w.exact = false
	w.cpu.known = 0
	w.cpu.pc = pc
	w.cpu.set(w.cpu.fp, next)
	w.cpu.set(w.cpu.sp, fp+16)
	return true
}

// stepGo goes to the caller of a Go function. How much the function has on the
// stack is in the function table; those that go to another stack leave a frame
// record there.
func (w *walk) stepGo(here place) bool {
	frame := w.unwinder.library.frameSize(here)
	if !frame.known {
		return w.stepFramePointer(true)
	}
	sp, _ := w.cpu.get(w.cpu.sp)
	fp, _ := w.cpu.get(w.cpu.fp)
	up := sp + frame.size + w.cpu.call // the stack pointer of the caller
	var pc, saved uint64               // saved: where the caller's frame pointer is
	ok := false
	switch {
	case w.cpu.call != 0:
		pc, ok = w.unwinder.memory.word(up - w.cpu.call)
		saved = up - 2*w.cpu.call
	case frame.size == 0:
		// A function that has no frame and is not the innermost does not exist.
		pc, ok = w.cpu.get(w.cpu.ra)
	default:
		pc, ok = w.unwinder.memory.word(sp)
		if saved = sp - 8; fp != saved {
			return w.stepFramePointer(true) // written in assembly, with a frame of its own form
		}
	}
	if ok && frame.size > 0 && fp == saved {
		fp, ok = w.unwinder.memory.word(saved)
	}
	if !ok {
		return false
	}
	w.exact = false
	w.cpu.known = 0
	w.cpu.pc = pc
	w.cpu.set(w.cpu.fp, fp)
	w.cpu.set(w.cpu.sp, up)
	return true
}
