package unwind

// maxColumns is how many registers are followed: the most of a machine.
const maxColumns = 33

// machine is what unwinding needs to know of a processor architecture: the
// numbers that DWARF gives its registers.
type machine struct {
	elf        uint16 // e_machine of elf(5)
	columns    uint64 // registers from 0 that are followed
	fp, sp, ra uint64
	// call is the size of what a call instruction pushes; 0 where it sets a link register.
	call uint64
	// addresses masks pointer authentication codes and tags out of a return address.
	addresses uint64
}

var machines = map[string]*machine{
	// System V ABI for AMD64, figure 3.36: rbp, rsp and the return address.
	"amd64": {elf: 62, columns: 17, fp: 6, sp: 7, ra: 16, call: 8, addresses: ^uint64(0)},
	// DWARF for the Arm 64-bit Architecture: x29, x30 and sp. User addresses have 48
	// bits unless a program asks for more.
	"arm64": {elf: 183, columns: 32, fp: 29, sp: 31, ra: 30, addresses: 1<<48 - 1},
}

// cpu are the registers of a frame, as far as they are known.
type cpu struct {
	*machine
	pc    uint64
	regs  [maxColumns]uint64
	known uint64 // bit n: regs[n]
}

func (m *machine) start(r Registers) cpu {
	c := cpu{machine: m, pc: r.PC}
	c.set(m.sp, r.SP)
	c.set(m.fp, r.FP)
	if m.call == 0 {
		c.set(m.ra, r.LR)
	} else {
		// The column of the return address stands for the program counter in the
		// expressions of its own frame.
		c.set(m.ra, r.PC)
	}
	return c
}

func (c *cpu) get(reg uint64) (value uint64, ok bool) {
	if reg >= c.columns || c.known>>reg&1 == 0 {
		return 0, false
	}
	return c.regs[reg], true
}

func (c *cpu) set(reg, value uint64) {
	if reg < c.columns {
		c.regs[reg] = value
		c.known |= 1 << reg
	}
}

func (c *cpu) forget(reg uint64) {
	if reg < c.columns {
		c.known &^= 1 << reg
	}
}
