package tracee

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// op is a system call that can be made in a target. There are few, and they
// have this in common: none takes a pointer to memory of the target that would
// have to be written, and none waits by its nature.
type op string

// The calls, by their names in the manual.
const (
	opClose    op = "close"
	opDup3     op = "dup3"
	opFcntl    op = "fcntl"
	opSocket   op = "socket"
	opShutdown op = "shutdown"
	opOpenPath op = "openat"
)

// number is the system call's on this architecture, ok false for what is no op.
func (o op) number() (number uint64, ok bool) {
	switch o {
	case opClose:
		return unix.SYS_CLOSE, true
	case opDup3:
		return unix.SYS_DUP3, true
	case opFcntl:
		return unix.SYS_FCNTL, true
	case opSocket:
		return unix.SYS_SOCKET, true
	case opShutdown:
		return unix.SYS_SHUTDOWN, true
	case opOpenPath:
		return unix.SYS_OPENAT, true
	}
	return 0, false
}

// CallError is what became of a call that did not succeed in the target.
type CallError struct {
	// Call is the system call's name in the manual.
	Call string
	// Errno is the target's answer, 0 when there was none.
	Errno unix.Errno
	// Aborted: the call waited until the deadline and was interrupted. What it
	// set out to do may have been done: close(2) frees the number first.
	Aborted bool
	// Cause says why there was no answer.
	Cause string
}

func (e *CallError) Error() string {
	switch {
	case e.Aborted && e.Errno == 0:
		return fmt.Sprintf("%s in the target: interrupted at the deadline: %s", e.Call, e.Cause)
	case e.Aborted:
		return fmt.Sprintf("%s in the target: interrupted at the deadline: %v", e.Call, e.Errno)
	case e.Errno != 0:
		return fmt.Sprintf("%s in the target: %v", e.Call, e.Errno)
	}
	return fmt.Sprintf("%s in the target: %s", e.Call, e.Cause)
}

// Unwrap gives the target's errno to errors.Is.
func (e *CallError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Close is close(2) in the target. The number is free afterwards even when an
// error is returned, EBADF aside.
func (s *Stopped) Close(fd int) error {
	_, err := s.call(opClose, uint64(fd))
	return err
}

// Dup3 is dup3(2) in the target: newfd becomes another descriptor of what oldfd
// is, and what it was before is closed. flags are 0 or O_CLOEXEC.
func (s *Stopped) Dup3(oldfd, newfd, flags int) error {
	_, err := s.call(opDup3, uint64(oldfd), uint64(newfd), uint64(flags))
	return err
}

// Socket is socket(2) in the target; kind may have SOCK_CLOEXEC. It returns the
// descriptor, which is the target's.
func (s *Stopped) Socket(domain, kind, protocol int) (int, error) {
	return s.call(opSocket, uint64(domain), uint64(kind), uint64(protocol))
}

// Shutdown is shutdown(2) in the target.
func (s *Stopped) Shutdown(fd, how int) error {
	_, err := s.call(opShutdown, uint64(fd), uint64(how))
	return err
}

// fcntlCommands are those whose argument is a number, and which do not wait.
var fcntlCommands = map[int]bool{
	unix.F_GETFD: true, unix.F_SETFD: true, unix.F_GETFL: true, unix.F_SETFL: true,
	unix.F_DUPFD: true, unix.F_DUPFD_CLOEXEC: true,
}

// Fcntl is fcntl(2) in the target, with F_GETFD, F_SETFD, F_GETFL, F_SETFL,
// F_DUPFD or F_DUPFD_CLOEXEC; other commands are an error.
func (s *Stopped) Fcntl(fd, command, argument int) (int, error) {
	if !fcntlCommands[command] {
		return -1, fmt.Errorf("fcntl command %d cannot be made in a target", command)
	}
	return s.call(opFcntl, uint64(fd), uint64(command), uint64(argument))
}

// OpenPath opens, in the target, its own program file with O_PATH and
// O_CLOEXEC: a descriptor with which nothing can be done, that keeps nothing
// alive which the running program does not keep alive anyway. The path is the
// one with which the program was run (AT_EXECFN), which is in its memory
// already. It fails with ENOENT where that path does not lead there any more.
func (s *Stopped) OpenPath() (int, error) {
	if s.engine.aux.filename == 0 {
		return -1, errors.New("the target has no AT_EXECFN")
	}
	directory := unix.AT_FDCWD
	return s.call(opOpenPath, uint64(directory), s.engine.aux.filename, unix.O_PATH|unix.O_CLOEXEC)
}
