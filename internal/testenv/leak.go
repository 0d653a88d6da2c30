package testenv

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stray/inspect/fdtest"
)

// Tests are the tests of a package: a *testing.M.
type Tests interface{ Run() int }

// Main runs the tests, and exits. Descriptors (package fdtest) or child
// processes that are left then fail them:
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
func Main(m Tests) { os.Exit(Checked(m).Run()) }

// Checked is Main for those who exit themselves:
//
//	testscript.Main(testenv.Checked(m), commands)
func Checked(m Tests) Tests { return checked{m} }

type checked struct{ tests Tests }

// Run runs the tests and returns their exit status, which a leak makes a failure.
func (c checked) Run() int {
	leadIfOrphaned()
	code := fdtest.Run(c.tests)
	left := settledChildren()
	for _, child := range left {
		fmt.Fprintln(os.Stderr, "testenv: the tests leave", child)
	}
	if len(left) > 0 {
		return max(code, 1)
	}
	return code
}

// leadIfOrphaned makes this process the leader of a session of its own where that
// of its group or session has exited, as below a shell that did not wait: a
// leader that has gone is evidence in what is tested.
func leadIfOrphaned() {
	session, err := unix.Getsid(0)
	if err == nil && (unix.Kill(unix.Getpgrp(), 0) == unix.ESRCH || unix.Kill(session, 0) == unix.ESRCH) {
		_, _ = unix.Setsid()
	}
}

// settleTime is how long a child may take to end.
const settleTime = 2 * time.Second

// settledChildren returns the children that are left after settleTime.
func settledChildren() []string {
	for deadline := time.Now().Add(settleTime); ; time.Sleep(10 * time.Millisecond) {
		left := childProcesses()
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// childProcesses describes the children of this process, zombies included.
func childProcesses() []string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		panic(err)
	}
	var left []string
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// PID (COMMAND) STATE PPID …, where the command may contain anything.
		command, rest, ok := cutLast(string(text), ") ")
		fields := strings.Fields(rest)
		if ok && len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			left = append(left, fmt.Sprintf("child process %s), state %s", command, fields[0]))
		}
	}
	return left
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}
