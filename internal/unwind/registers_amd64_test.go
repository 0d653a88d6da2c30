package unwind

import "golang.org/x/sys/unix"

// openCall is the system call that open(3) of musl makes.
const openCall = unix.SYS_OPEN

func registers(r *unix.PtraceRegs) (Registers, uint64) {
	return Registers{PC: r.Rip, SP: r.Rsp, FP: r.Rbp}, r.Orig_rax
}
