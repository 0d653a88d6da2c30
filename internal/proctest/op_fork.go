package proctest

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

var _ = define(&specification{
	usage: "fork [times=N share=0|1 stdio=0|1] { … }",
	text: "forks without exec: the child runs only system calls, and has every descriptor. Its operations are those " +
		"that no exec block needs: close, cloexec, fork, serve, exit and others. With share, it has no copy of the " +
		"descriptor table, but the same one (CLONE_FILES). " +
		"stdio, of a bare role, leaves it the standard descriptors.",
	options: []string{"times", "share", "stdio"}, block: true, process: true, raw: true,
	run: func(r *role, op *operation) error {
		var p program
		// Go's handlers must not run in the child.
		defaults := new([64]byte) // struct sigaction: SIG_DFL, no flags
		empty := new(uint64)
		for signal := 1; signal <= 64; signal++ {
			c := p.add(unix.SYS_RT_SIGACTION, uintptr(signal), pointer(defaults), 0, unsafe.Sizeof(*empty))
			c.lax, c.keep = true, defaults
		}
		p.add(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, pointer(empty), 0, unsafe.Sizeof(*empty)).keep = empty
		flags, t := op.shareTable(&r.table)
		if err := r.compileChild(&p, op, t, leaves(r.Operations)); err != nil {
			return err
		}
		_, err := p.fork(flags, &failure{process: uint32(op.Process)})
		return err
	},
})

// shareTable returns the flags for clone(2), and the table of the child: the
// parent's, or a copy.
func (op *operation) shareTable(t *table) (flags uintptr, child *table) {
	if op.on("share") {
		return unix.CLONE_FILES, t
	}
	return 0, new(slices.Clone(*t))
}

// compileChild appends what a raw child does from its birth to its end. Its
// parent leaves it when it ends before it.
func (r *role) compileChild(p *program, op *operation, t *table, orphan bool) error {
	if orphan {
		p.bound()
	} else {
		p.add(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL))
	}
	if r.Silent && !op.on("stdio") && !op.on("share") {
		p.detach()
	}
	ending := pausing()
	for _, inner := range op.Body {
		if inner.Name == "fork" {
			const child = 1
			flags, grandchildren := inner.shareTable(t)
			p.add(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD)).into = child
			branch := len(*p)
			p.add(jumpUnlessZero, child)
			if err := r.compileChild(p, inner, grandchildren, leaves(op.Body)); err != nil {
				return err
			}
			(*p)[branch].target = len(*p)
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
		report := &failure{process: uint32(op.Process)}
		p.add(unix.SYS_WRITE, 1, pointer(report), unsafe.Sizeof(*report)).keep = report
	}
	if !r.Silent && !op.on("share") { // a shared one its owner ends
		p.add(unix.SYS_DUP3, 0, 1)
	}
	p.append(ending.finale)
	r.facts.Raw = append(r.facts.Raw, rawFact{Process: op.Process, Table: slices.Clone(*t), End: ending.end})
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
