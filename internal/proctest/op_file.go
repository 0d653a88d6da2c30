package proctest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

var _ = define(&specification{
	usage: "open PATH [name=N fd=N cloexec=0|1 write=0|1 create=0|1]",
	text:  "opens a file, for reading unless said.",
	min:   1, max: 1, options: []string{"name", "fd", "cloexec", "write", "create"},
	run: func(r *role, op *operation) error {
		flags := op.cloexec()
		if op.on("write") {
			flags |= unix.O_RDWR
		}
		if op.on("create") {
			flags |= unix.O_CREAT
		}
		fd, err := unix.Open(op.Args[0], flags, 0o600)
		if err != nil {
			return err
		}
		return r.keep(op, fd, "open")
	},
})

var _ = define(&specification{
	usage:   "pipe [name=N cloexec=0|1]",
	text:    "makes a pipe whose reading end is called N and whose writing end is called N2.",
	options: []string{"name", "cloexec"},
	run: func(r *role, op *operation) error {
		var ends [2]int
		if err := unix.Pipe2(ends[:], op.cloexec()); err != nil {
			return err
		}
		name := op.option("name", "pipe")
		if err := r.table.add(name, "pipe", ends[0]); err != nil {
			return err
		}
		return r.table.add(name+"2", "pipe", ends[1])
	},
})

// makers make what needs no path, by the name that the link in /proc/PID/fd
// has. The flag is O_CLOEXEC or 0.
var makers = map[string]func(flag int) (int, error){
	"eventfd":  func(flag int) (int, error) { return unix.Eventfd(0, flag) },
	"timerfd":  func(flag int) (int, error) { return unix.TimerfdCreate(unix.CLOCK_MONOTONIC, flag) },
	"signalfd": func(flag int) (int, error) { return unix.Signalfd(-1, &unix.Sigset_t{}, flag) },
	"inotify":  unix.InotifyInit1,
	"memfd": func(flag int) (int, error) {
		if flag != 0 {
			flag = unix.MFD_CLOEXEC
		}
		return unix.MemfdCreate("proctest", flag)
	},
	"pidfd": func(flag int) (int, error) {
		fd, err := unix.PidfdOpen(unix.Getpid(), 0)
		if err == nil && flag == 0 { // it is always made close-on-exec
			_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		}
		return fd, err
	},
}

var _ = define(&specification{
	usage: "make " + strings.Join(slices.Sorted(maps.Keys(makers)), "|") + " [name=N fd=N cloexec=0|1]",
	text:  "makes a descriptor of that kind.",
	min:   1, max: 1, options: []string{"name", "fd", "cloexec"},
	run: func(r *role, op *operation) error {
		maker, ok := makers[op.Args[0]]
		if !ok {
			return fmt.Errorf("unknown kind of descriptor")
		}
		fd, err := maker(op.cloexec())
		if err != nil {
			return err
		}
		return r.keep(op, fd, op.Args[0])
	},
})

var _ = define(&specification{
	usage: "map [FD]",
	text:  "maps the first page of a file into memory, for ever: it stays held when the descriptor is closed.",
	max:   1,
	compile: func(t *table, op *operation) (program, error) {
		e, err := t.find(first(op.Args))
		if err != nil {
			return nil, err
		}
		var p program
		p.add(unix.SYS_MMAP, 0, uintptr(unix.Getpagesize()), unix.PROT_READ, unix.MAP_SHARED, uintptr(e.FD), 0)
		return p, nil
	},
})

var _ = define(&specification{
	usage: "lock [FD]",
	text:  "takes an exclusive flock(2) on the file, which belongs to the open file description.",
	max:   1,
	compile: func(t *table, op *operation) (program, error) {
		e, err := t.find(first(op.Args))
		if err != nil {
			return nil, err
		}
		var p program
		p.add(unix.SYS_FLOCK, uintptr(e.FD), unix.LOCK_EX|unix.LOCK_NB)
		return p, nil
	},
})

var _ = define(&specification{
	usage: "unlink PATH",
	text:  "removes the name of a file or socket that may be open.",
	min:   1, max: 1,
	run: func(_ *role, op *operation) error { return unix.Unlink(op.Args[0]) },
})
