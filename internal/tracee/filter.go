package tracee

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data of <linux/seccomp.h>. Of an argument the lower
// 32 bits are read: both architectures are little-endian.
const (
	seccompNumber       = 0
	seccompArchitecture = 4
	seccompArguments    = 16
)

// What the filter's stops tell the tracer (SECCOMP_RET_DATA). A program may have filters
// of its own that stop calls, and tell others.
const (
	stopCreator  = 0x5354
	stopUntraced = 0x5355
)

// filter is the program (seccomp(2)) that has every call stop which makes a
// descriptor, or by clone(2) a process that nobody follows, and lets all others go.
// Most of these the kernel lets go without running it: it remembers which numbers it
// never stops (Linux 5.11).
func filter() (program []unix.SockFilter) {
	add := func(code uint16, yes, no uint8, k uint32) {
		program = append(program, unix.SockFilter{Code: code, Jt: yes, Jf: no, K: k})
	}
	load := func(offset uint32) { add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, offset) }
	equals := func(k uint32, yes, no int) { add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, uint8(yes), uint8(no), k) }
	answer := func(k uint32) { add(unix.BPF_RET|unix.BPF_K, 0, 0, k) }

	load(seccompArchitecture)
	equals(auditArchitecture, 1, 0)
	answer(unix.SECCOMP_RET_ALLOW)
	load(seccompNumber)
	for _, c := range creators {
		if c.values == nil {
			equals(c.number, 0, 1)
			answer(unix.SECCOMP_RET_TRACE | stopCreator)
			continue
		}
		// Nobody comes back from here: the number is no longer loaded.
		equals(c.number, 0, len(c.values)+3)
		load(seccompArguments + 8*uint32(c.argument))
		for i, v := range c.values {
			equals(v, len(c.values)-i, 0)
		}
		answer(unix.SECCOMP_RET_ALLOW)
		answer(unix.SECCOMP_RET_TRACE | stopCreator)
	}
	// The flags of clone3(2) are in memory, which no filter sees.
	equals(unix.SYS_CLONE, 0, 3)
	load(seccompArguments)
	add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, 0, 1, unix.CLONE_UNTRACED)
	answer(unix.SECCOMP_RET_TRACE | stopUntraced)
	answer(unix.SECCOMP_RET_ALLOW)
	return program
}

// installFilter puts the calling thread, and what it executes and forks from now
// on, under the filter. As long as nobody traces it with PTRACE_O_TRACESECCOMP the
// calls that the filter stops fail with ENOSYS.
//
// Who lacks CAP_SYS_ADMIN has to give up that programs executed gain privileges
// (PR_SET_NO_NEW_PRIVS): otherwise a filter could deceive them.
func installFilter() error {
	f := filter()
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	install := func() unix.Errno {
		// With SPEC_ALLOW (Linux 4.17) the filter does not slow the program down by
		// mitigations against itself.
		_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, uintptr(unsafe.Pointer(&program)))
		return errno
	}
	errno := install()
	if errno == unix.EACCES {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
		errno = install()
	}
	runtime.KeepAlive(f)
	if errno != 0 {
		return errno
	}
	return nil
}
