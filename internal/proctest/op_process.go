package proctest

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

var _ = define(&specification{
	usage: "fork [times=N] { … }",
	text: "forks without exec: the child runs only system calls, and has every descriptor. Its program " +
		"may close, set cloexec, fork, serve, and exit.",
	options: []string{"times"}, block: true, process: true, raw: true,
	run: func(r *role, op *operation) error {
		p, err := r.compileChild(op, r.table)
		if err != nil {
			return err
		}
		_, err = p.fork(0, &failure{process: uint32(op.Process)})
		return err
	},
})

var _ = define(&specification{
	usage: "exec [K=V…] [times=N as=NAME newnet=0|1 newpid=0|1 uid=N pass=FD,…] PROGRAM ARG… | { … }",
	text: "forks and executes a program, or another role. What is not close-on-exec stays open under the same number; pass puts " +
		"descriptors at 3 and up, as service managers do. as runs the role from a copy of this program with that name. " +
		"newnet and newpid give it namespaces of its own, with loopback up; uid is its user and group.",
	max: -1, options: []string{"times", "as", "newnet", "newpid", "uid", "pass"}, block: true, process: true,
	run: func(r *role, op *operation) error {
		l := launch{environment: environment()}
		words := op.Args
		for ; len(words) > 0 && strings.Contains(words[0], "="); words = words[1:] {
			l.environment = append(l.environment, words[0])
		}
		if (op.Body == nil) == (len(words) == 0) {
			return fmt.Errorf("%s: exec needs either a program or a block", op)
		}
		if err := l.options(op, r.table); err != nil {
			return err
		}
		if !r.leaves {
			l.attributes.Pdeathsig = unix.SIGKILL
		}
		if op.Body == nil {
			path, err := exec.LookPath(words[0])
			if err != nil {
				return err
			}
			pid, err := l.program(path, words)
			r.facts.Programs = append(r.facts.Programs, programFact{
				Process: op.Process, PID: pid, Path: path, Table: r.inherited(l.passed),
			})
			return err
		}
		name := op.option("as", roleName)
		if name != roleName {
			var err error
			if l.path, err = copyOfProgram(r.Directory, name); err != nil {
				return err
			}
		}
		return l.role(&request{
			Process: op.Process, Operations: op.Body, Name: name, Directory: r.Directory,
			Table: r.inherited(l.passed), Sockets: r.known(), Orphan: r.leaves,
		})
	},
})

var _ = define(&specification{
	usage: "exit [STATUS]",
	text:  "ends the process. Its children live on: they are not killed when it ends, as they otherwise are.",
	max:   1, last: true,
	compile: func(_ *table, op *operation) (program, error) {
		status := 0
		if len(op.Args) > 0 {
			var err error
			if status, err = strconv.Atoi(op.Args[0]); err != nil {
				return nil, fmt.Errorf("%s: %w", op, err)
			}
		}
		var p program
		p.add(unix.SYS_EXIT_GROUP, uintptr(status))
		return p, nil
	},
})

var _ = define(&specification{
	usage: "session",
	text:  "makes the process the leader of a new session.",
	compile: func(*table, *operation) (program, error) {
		var p program
		p.add(unix.SYS_SETSID)
		return p, nil
	},
})

// exits reports whether the role ends by itself.
func exits(ops []*operation) bool { return len(ops) > 0 && ops[len(ops)-1].Name == "exit" }

// orphanBound is an alarm that bounds the life of a process whose parent ends
// before it, in case that nobody is left to kill it.
func orphanBound() unix.Itimerval { return unix.Itimerval{Value: unix.Timeval{Sec: 300}} }

// compileChild returns the program of a raw child, from its birth to its end.
func (r *role) compileChild(op *operation, parent table) (program, error) {
	var p program
	// Go's handlers must not run here.
	ignored := new([64]byte) // struct sigaction: SIG_DFL, no flags
	empty := new(uint64)
	for signal := 1; signal <= 64; signal++ {
		c := p.add(unix.SYS_RT_SIGACTION, uintptr(signal), pointer(ignored), 0, unsafe.Sizeof(*empty))
		c.lax, c.keep = true, ignored
	}
	p.add(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, pointer(empty), 0, unsafe.Sizeof(*empty)).keep = empty
	err := r.appendChild(&p, op, parent, r.leaves)
	return p, err
}

// appendChild appends what a raw child does, without what only the first of a
// family has to do.
func (r *role) appendChild(p *program, op *operation, parent table, orphan bool) error {
	if orphan {
		bound := orphanBound()
		p.add(unix.SYS_SETITIMER, uintptr(unix.ITIMER_REAL), pointer(&bound)).keep = &bound
	} else {
		p.add(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL))
	}
	fact := rawFact{Process: op.Process, End: end{Exits: exits(op.Body)}}
	t := append(table(nil), parent...)
	finale := pause()
	if !fact.End.Exits {
		fact.End.Call = sysPause
	}
	for _, inner := range op.Body {
		switch inner.Name {
		case "fork":
			const child = 2
			flags := uintptr(unix.SIGCHLD)
			p.add(unix.SYS_CLONE, flags).into = child
			branch := len(*p)
			p.add(jumpUnlessZero, child)
			if err := r.appendChild(p, inner, t, exits(op.Body)); err != nil {
				return err
			}
			(*p)[branch].target = len(*p)
		default:
			calls, err := specifications[inner.Name].compile(&t, inner)
			if err != nil {
				return err
			}
			if specifications[inner.Name].last {
				finale = calls
				if inner.Name == "serve" {
					fact.End.Call = serveModes[inner.Args[0]].call
				}
				continue
			}
			p.append(calls)
		}
	}
	// The report and the end of the way to make one.
	report := &failure{process: uint32(op.Process)}
	p.add(unix.SYS_WRITE, 1, pointer(report), unsafe.Sizeof(*report)).keep = report
	p.add(unix.SYS_DUP3, 0, 1)
	p.append(finale)
	fact.Table = t
	r.facts.Raw = append(r.facts.Raw, fact)
	return nil
}
