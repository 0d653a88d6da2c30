package fdscan

import (
	"errors"

	"golang.org/x/sys/unix"
)

// processGap is a process whose descriptors could not be listed.
func processGap(op string, pid int, err error) Gap {
	g := Gap{Op: op, PID: pid, FD: -1, Err: reason(err), Scope: ScopeHolders}
	if isRefusal(err) && !HasCapability(unix.CAP_SYS_PTRACE) {
		g.Needs = "CAP_SYS_PTRACE"
	}
	return g
}

// isRefusal reports that something may not be read.
func isRefusal(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }

// detailGap is a fact about one process that could not be read.
func detailGap(op string, pid int, err error) Gap {
	g := processGap(op, pid, err)
	g.Scope = ScopeDetail
	return g
}

// reason is the bare text of a system call's error, without the path that the
// gap names already.
func reason(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
