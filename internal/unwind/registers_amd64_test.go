package unwind

import "golang.org/x/sys/unix"

func registers(r *unix.PtraceRegs) (Registers, uint64) {
	return Registers{PC: r.Rip, SP: r.Rsp, FP: r.Rbp}, r.Orig_rax
}
