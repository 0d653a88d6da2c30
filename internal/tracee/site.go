package tracee

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// findInstruction looks for a system-call instruction in the vDSO, the kernel's
// own code in every program, whose ELF header is at base. It returns its
// address, or 0. That the bytes may be the middle of another instruction does
// not matter to a thread that begins there and never runs what follows.
func findInstruction(tid int, base uint64) uint64 {
	// The vDSO is a complete ELF image of a few pages. AT_SYSINFO_EHDR is all
	// that is known of it here; mremap(2) may have moved it since.
	header := make([]byte, 64)
	if base == 0 || !readMemory(tid, base, header) || !bytes.HasPrefix(header, []byte(elf.ELFMAG)) {
		return 0
	}
	const entrySize = 56 // of a 64-bit program header
	offset := binary.NativeEndian.Uint64(header[32:])
	count := binary.NativeEndian.Uint16(header[56:])
	entries := make([]byte, entrySize*int(min(count, 16)))
	if offset > 4096 || !readMemory(tid, base+offset, entries) {
		return 0
	}
	for ; len(entries) > 0; entries = entries[entrySize:] {
		kind, flags := binary.NativeEndian.Uint32(entries), binary.NativeEndian.Uint32(entries[4:])
		if elf.ProgType(kind) != elf.PT_LOAD || elf.ProgFlag(flags)&elf.PF_X == 0 {
			continue
		}
		start, size := binary.NativeEndian.Uint64(entries[16:]), binary.NativeEndian.Uint64(entries[40:])
		text := make([]byte, min(size, 64<<10))
		if !readMemory(tid, base+start, text) {
			return 0
		}
		for at := 0; ; at += instructionAlignment {
			found := bytes.Index(text[min(at, len(text)):], syscallInstruction)
			if found < 0 {
				return 0
			}
			if at += found; at%instructionAlignment == 0 {
				return base + start + uint64(at)
			}
			at -= at % instructionAlignment
		}
	}
	return 0
}

// readMemory reads the memory of a process whole, by process_vm_readv(2).
func readMemory(tid int, address uint64, into []byte) bool {
	if len(into) == 0 {
		return false
	}
	local := []unix.Iovec{{Base: &into[0]}}
	local[0].SetLen(len(into))
	remote := []unix.RemoteIovec{{Base: uintptr(address), Len: len(into)}}
	n, err := unix.ProcessVMReadv(tid, local, remote, 0)
	return err == nil && n == len(into)
}

// isInstruction reports whether a system-call instruction stands at address in
// the memory of a stopped thread.
func isInstruction(tid int, address uint64) bool {
	word, err := peek(tid, uintptr(address))
	bytesOfWord := (*[unsafe.Sizeof(word)]byte)(unsafe.Pointer(&word))
	return err == nil && bytes.HasPrefix(bytesOfWord[:], syscallInstruction)
}

// findSite is the system-call instruction with which the thread can make a
// call: the one on which it stands when it waits in a call, else the vDSO's.
func (e *engine) findSite(t *thread) (uint64, *Refusal) {
	if address, ok := t.instruction(); ok && isInstruction(t.tid, address) {
		return address, nil
	}
	refuse := func(detail, needs string) *Refusal {
		return &Refusal{Reason: NoThread, PID: t.pid, TID: t.tid, Detail: detail, Needs: needs}
	}
	if e.vdso == 0 || !isInstruction(t.tid, e.vdso) {
		if vector, err := e.processes[0].read(taskFile(t.tid, "auxv")); err != nil || parseAuxiliary(vector) != e.aux {
			return 0, e.becameAnother()
		}
		return 0, refuse("waits in no system call, and has no vDSO whose instruction could be used", "")
	}
	if err := t.leaveSequence(); err != nil {
		return 0, refuse(fmt.Sprintf("runs its own code, and whether that is a restartable sequence cannot be told: %v", err), "Linux 5.13")
	}
	return e.vdso, nil
}

// leaveSequence takes a stopped thread out of a restartable sequence (rseq(2)),
// as the kernel does with every one that it finds interrupted in one: the
// thread goes on at the sequence's abort handler. While it made a call elsewhere
// the kernel would not find it there, and it would come back to finish a
// sequence that was interrupted.
func (t *thread) leaveSequence() error {
	registration, err := getRseqConfiguration(t.tid)
	if err != nil || registration.Pointer == 0 {
		return err
	}
	const offsetOfDescriptor = 8 // of rseq_cs in struct rseq
	descriptor, err := peek(t.tid, uintptr(registration.Pointer)+offsetOfDescriptor)
	if err != nil || descriptor == 0 {
		return err
	}
	// struct rseq_cs: version and flags, start, length, abort handler.
	var words [4]uint64
	for i := range words {
		word, err := peek(t.tid, descriptor+8*uintptr(i))
		if err != nil {
			return err
		}
		words[i] = uint64(word)
	}
	settings, start, length, abort := words[0], words[1], words[2], words[3]
	switch {
	case t.saved.counter()-start >= length:
		return nil // left by itself: the kernel removes the descriptor later
	case settings != 0:
		return errors.New("it has flags")
	}
	t.saved.setCounter(abort)
	return t.writeRegisters(&t.saved)
}
