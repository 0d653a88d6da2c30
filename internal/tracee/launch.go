package tracee

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is a program to start. It gets the caller's standard streams, and
// whatever else is open without FD_CLOEXEC, as from exec(2).
type Command struct {
	Path string
	Argv []string // the program's name for itself first
	Env  []string
}

// ErrRefused is the error when this system does not let a program be followed.
// Nothing was run.
var ErrRefused = errors.New("ptrace is refused")

// ExecError is why exec(2) failed.
type ExecError struct{ Err error } // a syscall.Errno

func (e *ExecError) Error() string { return e.Err.Error() }

// Unwrap returns the syscall.Errno.
func (e *ExecError) Unwrap() error { return e.Err }

// Start starts the command and does not follow it.
func (c Command) Start() (pid int, err error) {
	return c.start(&syscall.SysProcAttr{})
}

// start falls back on sh(1) for a script without an interpreter line, as
// execvp(3) does. The error is an *ExecError.
func (c Command) start(how *syscall.SysProcAttr) (pid int, err error) {
	attributes := &syscall.ProcAttr{Env: c.Env, Files: []uintptr{0, 1, 2}, Sys: how}
	err = c.execute(func(path string, argv []string) error {
		pid, err = syscall.ForkExec(path, argv, attributes)
		return err
	})
	if err != nil {
		return 0, &ExecError{err}
	}
	return pid, nil
}

// execute executes the command by exec, or what has to read it.
func (c Command) execute(exec func(path string, argv []string) error) error {
	err := exec(c.Path, c.Argv)
	if errors.Is(err, unix.ENOEXEC) {
		const shell = "/bin/sh"
		err = exec(shell, append([]string{shell, c.Path}, c.Argv[1:]...))
	}
	return err
}

// launch starts the command and seizes it before its first instruction. It has
// to be called on the thread that is to follow it. When the command is to come
// under the filter, a shim becomes it.
//
// The child asks to be traced (PTRACE_TRACEME) and so stops within exec(2). That
// way of tracing lacks what a seized process has, group stops that last above
// all; so it is let go with a SIGSTOP, which stops it where it stands, is
// seized, and is let run.
func (c Command) launch(options int, filtered bool) (pid int, err error) {
	if filtered {
		pid, err = c.startShim()
	} else {
		pid, err = c.start(&syscall.SysProcAttr{Ptrace: true})
	}
	if !filtered && errors.Is(err, unix.EPERM) {
		// The answer of ptrace rather than of exec: it is tried first.
		return 0, fmt.Errorf("%w: PTRACE_TRACEME: %w", ErrRefused, err)
	}
	if err != nil {
		return 0, err
	}
	steps := []struct {
		name string
		do   func() error
	}{
		{"wait for exec", func() error {
			if filtered {
				return nil // startShim has
			}
			return awaitStop(pid, unix.WALL)
		}},
		{"PTRACE_DETACH", func() error { return detach(pid, unix.SIGSTOP) }},
		{"wait for SIGSTOP", func() error { return awaitStop(pid, unix.WUNTRACED) }},
		{"PTRACE_SEIZE", func() error { return ptrace(unix.PTRACE_SEIZE, pid, 0, uintptr(options)) }},
		{"wait for the stop", func() error { return awaitStop(pid, unix.WALL) }},
		{"continue", func() error { return unix.Kill(pid, unix.SIGCONT) }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			// It has run none of its own code, and nobody has seen it.
			unix.Kill(pid, unix.SIGKILL)
			unix.Wait4(pid, nil, unix.WALL, nil)
			return 0, fmt.Errorf("%w: %s: %w", ErrRefused, step.name, err)
		}
	}
	return pid, nil
}

// awaitStop waits until a child stops.
func awaitStop(pid, options int) error {
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(pid, &status, options, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("wait4", err)
		case !status.Stopped():
			return fmt.Errorf("it has ended (%#x)", uint32(status))
		default:
			return nil
		}
	}
}
