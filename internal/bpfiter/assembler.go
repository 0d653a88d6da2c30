package bpfiter

// instruction is struct bpf_insn of linux/bpf.h, on a little-endian machine.
type instruction struct {
	code      uint8
	registers uint8 // the destination in the lower half
	offset    int16
	immediate int32
}

// register is one of the machine's. A call takes its arguments in r1 to r5, which
// it destroys, and returns in r0; r6 to r9 are kept, and r10 is the frame pointer.
type register uint8

const (
	r0 register = iota
	r1
	r2
	r3
	r4
	r5
	r6
	r7
	r8
	r9
	r10
)

// size is a width of a load or store.
type size uint8

const (
	word32 size = 0x00
	word16 size = 0x08
	word8  size = 0x10
	word64 size = 0x18
)

// operation is an arithmetic operation on 64 bits.
type operation uint8

const (
	add operation = 0x00
	or  operation = 0x40
	and operation = 0x50
	lsh operation = 0x60
	rsh operation = 0x70
	mul operation = 0x20
	mov operation = 0xb0
)

// condition is that of a jump; numbers have no sign.
type condition uint8

const (
	equal    condition = 0x10
	atLeast  condition = 0x30
	anySet   condition = 0x40
	notEqual condition = 0x50
)

// Parts of instruction codes: linux/bpf.h and linux/bpf_common.h.
const (
	classLoadImmediate = 0x18 // 64 bits, two instructions long
	classLoad          = 0x61 // BPF_LDX | BPF_MEM
	classStore         = 0x63 // BPF_STX | BPF_MEM
	classJump          = 0x05
	classArithmetic    = 0x07
	fromRegister       = 0x08
	call               = 0x80
	exit               = 0x90
)

// assembler makes a program, an instruction at a time.
type assembler struct {
	program []instruction
	labels  map[string]int
	jumps   map[int]string // by place, to a label that may come later
}

func newAssembler() *assembler {
	return &assembler{labels: map[string]int{}, jumps: map[int]string{}}
}

func (a *assembler) emit(code uint8, dst, src register, offset int16, immediate int32) {
	a.program = append(a.program, instruction{code, uint8(dst) | uint8(src)<<4, offset, immediate})
}

// reg does op with the value of a register, and imm with a number.
func (a *assembler) reg(op operation, dst, src register) {
	a.emit(uint8(op)|classArithmetic|fromRegister, dst, src, 0, 0)
}

func (a *assembler) imm(op operation, dst register, number int32) {
	a.emit(uint8(op)|classArithmetic, dst, 0, 0, number)
}

// imm64 puts a number of 64 bits into a register.
func (a *assembler) imm64(dst register, number uint64) { a.loadImmediate(dst, 0, number) }

func (a *assembler) loadImmediate(dst, kind register, number uint64) {
	a.emit(classLoadImmediate, dst, kind, 0, int32(uint32(number)))
	a.emit(0, 0, 0, 0, int32(uint32(number>>32)))
}

// mapByFD puts a map into a register, and mapValue the address of a byte in the
// value of a map that has one.
func (a *assembler) mapByFD(dst register, fd int) { a.loadImmediate(dst, 1, uint64(uint32(fd))) }

func (a *assembler) mapValue(dst register, fd, offset int) {
	a.loadImmediate(dst, 2, uint64(uint32(fd))|uint64(uint32(offset))<<32)
}

func (a *assembler) load(s size, dst, base register, offset int16) {
	a.emit(uint8(s)|classLoad, dst, base, offset, 0)
}

func (a *assembler) store(s size, base register, offset int16, src register) {
	a.emit(uint8(s)|classStore, base, src, offset, 0)
}

// label names the place of the next instruction.
func (a *assembler) label(name string) { a.labels[name] = len(a.program) }

func (a *assembler) jump(label string) {
	a.jumps[len(a.program)] = label
	a.emit(classJump, 0, 0, 0, 0)
}

// jumpIf compares a register with a number, and jumpIfReg with another.
func (a *assembler) jumpIf(dst register, c condition, number int32, label string) {
	a.jumps[len(a.program)] = label
	a.emit(uint8(c)|classJump, dst, 0, 0, number)
}

func (a *assembler) jumpIfReg(dst register, c condition, src register, label string) {
	a.jumps[len(a.program)] = label
	a.emit(uint8(c)|classJump|fromRegister, dst, src, 0, 0)
}

// helper calls a function of bpf-helpers(7) by its number, and kfunc one of the
// kernel's own by its type.
func (a *assembler) helper(number int32) { a.emit(call|classJump, 0, 0, 0, number) }

func (a *assembler) kfunc(id uint32) { a.emit(call|classJump, 0, 2, 0, int32(id)) }

func (a *assembler) exit() { a.emit(exit|classJump, 0, 0, 0, 0) }

// finish returns the program, with every jump to its label.
func (a *assembler) finish() []instruction {
	for place, label := range a.jumps {
		target, ok := a.labels[label]
		if !ok {
			panic("bpfiter: a jump to " + label + ", which is nowhere")
		}
		a.program[place].offset = int16(target - place - 1)
	}
	return a.program
}
