package proctest

import "golang.org/x/sys/unix"

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
		e.end = end{State: stopped}
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
