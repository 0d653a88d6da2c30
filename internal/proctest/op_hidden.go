package proctest

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

var _ = define(&specification{
	usage: "netns { … }",
	text: "carries out operations in a new network namespace, loopback up, and goes back. What sockets are made in it " +
		"belong to it, although no process does.",
	block: true, admits: func(inner *specification) bool { return !inner.last },
	run: func(r *role, op *operation) error {
		return inNewNet(func() error {
			for _, inner := range op.Body {
				if err := r.do(inner); err != nil {
					return fmt.Errorf("%s: %w", inner, err)
				}
			}
			return nil
		})
	},
})

var _ = define(&specification{
	usage: "uring [FD…] [name=N]",
	text: "registers descriptors with a new io_uring instance, in slots from 0 on, and closes them: only the ring " +
		"keeps the files. The kernel lets go of them some time after the ring's end.",
	max: -1, options: []string{"name"},
	run: func(r *role, op *operation) error {
		found, err := r.table.findAll(op.Args)
		if err != nil {
			return err
		}
		var params [120]byte // struct io_uring_params
		ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
		if errno != 0 {
			return fmt.Errorf("io_uring_setup: %w", errno)
		}
		var fds []int32
		for _, e := range found {
			fds = append(fds, int32(e.FD))
		}
		const registerFiles = 2 // IORING_REGISTER_FILES
		_, _, errno = unix.Syscall6(unix.SYS_IO_URING_REGISTER, ring, registerFiles,
			uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), 0, 0)
		if errno != 0 {
			return fmt.Errorf("io_uring_register: %w", errno)
		}
		if err := r.closeAll(found); err != nil {
			return err
		}
		return r.table.add(op.option("name", ""), "uring", int(ring))
	},
})

var _ = define(&specification{
	usage: "scm FD… [name=N over=FD]",
	text: "sends descriptors over a unix socket in one SCM_RIGHTS message, which nobody receives, and closes them: only " +
		"the message keeps the files. over names the socket to send from; otherwise a pair is made, whose receiving end " +
		"is called N and whose sending end N2.",
	min: 1, max: -1, options: []string{"name", "over"},
	run: func(r *role, op *operation) error {
		found, err := r.table.findAll(op.Args)
		if err != nil {
			return err
		}
		var sender int
		if over := op.option("over", ""); over != "" {
			e, err := r.table.find(over)
			if err != nil {
				return err
			}
			sender = e.FD
		} else if sender, err = r.pair(op, unix.SOCK_STREAM); err != nil {
			return err
		}
		var fds []int
		for _, e := range found {
			fds = append(fds, e.FD)
		}
		if err := unix.Sendmsg(sender, []byte{0}, unix.UnixRights(fds...), nil, 0); err != nil {
			return fmt.Errorf("sendmsg: %w", err)
		}
		return r.closeAll(found)
	},
})

var _ = define(&specification{
	usage:   "pair [name=N]",
	text:    "makes a pair of connected unix stream sockets, called N and N2.",
	options: []string{"name"},
	run: func(r *role, op *operation) error {
		_, err := r.pair(op, unix.SOCK_STREAM)
		return err
	},
})

// pair makes a pair of unix sockets with the operation's name, and returns the
// second.
func (r *role) pair(op *operation, kind int) (second int, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err != nil {
		return 0, fmt.Errorf("socketpair: %w", err)
	}
	name := op.option("name", op.Name)
	for i, fd := range ends {
		if i == 1 {
			name += "2"
		}
		if err := r.noteSocket(name, op.Name, "unix", fd); err != nil {
			return 0, err
		}
	}
	return ends[1], nil
}

// closeAll closes descriptors and forgets them.
func (r *role) closeAll(es []entry) error {
	for _, e := range es {
		if err := unix.Close(e.FD); err != nil {
			return fmt.Errorf("close %d: %w", e.FD, err)
		}
		r.table.remove(e.FD)
	}
	return nil
}
