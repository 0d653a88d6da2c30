package proctest

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

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
