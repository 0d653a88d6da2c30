package testenv

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Tests are the tests of a package: a *testing.M.
type Tests interface{ Run() int }

// Main runs the tests, and exits. Descriptors or child processes that are left
// then fail them:
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
	warmUp()
	before := descriptors()
	code := c.tests.Run()
	leaks := settledLeaks(before)
	for _, leak := range leaks {
		fmt.Fprintln(os.Stderr, "testenv: the tests leak", leak)
	}
	if len(leaks) > 0 {
		return max(code, 1)
	}
	return code
}

// warmUp makes the runtime open what it keeps open from the first use of a pipe
// on: its epoll instance and the eventfd that wakes it.
func warmUp() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
}

// settleTime is how long what is on its way out at the end of the tests may
// still take.
const settleTime = 2 * time.Second

// settledLeaks returns what is left besides the descriptors of before, when it
// has not gone for settleTime. Nothing is garbage-collected for it: a file that
// only a finalizer closes is a leak.
func settledLeaks(before map[int]string) []string {
	for deadline := time.Now().Add(settleTime); ; time.Sleep(10 * time.Millisecond) {
		leaks := slices.Concat(newDescriptors(before), childProcesses())
		if len(leaks) == 0 || time.Now().After(deadline) {
			return leaks
		}
	}
}

// descriptors returns the link text of every open descriptor.
func descriptors() map[int]string {
	open := map[int]string{}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err) // a Linux without /proc tests nothing here
	}
	for _, entry := range entries {
		// The descriptor of the directory itself is closed by now.
		if text, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			fd, _ := strconv.Atoi(entry.Name())
			open[fd] = text
		}
	}
	return open
}

func newDescriptors(before map[int]string) []string {
	var leaks []string
	for fd, text := range descriptors() {
		if before[fd] != text {
			leaks = append(leaks, fmt.Sprintf("descriptor %d: %s%s", fd, text, socketName(fd)))
		}
	}
	slices.Sort(leaks)
	return leaks
}

// socketName returns the address of a socket in parentheses; empty when the
// descriptor is none, or has none.
func socketName(fd int) string {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return ""
	}
	switch a := local.(type) {
	case *unix.SockaddrInet4:
		return fmt.Sprintf(" (%d.%d.%d.%d:%d)", a.Addr[0], a.Addr[1], a.Addr[2], a.Addr[3], a.Port)
	case *unix.SockaddrInet6:
		return fmt.Sprintf(" (inet6, port %d)", a.Port)
	case *unix.SockaddrUnix:
		return fmt.Sprintf(" (unix %q)", a.Name)
	}
	return ""
}

// childProcesses describes the children of this process, zombies included.
func childProcesses() []string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		panic(err)
	}
	var leaks []string
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
			leaks = append(leaks, fmt.Sprintf("child process %s), state %s", command, fields[0]))
		}
	}
	return leaks
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}
