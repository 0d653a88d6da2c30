package proctest

import (
	"fmt"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

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
		if !leaves(r.Operations) {
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
			Table: r.inherited(l.passed), Sockets: r.known(), Orphan: leaves(r.Operations),
		})
	},
})
