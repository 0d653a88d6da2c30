package tracee

import "golang.org/x/sys/unix"

// auditArchitecture is how seccomp(2) and ptrace(2) name this architecture. What
// runs as i386 has another one, and x32 has other numbers.
const auditArchitecture = unix.AUDIT_ARCH_X86_64

// legacyCreators are calls that newer architectures do not have.
var legacyCreators = []creator{
	{name: "open", number: unix.SYS_OPEN},
	{name: "creat", number: unix.SYS_CREAT},
	{name: "pipe", number: unix.SYS_PIPE, makes: aPair, argument: 0},
	{name: "dup2", number: unix.SYS_DUP2, makes: aDuplicate},
	{name: "epoll_create", number: unix.SYS_EPOLL_CREATE},
	{name: "eventfd", number: unix.SYS_EVENTFD},
	{name: "signalfd", number: unix.SYS_SIGNALFD, argument: 0, values: []uint32{none}},
	{name: "inotify_init", number: unix.SYS_INOTIFY_INIT},
}

// returned is what a system call has returned, at its end.
func (r *registers) returned() int64 { return int64(r.Rax) }

func (r *registers) unwinding() Registers { return Registers{PC: r.Rip, SP: r.Rsp, FP: r.Rbp} }

// setFirstArgument changes the first argument of a call at its beginning.
func (t *thread) setFirstArgument(value uint64) {
	var r registers
	if t.readRegisters(&r) == nil && r.native() {
		r.Rdi = value
		t.writeRegisters(&r)
	}
}

// refuse makes a call fail with ENOSYS at its beginning.
func (t *thread) refuse() {
	var r registers
	if t.readRegisters(&r) == nil {
		r.Orig_rax, r.Rax = noCall, errnoResult(unix.ENOSYS)
		t.writeRegisters(&r)
	}
}
