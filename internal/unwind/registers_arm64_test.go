package unwind

import "golang.org/x/sys/unix"

// openCall is the system call that open(3) of musl makes.
const openCall = unix.SYS_OPENAT

func registers(r *unix.PtraceRegs) (Registers, uint64) {
	return Registers{PC: r.Pc, SP: r.Sp, FP: r.Regs[29], LR: r.Regs[30]}, r.Regs[8]
}
