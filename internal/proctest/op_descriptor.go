package proctest

import (
	"fmt"

	"golang.org/x/sys/unix"
)

var _ = define(&specification{
	usage: "close [FD…]",
	text:  "closes descriptors, by name or number; the last one when none is said.",
	max:   -1,
	compile: func(t *table, op *operation) (program, error) {
		found, err := t.findAll(op.Args)
		if err != nil {
			return nil, err
		}
		var p program
		for _, e := range found {
			p.add(unix.SYS_CLOSE, uintptr(e.FD))
			t.remove(e.FD)
		}
		return p, nil
	},
})

var _ = define(&specification{
	usage: "cloexec [FD] on|off",
	text:  "sets or clears FD_CLOEXEC.",
	min:   1, max: 2,
	compile: func(t *table, op *operation) (program, error) {
		word := op.Args[len(op.Args)-1]
		flags, ok := map[string]uintptr{"on": unix.FD_CLOEXEC, "off": 0}[word]
		if !ok {
			return nil, fmt.Errorf("%s: %q is neither on nor off", op, word)
		}
		e, err := t.find(first(op.Args[:len(op.Args)-1]))
		if err != nil {
			return nil, err
		}
		var p program
		p.add(unix.SYS_FCNTL, uintptr(e.FD), unix.F_SETFD, flags)
		return p, nil
	},
})

var _ = define(&specification{
	usage: "dup [FD] [fd=N name=N cloexec=0|1]",
	text:  "duplicates a descriptor, to the number fd or to the lowest free one.",
	max:   1, options: []string{"fd", "name", "cloexec"},
	run: func(r *role, op *operation) error {
		e, err := r.table.find(first(op.Args))
		if err != nil {
			return err
		}
		command := unix.F_DUPFD
		if op.on("cloexec") {
			command = unix.F_DUPFD_CLOEXEC
		}
		fd, err := unix.FcntlInt(uintptr(e.FD), command, 3)
		if err != nil {
			return err
		}
		return r.keep(op, fd, "dup")
	},
})

var _ = define(&specification{
	usage: "epoll [FD…] [name=N fd=N cloexec=0|1]",
	text:  "makes an epoll instance that watches the descriptors.",
	max:   -1, options: []string{"name", "fd", "cloexec"},
	run: func(r *role, op *operation) error {
		found, err := r.table.findAll(op.Args)
		if err != nil {
			return err
		}
		fd, err := unix.EpollCreate1(op.cloexec())
		if err != nil {
			return err
		}
		for _, e := range found {
			event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(e.FD)}
			if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, e.FD, &event); err != nil {
				return fmt.Errorf("epoll_ctl: %w", err)
			}
		}
		return r.keep(op, fd, "epoll")
	},
})

// keep moves a new descriptor to the number that the operation asks for, and
// notes it.
func (r *role) keep(op *operation, fd int, kind string) error {
	fd, err := moveTo(op, fd)
	if err != nil {
		return err
	}
	return r.table.add(op.option("name", ""), kind, fd)
}

// moveTo gives fd the number of the operation's option fd, and leaves its flags
// as they are.
func moveTo(op *operation, fd int) (int, error) {
	want := op.number("fd", fd)
	if want == fd {
		return fd, nil
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil {
		return fd, err
	}
	if err := unix.Dup3(fd, want, (flags&unix.FD_CLOEXEC)*unix.O_CLOEXEC); err != nil {
		return fd, fmt.Errorf("dup3 %d to %d: %w", fd, want, err)
	}
	return want, unix.Close(fd)
}
