package act

import (
	"fmt"

	"golang.org/x/sys/unix"

	"stray/internal/tracee"
)

// orders are what an operation is told. It runs in the helper process, with the
// target stopped.
type orders struct {
	// Caller has Copy, a descriptor of the file that every one of FDs must
	// be a descriptor of.
	Caller, Copy int
	FDs          []int
}

// The operations return how many descriptors they are done with.
var (
	replaceDescriptors = tracee.Register("act.replace", replace)
	closeDescriptors   = tracee.Register("act.close", closeAll)
	sealDescriptors    = tracee.Register("act.seal", seal)
)

// verify proves that each number in the stopped target's table is the file that
// the plan speaks of: kcmp(2) compares open file descriptions.
func (o orders) verify(s *tracee.Stopped) error {
	const kcmpFile = 0
	for _, fd := range o.FDs {
		r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(o.Caller), uintptr(s.TID()), kcmpFile, uintptr(o.Copy), uintptr(fd), 0)
		switch {
		case errno == unix.EBADF || errno == 0 && r != 0:
			return fmt.Errorf("fd %d is closed, or another file, since it was looked at: nothing was done", fd)
		case errno != 0:
			return fmt.Errorf("fd %d cannot be identified, nothing was done: kcmp: %w", fd, errno)
		}
	}
	return nil
}

// replace parks the numbers: an unbound unix socket takes their place. It
// answers what a closed socket would, as nearly as there is: EINVAL to accept,
// ENOTCONN to write, a hang-up to poll.
func replace(s *tracee.Stopped, o orders) (done int, err error) {
	if err := o.verify(s); err != nil {
		return 0, err
	}
	inert, err := s.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	for _, fd := range o.FDs {
		if err = s.Dup3(inert, fd, unix.O_CLOEXEC); err != nil {
			break
		}
		done++
	}
	if closeErr := s.Close(inert); err == nil {
		err = closeErr
	}
	return done, err
}

// closeAll closes the numbers.
func closeAll(s *tracee.Stopped, o orders) (done int, err error) {
	if err := o.verify(s); err != nil {
		return 0, err
	}
	for _, fd := range o.FDs {
		if err := s.Close(fd); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}

// seal sets FD_CLOEXEC, the only descriptor flag there is.
func seal(s *tracee.Stopped, o orders) (done int, err error) {
	if err := o.verify(s); err != nil {
		return 0, err
	}
	for _, fd := range o.FDs {
		if _, err := s.Fcntl(fd, unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}
