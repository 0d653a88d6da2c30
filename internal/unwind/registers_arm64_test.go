package unwind

import "golang.org/x/sys/unix"

func registers(r *unix.PtraceRegs) (Registers, uint64) {
	return Registers{PC: r.Pc, SP: r.Sp, FP: r.Regs[29], LR: r.Regs[30]}, r.Regs[8]
}
