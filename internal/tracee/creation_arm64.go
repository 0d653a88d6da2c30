package tracee

import "golang.org/x/sys/unix"

// auditArchitecture is how seccomp(2) and ptrace(2) name this architecture. What
// runs as 32-bit ARM has another one.
const auditArchitecture = unix.AUDIT_ARCH_AARCH64

// legacyCreators are calls that this architecture never had.
var legacyCreators []creator

// returned is what a system call has returned, at its end.
func (r *registers) returned() int64 { return int64(r.Regs[0]) }

func (r *registers) unwinding() Registers {
	const framePointer, linkRegister = 29, 30
	return Registers{PC: r.Pc, SP: r.Sp, FP: r.Regs[framePointer], LR: r.Regs[linkRegister]}
}

// setFirstArgument changes the first argument of a call at its beginning.
func (t *thread) setFirstArgument(value uint64) {
	var r registers
	if t.readRegisters(&r) == nil && r.native() {
		r.Regs[0] = value
		t.writeRegisters(&r)
	}
}

// refuse makes a call fail with ENOSYS at its beginning.
func (t *thread) refuse() {
	var r registers
	if t.readRegisters(&r) == nil && r.native() && t.writeCall(noCall) == nil {
		r.Regs[0] = errnoResult(unix.ENOSYS)
		t.writeRegisters(&r)
	}
}
