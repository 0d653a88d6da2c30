package proctest

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// ending is how a process, or a thread, goes on when everything is in place.
type ending struct {
	finale program
	end    end
	// become executes another program in place of the finale.
	become func() error
	// reportsAgain tells that this program is a role of the same process.
	reportsAgain bool
}

// pausing is the ending of a script that does not say another.
func pausing() ending { return ending{finale: pause(), end: end{Call: sysPause}} }

// take notes an operation that nothing can follow, and reports whether it is one.
func (e *ending) take(op *operation, calls program) bool {
	switch op.Name {
	case "serve":
		e.end = end{Call: serveModes[op.Args[0]].call}
	case "exit":
		e.end = end{Exits: true}
	case "stop":
		e.end = end{State: "T"}
	default:
		return false
	}
	e.finale = calls
	return true
}

// end is how a process goes on, as its supervisor can see it in /proc.
type end struct {
	// Call is the system call that the process waits in; 0 when that is unknown.
	Call uintptr
	// State is its state in /proc/PID/stat; empty when that does not matter.
	State string
	// Program is what it executes, when that is another program.
	Program string
	// Exits tells that it ends.
	Exits bool
}

// leaves reports whether operations end the process, or the thread that counts
// as its children's parent, before its children end.
func leaves(ops []*operation) bool {
	if len(ops) == 0 {
		return false
	}
	name := ops[len(ops)-1].Name
	return name == "exit" || name == "leader-exit"
}

// bound sets an alarm that ends a process which its parent's death does not, in
// case that nobody is left to kill it.
func (p *program) bound() {
	alarm := &unix.Itimerval{Value: unix.Timeval{Sec: 60}}
	p.add(unix.SYS_SETITIMER, uintptr(unix.ITIMER_REAL), pointer(alarm)).keep = alarm
}

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

var _ = define(&specification{
	usage: "undumpable",
	text:  "clears PR_SET_DUMPABLE: other users, and the process's own, may no longer look into it.",
	compile: func(*table, *operation) (program, error) {
		var p program
		p.add(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
		return p, nil
	},
})

var _ = define(&specification{
	usage: "seccomp",
	text:  "adds a filter that kills the process at its next socket(2).",
	compile: func(*table, *operation) (program, error) {
		filter := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		fprog := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		var p program
		p.add(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
		p.add(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, pointer(fprog)).keep = fprog
		return p, nil
	},
})

var _ = define(&specification{
	usage: "stop",
	text:  "stops the process with SIGSTOP, as a terminal or a debugger would (state T).",
	last:  true,
	compile: func(*table, *operation) (program, error) {
		const self = 1
		var p program
		p.add(unix.SYS_GETPID).into = self
		p.add(unix.SYS_KILL, 0, uintptr(unix.SIGSTOP)).from[0] = self
		p.append(pause())
		return p, nil
	},
})

var _ = define(&specification{
	usage: "leader-exit",
	text: "ends the thread that leads the process; other threads live on, and only they show its descriptors. " +
		"Children of the process live on.",
	last: true,
	run: func(r *role, _ *operation) error {
		var p program
		// The signal at the parent's death was for the leader.
		p.bound()
		p.add(unix.SYS_EXIT, 0)
		r.ending = ending{finale: p, end: end{State: "Z"}}
		return nil
	},
})

var _ = define(&specification{
	usage: "thread [own=0|1] { … }",
	text: "starts another thread, which carries out operations like those of fork and goes on as the last one says. " +
		"With own, its descriptor table becomes its own (unshare CLONE_FILES): a copy of the process's.",
	options: []string{"own"}, block: true, raw: true,
	run: func(r *role, op *operation) error {
		own := op.on("own")
		t := &r.table
		var p program
		if own {
			t = new(slices.Clone(r.table))
			p.add(unix.SYS_UNSHARE, unix.CLONE_FILES)
			if !r.Silent {
				p.add(unix.SYS_DUP3, 0, 1)
			}
			p.add(unix.SYS_CLOSE_RANGE, highDescriptor, math.MaxUint32, 0)
		}
		ending := pausing()
		for _, inner := range op.Body {
			spec := specifications[inner.Name]
			if spec.compile == nil {
				return fmt.Errorf("%s: a thread cannot do this", inner)
			}
			calls, err := spec.compile(t, inner)
			if err != nil {
				return err
			}
			if !ending.take(inner, calls) {
				p.append(calls)
			}
		}
		tid, err := performOnThread(p, ending.finale)
		if err != nil {
			return err
		}
		fact := threadFact{TID: tid, End: ending.end}
		if own {
			fact.Table = *t
		}
		r.facts.Threads = append(r.facts.Threads, fact)
		return nil
	},
})

// performOnThread performs a program on a thread of its own, which goes on with
// the finale, and returns its id.
func performOnThread(p, finale program) (tid int, err error) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever
		tid = unix.Gettid()
		done <- p.perform()
		finale.perform()
	}()
	err = <-done
	return tid, err
}
