package fdscan

import (
	"path"
	"strings"
)

// commSize is how much of a program's name the kernel keeps: TASK_COMM_LEN, less
// its NUL (include/linux/sched.h).
const commSize = 15

// ProgramName is the name of a program by which people know it. That is the last
// part of exe, the file that runs, unless that was started by another name, as
// redis-check-rdb is as redis-server: execve(2) takes comm from the name that was
// given, and the first word of cmdline usually is that name too. A script goes by
// its interpreter. Without exe it is comm.
func ProgramName(exe, comm string, cmdline []string) string {
	if exe == "" {
		return comm
	}
	if len(cmdline) > 0 {
		// setproctitle(3) writes one string over all arguments.
		first, _, _ := strings.Cut(cmdline[0], " ")
		name := path.Base(strings.TrimPrefix(first, "-")) // a login shell
		if name != "" && name[:min(len(name), commSize)] == comm {
			return name
		}
	}
	return path.Base(exe)
}
