package proctest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var _ = define(&specification{
	usage: "exec [K=V…] [times=N as=NAME newnet=0|1 newpid=0|1 newuser=0|1 stdio=0|1 uid=N pass=FD,…] PROGRAM ARG… | { … }",
	text: "forks and executes a program, or another role. What is not close-on-exec stays open under the same number; pass puts " +
		"descriptors at 3 and up, as service managers do, and the value self stands for the pid: " +
		"exec LISTEN_FDS=1 LISTEN_PID=self pass=web { … }. as runs the role from a copy of this program with that name. " +
		"newnet, newpid and newuser give it namespaces of its own, with loopback up; uid is its user and group. " +
		"stdio, of a bare role, leaves it the standard descriptors. A program is in place when it sleeps.",
	max: -1, options: []string{"times", "as", "newnet", "newpid", "newuser", "stdio", "uid", "pass"}, block: true, process: true,
	run: func(r *role, op *operation) error {
		c, err := parseCommand(op)
		if err != nil {
			return err
		}
		l := launch{environment: environment(), stdio: [3]int{0, 1, 2}}
		if err := l.options(op, r.table); err != nil {
			return err
		}
		if !leaves(r.Operations) {
			l.attributes.Pdeathsig = unix.SIGKILL
		}
		req := &request{
			Process: op.Process, Operations: op.Body, Name: op.option("as", roleName), Directory: r.Directory,
			Table: r.inherited(l.passed), Sockets: r.known(), Orphan: leaves(r.Operations), Silent: r.Silent,
		}
		if c.namesItself() {
			// Only the new process knows its pid, and what is to be in its
			// environment has to come by an exec.
			req.Operations = []*operation{{Name: "become", Args: op.Args, Body: op.Body}}
		} else {
			l.environment = append(l.environment, c.environment...)
		}
		switch {
		case !r.Silent && req.Operations == nil:
			l.stdio[1] = 0 // what a program says would be taken for a report
		case r.Silent && !op.on("stdio"):
			null, err := openHigh("/dev/null", unix.O_RDWR)
			if err != nil {
				return err
			}
			defer unix.Close(null)
			l.stdio = [3]int{null, null, null}
		}
		if req.Operations == nil {
			pid, err := l.program(c.path, c.argv)
			r.facts.Programs = append(r.facts.Programs, programFact{
				Process: op.Process, PID: pid, Path: c.path, Table: req.Table,
			})
			return err
		}
		if req.Name != roleName {
			if l.path, err = copyOfProgram(r.Directory, req.Name); err != nil {
				return err
			}
		}
		return l.role(req)
	},
})

var _ = define(&specification{
	usage: "become [K=V…] PROGRAM ARG… | { … }",
	text:  "executes a program, or another role, in place of this one. The value self stands for the pid.",
	max:   -1, block: true, last: true,
	run: func(r *role, op *operation) error {
		c, err := parseCommand(op)
		if err != nil {
			return err
		}
		for i, variable := range c.environment {
			if name, value, _ := strings.Cut(variable, "="); value == "self" {
				c.environment[i] = name + "=" + strconv.Itoa(os.Getpid())
			}
		}
		c.environment = append(environment(), c.environment...)
		if op.Body == nil {
			r.ending = ending{end: end{Program: c.path}, become: func() error {
				return syscall.Exec(c.path, c.argv, c.environment)
			}}
			return nil
		}
		req := r.request
		req.Operations, req.Table, req.Sockets = op.Body, r.inherited(nil), r.known()
		stdin, err := req.pipe()
		if err != nil {
			return err
		}
		if err := unix.Dup3(stdin, 0, 0); err != nil {
			return err
		}
		unix.Close(stdin)
		r.ending = ending{reportsAgain: true, become: func() error {
			return syscall.Exec("/proc/self/exe", []string{r.Name}, roleEnvironment(c.environment, "role"))
		}}
		return nil
	},
})

// command is what exec and become are to execute: a program when argv is not
// empty, else another role.
type command struct {
	environment []string // in addition to that of every process
	path        string
	argv        []string
}

func parseCommand(op *operation) (c command, err error) {
	c.argv = op.Args
	for len(c.argv) > 0 && strings.Contains(c.argv[0], "=") {
		c.environment = append(c.environment, c.argv[0])
		c.argv = c.argv[1:]
	}
	if (op.Body == nil) == (len(c.argv) == 0) {
		return c, fmt.Errorf("%s needs either a program or a block", op.Name)
	}
	if op.Body == nil {
		if c.path, err = exec.LookPath(c.argv[0]); err != nil {
			return c, err
		}
		// As /proc/PID/exe will show it.
		c.path, err = filepath.EvalSymlinks(c.path)
	}
	return c, err
}

// namesItself reports whether a variable is to hold the pid.
func (c command) namesItself() bool {
	return slices.ContainsFunc(c.environment, func(v string) bool { return strings.HasSuffix(v, "=self") })
}
