package proctest

import (
	"math"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

var _ = define(&specification{
	usage: "fork [times=N share=0|1 stdio=0|1] { … }",
	text: "forks without exec: the child makes only system calls, and has every descriptor. It can close, cloexec, fork, lock, " +
		"map, seccomp, send, session, shutdown, undumpable, and end with serve, exit or stop. With share, it has no copy of the " +
		"descriptor table, but the same one (CLONE_FILES). " +
		"stdio, of a bare role, leaves it the standard descriptors.",
	options: []string{"times", "share", "stdio"}, block: true, process: true,
	admits: func(inner *specification) bool { return inner.compile != nil || inner.name == "fork" },
	run: func(r *role, op *operation) error {
		c := rawChild{op: op, identity: &identity{}, orphan: leaves(r.Operations)}
		if op.on("share") && !r.Silent {
			if err := unix.Dup3(1, c.privateReport(), unix.O_CLOEXEC); err != nil {
				return err
			}
		}
		var p program
		p.forgetHandlers()
		if err := r.compile(&p, c, &r.table, 1); err != nil {
			return err
		}
		_, err := p.fork(c.flags())
		return err
	},
})

// rawChild is a child by fork without exec.
type rawChild struct {
	op *operation
	*identity
	// orphan tells that its parent ends before it.
	orphan bool
}

// flags are those for clone(2).
func (c rawChild) flags() uintptr {
	if c.op.on("share") {
		return unix.CLONE_FILES
	}
	return 0
}

// privateReport is the descriptor for the report of a child that shares its
// parent's table: 1 is closed for it when its parent has reported.
func (c rawChild) privateReport() int { return highDescriptor + 100 + c.op.Process }

// forgetHandlers undoes what the Go runtime has done to signals.
func (p *program) forgetHandlers() {
	defaults := new([64]byte) // struct sigaction: SIG_DFL, no flags
	empty := new(uint64)
	for signal := 1; signal <= 64; signal++ {
		c := p.add(unix.SYS_RT_SIGACTION, uintptr(signal), pointer(defaults), 0, unsafe.Sizeof(*empty))
		c.lax, c.keep = true, defaults
	}
	p.add(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, pointer(empty), 0, unsafe.Sizeof(*empty)).keep = empty
}

// compile appends what a raw child does from its birth to its end. Its parent's
// table is t, and report the descriptor to which its parent reports.
func (r *role) compile(p *program, c rawChild, t *table, report int) error {
	p.add(identify).self = c.identity
	c.report.process = uint32(c.op.Process)
	if c.op.on("share") {
		c.fd = uintptr(c.privateReport())
	} else {
		c.fd = 1
		t = new(slices.Clone(*t))
		if report != 1 {
			p.add(unix.SYS_DUP3, uintptr(report), 1)
		}
		// What is there is about the reports of others.
		p.add(unix.SYS_CLOSE_RANGE, highDescriptor, math.MaxUint32, 0)
	}
	if r.Silent {
		c.fd = math.MaxUint32 // none
	}
	if c.orphan {
		p.bound()
	} else {
		p.add(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL))
	}
	if r.Silent && !c.op.on("stdio") && !c.op.on("share") {
		p.detach()
	}
	ending := pausing()
	for _, inner := range c.op.Body {
		if inner.Name == "fork" {
			child := rawChild{op: inner, identity: &identity{}, orphan: leaves(c.op.Body)}
			if err := r.compileFork(p, child, t, int(c.fd)); err != nil {
				return err
			}
			continue
		}
		calls, err := specifications[inner.Name].compile(t, inner)
		if err != nil {
			return err
		}
		if !ending.take(inner, calls) {
			p.append(calls)
		}
	}
	if !r.Silent {
		p.add(unix.SYS_WRITE, c.fd, pointer(&c.report), unsafe.Sizeof(c.report)).keep = c.identity
		if c.op.on("share") {
			p.add(unix.SYS_CLOSE, c.fd)
		} else {
			p.add(unix.SYS_DUP3, 0, 1)
		}
	}
	p.append(ending.finale)
	r.facts.Raw = append(r.facts.Raw, rawFact{Process: c.op.Process, Table: slices.Clone(*t), End: ending.end})
	return nil
}

// compileFork appends a fork by a raw child, and what its own child does.
func (r *role) compileFork(p *program, child rawChild, t *table, report int) error {
	if child.op.on("share") && !r.Silent {
		p.add(unix.SYS_DUP3, uintptr(report), uintptr(child.privateReport()), unix.O_CLOEXEC)
	}
	const pid = 1
	p.add(unix.SYS_CLONE, child.flags()|uintptr(unix.SIGCHLD)).into = pid
	branch := len(*p)
	p.add(jumpUnlessZero, pid)
	if err := r.compile(p, child, t, report); err != nil {
		return err
	}
	(*p)[branch].target = len(*p)
	return nil
}

// detach makes the standard descriptors /dev/null.
func (p *program) detach() {
	const null = 2
	path, err := unix.BytePtrFromString("/dev/null")
	if err != nil {
		panic(err)
	}
	cwd := unix.AT_FDCWD
	c := p.add(unix.SYS_OPENAT, uintptr(cwd), pointer(path), unix.O_RDWR)
	c.into, c.keep = null, path
	for fd := range uintptr(3) {
		p.add(unix.SYS_DUP3, 0, fd).from[0] = null
	}
	p.add(unix.SYS_CLOSE).from[0] = null
}
