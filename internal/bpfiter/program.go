package bpfiter

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The program is run for every thread of the pid namespace, those of kernel
// threads too. It goes over the descriptor table of a process, or of a thread that
// has one of its own, and writes records.
//
// It reads the kernel's memory by addresses, which may be of anything by the time
// that they are followed: a load from what is not there gives zeros. Files are
// given back and used again at any time (SLAB_TYPESAFE_BY_RCU), so that a slot of
// the table is read again when everything is known of the file in it; and the
// pointer to the table, when its end is reached.

// Magic numbers of file systems: linux/magic.h.
const (
	sockFS = 0x534f434b
	pipeFS = 0x50495045
	anonFS = 0x09041934
)

// Flags and helpers of the kernel.
const (
	kernelThread     = 0x00200000 // PF_KTHREAD
	helperLookup     = 1          // bpf_map_lookup_elem
	helperCurrent    = 35         // bpf_get_current_task
	mostRetries      = 1 << 10    // of one table whose slots change meanwhile
	asyncShift       = 12         // from O_ASYNC to SignalDriven
	mixer            = 0x9e3779b97f4a7c15
	ringName         = "[io_urin"
	descriptorsAWord = 64
)

// Where the program keeps things, below the frame pointer.
const (
	stackLoop   = -8 * (iota + 1) // struct bpf_iter_num
	stackFiles                    // struct files_struct
	stackTable                    // struct fdtable, as it is now
	stackIDs                      // pid, and tid above it
	stackHeader                   // the number of the table's own record
	stackCount                    // how many descriptors it has
	stackPlace                    // of a record: the argument of a look-up
	stackFlags                    // fields of the record that is being made
	stackName
	stackKey
	stackID
)

// builder makes the program for a kernel.
type builder struct {
	*assembler
	*layout
	control, records int // descriptors of the maps
}

// cast makes r0 a pointer to a type of the address in base, from which anything may
// be loaded (bpf_rdonly_cast; it costs no call). What is loaded then of a member
// that is a pointer to a structure is such a pointer again, and no number. It
// destroys r1 to r5.
func (b *builder) cast(base register, offset int, to uint32) {
	if base != r1 {
		b.reg(mov, r1, base)
	}
	if offset != 0 {
		b.imm(add, r1, int32(offset))
	}
	b.imm(mov, r2, int32(to))
	b.kfunc(b.layout.cast)
}

// field loads a member of what a pointer leads to.
func (b *builder) field(s size, dst, pointer register, offset int) {
	b.load(s, dst, pointer, int16(offset))
}

// peek loads a number from an address; of a member that is a pointer, the address.
func (b *builder) peek(s size, dst, base register, offset int) {
	b.cast(base, offset, b.types.word)
	b.load(s, dst, r0, 0)
}

// loadControl loads a field of the control block, and storeControl stores it.
func (b *builder) loadControl(dst register, offset int) {
	b.mapValue(dst, b.control, offset)
	b.load(word64, dst, dst, 0)
}

func (b *builder) storeControl(offset int, src, scratch register) {
	b.mapValue(scratch, b.control, offset)
	b.store(word64, scratch, 0, src)
}

// bit puts the bit of the descriptor at the index in a bitmap of the table into
// dst.
func (b *builder) bit(dst register, bitmap int) {
	b.bitmapWord(dst, bitmap)
	b.loadControl(r1, controlIndex)
	b.imm(and, r1, descriptorsAWord-1)
	b.reg(rsh, dst, r1)
	b.imm(and, dst, 1)
}

// bitmapWord puts the word of a bitmap that has that bit into dst.
func (b *builder) bitmapWord(dst register, bitmap int) {
	b.load(word64, r2, r10, stackTable)
	b.field(word64, r2, r2, bitmap)
	b.loadControl(r1, controlIndex)
	b.imm(rsh, r1, 6)
	b.imm(lsh, r1, 3)
	b.reg(add, r1, r2)
	b.peek(word64, dst, r1, 0)
}

// slot puts the address of the file of the descriptor at the index into dst; 0 when
// it is not open.
func (b *builder) slot(dst register) {
	b.load(word64, r2, r10, stackTable)
	b.field(word64, r2, r2, b.table.files)
	b.loadControl(r1, controlIndex)
	b.imm(lsh, r1, 3)
	b.reg(add, r1, r2)
	b.peek(word64, dst, r1, 0)
}

// number puts the pid of the thread at an address, as the reader's pid namespace
// has it, into dst. The level of that is in r9.
func (b *builder) number(dst, task register) {
	b.peek(word64, dst, task, b.task.ids)
	b.reg(mov, r1, r9)
	b.imm(mul, r1, int32(b.ids.stride))
	b.reg(add, r1, dst)
	b.peek(word32, dst, r1, b.ids.numbers)
}

// whatIsWanted says which descriptors a program writes of: of all, or of the
// sockets and pipes whose bits are set in the control block, and of others.
type whatIsWanted struct{ everything, sockets, rings bool }

// program makes the program.
func program(l *layout, control, records int, w whatIsWanted) []instruction {
	b := &builder{newAssembler(), l, control, records}
	b.begin(w)
	b.loop()
	b.classify(w)
	b.write(w)
	b.end(w)
	return b.finish()
}

// begin finds the table of a thread, unless it has been looked at.
func (b *builder) begin(w whatIsWanted) {
	const contextTask = 8 // in struct bpf_iter__task
	b.load(word64, r6, r1, contextTask)
	b.jumpIf(r6, equal, 0, "exit") // after the last
	b.cast(r6, 0, b.types.task)
	b.reg(mov, r6, r0)
	b.field(word32, r7, r6, b.task.flags)
	b.imm(and, r7, kernelThread)
	b.jumpIf(r7, notEqual, 0, "exit") // it uses the kernel's own table
	b.field(word64, r7, r6, b.task.files)
	b.jumpIf(r7, equal, 0, "exit") // it has ended
	b.store(word64, r10, stackFiles, r7)
	b.imm(mov, r8, 0)
	b.store(word64, r10, stackIDs, r8)
	b.store(word64, r10, stackCount, r8)

	// The reader is in the namespace whose numbers it is to be told.
	b.helper(helperCurrent)
	b.reg(mov, r1, r0)
	b.peek(word64, r9, r1, b.task.ids)
	b.peek(word32, r9, r9, b.ids.level)

	// A thread that has its leader's table is passed over, and so is one whose
	// table the last one had.
	b.field(word32, r8, r6, b.task.pid)
	b.field(word32, r1, r6, b.task.tgid)
	b.jumpIfReg(r8, equal, r1, "leader")
	b.field(word64, r8, r6, b.task.leader)
	b.field(word64, r1, r8, b.task.files)
	b.jumpIfReg(r1, equal, r7, "exit")
	b.loadControl(r1, controlLast)
	b.jumpIfReg(r1, equal, r7, "exit")
	b.storeControl(controlLast, r7, r1)
	b.number(r7, r6)
	b.imm(lsh, r7, 32)
	b.store(word64, r10, stackIDs, r7)
	b.number(r7, r8)
	b.jump("numbered")
	b.label("leader")
	b.number(r7, r6)
	b.label("numbered")
	b.jumpIf(r7, equal, 0, "exit") // it has ended, and has no number any more
	b.load(word64, r1, r10, stackIDs)
	b.reg(or, r1, r7)
	b.store(word64, r10, stackIDs, r1)
	if !w.everything {
		return
	}
	// The record of the table is completed at its end.
	b.loadControl(r1, controlNext)
	b.store(word64, r10, stackHeader, r1)
	b.imm(add, r1, 1)
	b.storeControl(controlNext, r1, r2)
}

// loop goes to the next descriptor, and puts its file into r7.
func (b *builder) loop() {
	b.load(word64, r1, r10, stackFiles)
	b.field(word64, r7, r1, b.files.table)
	b.field(word32, r3, r7, b.table.size)
	b.imm(add, r3, mostRetries)
	b.imm(mov, r2, 0)
	b.reg(mov, r1, r10)
	b.imm(add, r1, stackLoop)
	b.kfunc(b.loopNew)
	b.imm(mov, r1, 0)
	b.storeControl(controlIndex, r1, r2)
	b.label("next")
	b.reg(mov, r1, r10)
	b.imm(add, r1, stackLoop)
	b.kfunc(b.loopNext)
	b.jumpIf(r0, equal, 0, "torn")
	// The table may be replaced by a larger one.
	b.load(word64, r1, r10, stackFiles)
	b.field(word64, r7, r1, b.files.table)
	b.store(word64, r10, stackTable, r7)
	b.field(word32, r7, r7, b.table.size)
	b.loadControl(r8, controlIndex)
	b.jumpIfReg(r8, atLeast, r7, "finished")
	// 64 that are not open are passed over at once.
	b.jumpIf(r8, anySet, descriptorsAWord-1, "look")
	b.bitmapWord(r7, b.table.open)
	b.jumpIf(r7, notEqual, 0, "look")
	b.imm(add, r8, descriptorsAWord)
	b.storeControl(controlIndex, r8, r2)
	b.jump("next")
	b.label("look")
	b.slot(r7)
	b.jumpIf(r7, equal, 0, "advance")
}

// classify tells what the file in r7 is: r9 becomes its class.
func (b *builder) classify(w whatIsWanted) {
	zero := func(slot int16) { b.imm(mov, r1, 0); b.store(word64, r10, slot, r1) }
	b.store(word64, r10, stackID, r7)
	zero(stackName)
	zero(stackKey)
	zero(stackFlags)
	b.cast(r7, 0, b.types.file)
	b.reg(mov, r7, r0)
	b.field(word64, r8, r7, b.file.inode)
	b.field(word64, r9, r8, b.inode.super)
	b.field(word32, r9, r9, b.super.magic)
	b.jumpIf(r9, equal, sockFS, "socket")
	b.jumpIf(r9, equal, pipeFS, "pipe")
	if w.everything {
		b.jumpIf(r9, equal, anonFS, "anonymous")
		b.field(word16, r9, r8, b.inode.mode)
		b.imm(and, r9, unix.S_IFMT)
		b.jumpIf(r9, equal, unix.S_IFDIR, "path")
		b.field(word64, r8, r7, b.file.dentry)
		b.field(word64, r1, r8, b.dentry.parent)
		b.jumpIfReg(r1, equal, r8, "other") // in no directory
		b.jumpIf(r9, equal, unix.S_IFCHR, "device")
		b.jumpIf(r9, equal, unix.S_IFBLK, "device")
		b.jumpIf(r9, notEqual, unix.S_IFREG, "path")
		b.field(word64, r1, r8, b.dentry.hashed)
		b.jumpIf(r1, notEqual, 0, "path")
		b.class(Deleted)
		b.label("path")
		b.class(Path)
		b.label("other")
		b.class(Other)
		b.label("device")
		b.name(r8)
		b.peek(word64, r8, r7, b.file.mount)
		b.imm64(r1, mixer)
		b.reg(mul, r8, r1)
		b.peek(word64, r1, r7, b.file.dentry)
		b.reg(add, r1, r8)
		b.store(word64, r10, stackKey, r1)
		b.class(Device)
		b.label("anonymous")
		b.field(word64, r1, r7, b.file.operations)
		b.store(word64, r10, stackKey, r1)
		b.field(word64, r8, r7, b.file.dentry)
		b.name(r8)
		b.class(Anonymous)
	} else if w.rings {
		b.jumpIf(r9, notEqual, anonFS, "advance")
		b.field(word64, r8, r7, b.file.dentry)
		b.name(r8)
		b.load(word64, r1, r10, stackName)
		b.imm64(r2, binary.LittleEndian.Uint64([]byte(ringName)))
		b.jumpIfReg(r1, notEqual, r2, "advance")
		b.class(Anonymous)
	} else {
		b.jump("advance")
	}
	for _, o := range []struct {
		label string
		class Class
		all   bool
	}{{"pipe", Pipe, w.everything}, {"socket", Socket, w.everything || w.sockets}} {
		b.label(o.label)
		b.field(word64, r8, r8, b.inode.number)
		b.store(word64, r10, stackID, r8)
		if !o.all {
			b.isWanted(r8)
		}
		b.class(o.class)
	}
}

// class goes on with the class in r9.
func (b *builder) class(c Class) {
	b.imm(mov, r9, int32(c))
	b.jump("flags")
}

// name keeps how the name of the directory entry begins.
func (b *builder) name(dentry register) {
	b.field(word64, r1, dentry, b.dentry.name)
	b.peek(word64, r1, r1, 0)
	b.store(word64, r10, stackName, r1)
}

// isWanted passes over an inode whose bit is not set.
func (b *builder) isWanted(inode register) {
	b.reg(mov, r1, inode)
	b.imm(and, r1, wantedBits-1)
	b.imm(rsh, r1, 3)
	b.mapValue(r2, b.control, controlWanted)
	b.reg(add, r2, r1)
	b.load(word8, r2, r2, 0)
	b.imm(and, inode, 7)
	b.reg(rsh, r2, inode)
	b.imm(and, r2, 1)
	b.jumpIf(r2, equal, 0, "advance")
}

// write writes the record of the file in r7, of the class in r9, if it is still
// there.
func (b *builder) write(w whatIsWanted) {
	b.label("flags")
	b.bit(r8, b.table.closeOnExec)
	b.field(word32, r1, r7, b.file.flags)
	b.imm(and, r1, unix.O_ASYNC)
	b.imm(rsh, r1, asyncShift)
	b.reg(or, r8, r1)
	b.store(word64, r10, stackFlags, r8)
	b.load(word64, r1, r10, stackFiles)
	b.field(word64, r8, r1, b.files.table)
	b.store(word64, r10, stackTable, r8)
	b.slot(r8)
	b.jumpIfReg(r8, notEqual, r7, "next") // another by now: look again
	b.load(word64, r1, r10, stackCount)
	b.imm(add, r1, 1)
	b.store(word64, r10, stackCount, r1)
	b.loadControl(r1, controlNext)
	b.store(word64, r10, stackPlace, r1)
	b.imm(add, r1, 1)
	b.storeControl(controlNext, r1, r2)
	b.lookUp("advance")
	fields := [...]int16{stackID, stackKey, stackName}
	if !w.everything {
		fields = [...]int16{stackID, stackIDs, stackFiles}
	}
	for i, slot := range fields {
		b.load(word64, r1, r10, slot)
		b.store(word64, r0, int16(8*i), r1)
	}
	b.loadControl(r1, controlIndex)
	b.load(word64, r2, r10, stackFlags)
	b.last(r1, r9, r2)
	b.label("advance")
	b.loadControl(r1, controlIndex)
	b.imm(add, r1, 1)
	b.storeControl(controlIndex, r1, r2)
	b.jump("next")
}

// lookUp puts the record of the place that is kept into r0, or goes elsewhere when
// there is no room for it.
func (b *builder) lookUp(full string) {
	b.mapByFD(r1, b.records)
	b.reg(mov, r2, r10)
	b.imm(add, r2, stackPlace)
	b.helper(helperLookup)
	b.jumpIf(r0, equal, 0, full)
}

// last writes the last 8 bytes of the record at r0.
func (b *builder) last(fd, class, flags register) {
	const fdOffset, classOffset, flagsOffset = 24, 28, 29
	b.store(word64, r0, fdOffset, fd) // and zeros
	b.store(word8, r0, classOffset, class)
	b.store(word8, r0, flagsOffset, flags)
}

// end completes the record of the table.
func (b *builder) end(w whatIsWanted) {
	b.label("torn")
	b.loadControl(r1, controlTorn)
	b.imm(add, r1, 1)
	b.storeControl(controlTorn, r1, r2)
	b.label("finished")
	b.reg(mov, r1, r10)
	b.imm(add, r1, stackLoop)
	b.kfunc(b.loopEnd)
	// A process that ends gives its table back; one that calls unshare(2) or
	// execve(2) may take another.
	b.imm(mov, r9, int32(Table))
	b.field(word64, r7, r6, b.task.files)
	b.load(word64, r1, r10, stackFiles)
	b.jumpIfReg(r7, equal, r1, "the same")
	b.imm(mov, r9, int32(Void))
	b.imm(mov, r1, 0)
	b.storeControl(controlLast, r1, r2) // other threads may have it still
	b.jumpIf(r7, equal, 0, "the same")
	b.loadControl(r1, controlTorn)
	b.imm(add, r1, 1)
	b.storeControl(controlTorn, r1, r2)
	b.label("the same")
	if w.everything {
		b.load(word64, r1, r10, stackHeader)
		b.store(word64, r10, stackPlace, r1)
		b.lookUp("exit")
		b.load(word64, r1, r10, stackFiles)
		b.store(word64, r0, 0, r1)
		b.load(word64, r1, r10, stackIDs)
		b.store(word64, r0, 8, r1)
		b.load(word64, r1, r10, stackCount)
		b.imm(mov, r2, 0)
		b.last(r1, r9, r2)
	}
	b.label("exit")
	b.imm(mov, r0, 0)
	b.exit()
}
