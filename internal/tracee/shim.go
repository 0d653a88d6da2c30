package tracee

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A shim is a second run of this program that becomes the command: it comes under
// the filter, which nobody else shall, and executes the command. It is known by
// its own name and by the last of its environment, as a helper is.
const (
	shimName = "stray-tracee-shim"
	shimEnv  = "STRAY_TRACEE_SHIM=1"
)

// How a shim ends that has not become the command; a runtime that fails ends with
// 2.
const (
	shimUntraced   = 200
	shimUnfiltered = 201
	// shimFailed and the number of the error are the exit code when exec failed.
	shimFailed = 50
)

// ErrNoFilter is the error when this system does not let a filter of system calls
// be installed. Nothing was run.
var ErrNoFilter = errors.New("seccomp is refused")

// startShim starts what becomes the command, and returns when it stands within
// exec(2). The error is an *ExecError, an *endedEarly, ErrRefused or ErrNoFilter, or
// why there was no run of this program.
func (c Command) startShim() (pid int, err error) {
	environment := append(c.Env[:len(c.Env):len(c.Env)], shimEnv)
	attributes := &syscall.ProcAttr{Env: environment, Files: []uintptr{0, 1, 2}}
	pid, err = syscall.ForkExec(procRoot+"/self/exe", append([]string{shimName, c.Path}, c.Argv...), attributes)
	if err != nil {
		return 0, fmt.Errorf("run this program once more: %w", err)
	}
	return pid, awaitExec(pid)
}

func isShim() bool {
	return len(os.Args) > 2 && os.Args[0] == shimName && os.Getenv("STRAY_TRACEE_SHIM") == "1"
}

// shimMain becomes the command, which its tracer finds stopped within exec(2) as it
// finds any other that has asked to be traced. From the filter on it makes no call
// that needs a tracer.
func shimMain() {
	runtime.LockOSThread()
	environment := os.Environ()
	c := Command{Path: os.Args[1], Argv: os.Args[2:], Env: environment[:len(environment)-1]}
	if ptrace(unix.PTRACE_TRACEME, 0, 0, 0) != nil {
		unix.Exit(shimUntraced)
	}
	if installFilter() != nil {
		unix.Exit(shimUnfiltered)
	}
	err := c.execute(func(path string, argv []string) error { return syscall.Exec(path, argv, c.Env) })
	var errno syscall.Errno
	errors.As(err, &errno)
	unix.Exit(shimFailed + int(errno))
}

// awaitExec waits until a shim has become the command, and stands within exec(2).
// It may execute it on any of its threads, and gets signals of its own runtime
// until then.
func awaitExec(pid int) error {
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("wait4", err)
		case tid == pid && !status.Stopped():
			return shimError(status)
		case tid == pid && status.StopSignal() == unix.SIGTRAP:
			return nil
		case status.Stopped():
			resume(tid, status.StopSignal())
		}
	}
}

// shimError is why a shim has not become the command.
func shimError(status unix.WaitStatus) error {
	switch code := status.ExitStatus(); {
	case code == shimUntraced:
		return fmt.Errorf("%w: PTRACE_TRACEME", ErrRefused)
	case code == shimUnfiltered:
		return ErrNoFilter
	case code > shimFailed:
		return &ExecError{unix.Errno(code - shimFailed)}
	}
	if status.Signaled() {
		return &endedEarly{status}
	}
	return fmt.Errorf("the run of this program that was to execute it has failed (%#x)", uint32(status))
}

// endedEarly is the error when a signal has ended the command before it was one.
type endedEarly struct{ status unix.WaitStatus }

func (e *endedEarly) Error() string { return fmt.Sprintf("ended by signal %d", e.status.Signal()) }
