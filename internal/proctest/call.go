package proctest

import (
	"math"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is one step of a program of system calls. The same program is performed
// by a Go role, and by a raw child: a fork without exec in which nothing of the
// Go runtime may run, since of its threads only one is left.
type call struct {
	nr   uintptr
	args [6]uintptr
	// from replaces argument i by the register from[i], unless that is 0.
	from [6]uint8
	// into is the register that takes the result, unless it is 0.
	into uint8
	// lax goes on when the call fails. A call that a signal interrupts is
	// always made again.
	lax bool
	// target is where a branch goes, as an index into the program.
	target int
	// self is whom identify means.
	self *identity
	// keep holds on to the memory that args point to.
	keep any
}

// What a call can be besides a system call, as its number.
const (
	// jump goes to target.
	jump = math.MaxUint32 - iota
	// jumpUnlessZero goes to target unless register args[0] is 0: it tells a
	// parent from its child.
	jumpUnlessZero
	// identify says who a raw child is, from here on.
	identify
)

// registers is how many registers a program has; register 0 is never read.
const registers = 8

// program is a sequence of calls.
type program []call

// add appends a system call and returns it, so that its other fields can be set.
func (p *program) add(nr uintptr, args ...uintptr) *call {
	c := call{nr: nr}
	copy(c.args[:], args)
	*p = append(*p, c)
	return &(*p)[len(*p)-1]
}

// repeatFrom closes a loop that began at index start.
func (p *program) repeatFrom(start int) { p.add(jump).target = start }

// append appends another program, whose targets count from its own start.
func (p *program) append(other program) {
	offset := len(*p)
	for _, c := range other {
		if c.nr == jump || c.nr == jumpUnlessZero {
			c.target += offset
		}
		*p = append(*p, c)
	}
}

// pointer returns the address of v, which whoever uses it keeps in call.keep.
func pointer[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

// perform runs the program in a Go process: it may block.
func (p program) perform() error {
	var regs [registers]uintptr
	for pc := 0; pc < len(p); pc++ {
		c := &p[pc]
		switch c.nr {
		case jump:
			pc = c.target - 1
			continue
		case jumpUnlessZero:
			if regs[c.args[0]] != 0 {
				pc = c.target - 1
			}
			continue
		}
		a := c.args
		for i, from := range c.from {
			if from != 0 {
				a[i] = regs[from]
			}
		}
		r, _, errno := unix.Syscall6(c.nr, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno == unix.EINTR {
			pc--
			continue
		}
		if errno != 0 && !c.lax {
			return errno
		}
		regs[c.into] = r
	}
	return nil
}

// identity is how a raw child makes itself known to the supervisor.
type identity struct {
	// report is its message: the number of the process in the script, and when
	// a call fails that must not, the error and the index of the call.
	report struct{ process, errno, call uint32 }
	// fd is where to send it.
	fd uintptr
}

// performRaw runs the program in a raw child, and does not return. Like the
// child side of syscall.forkExec, it calls nothing that could grow the stack,
// allocate, or meet a lock that a lost thread holds.
//
//go:nosplit
//go:norace
func (p program) performRaw() {
	var self *identity
	var regs [registers]uintptr
	for pc := 0; pc < len(p); pc++ {
		c := &p[pc]
		if c.nr == identify {
			self = c.self
			continue
		}
		if c.nr == jump {
			pc = c.target - 1
			continue
		}
		if c.nr == jumpUnlessZero {
			if regs[c.args[0]] != 0 {
				pc = c.target - 1
			}
			continue
		}
		a := c.args
		for i := 0; i < len(a); i++ {
			if c.from[i] != 0 {
				a[i] = regs[c.from[i]]
			}
		}
		r, _, errno := syscall.RawSyscall6(c.nr, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno == unix.EINTR {
			pc--
			continue
		}
		if errno != 0 && !c.lax {
			self.report.errno, self.report.call = uint32(errno), uint32(pc)
			syscall.RawSyscall6(unix.SYS_WRITE, self.fd, uintptr(unsafe.Pointer(&self.report)), unsafe.Sizeof(self.report), 0, 0, 0)
			syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 1, 0, 0, 0, 0, 0)
		}
		regs[c.into] = r
	}
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	}
}

// fork makes a raw child that runs the program, with the flags for clone(2)
// besides SIGCHLD, and returns its pid. The calling goroutine is locked to its
// thread, which is the child's parent as far as PR_SET_PDEATHSIG goes.
func (p program) fork(flags uintptr) (int, error) {
	// No signal may find the child while it still has Go's handlers.
	all, saved := ^uint64(0), uint64(0)
	mask := func(set, old *uint64) {
		syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	}
	mask(&all, &saved)
	pid, errno := p.clone(flags | uintptr(unix.SIGCHLD))
	mask(&saved, nil)
	if errno != 0 {
		return 0, errno
	}
	return int(pid), nil
}

//go:nosplit
//go:norace
func (p program) clone(flags uintptr) (uintptr, syscall.Errno) {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		p.performRaw()
	}
	return pid, errno
}
