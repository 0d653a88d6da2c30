package proctest

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// openFlags are the words for flags of open(2); none is no flag.
var openFlags = map[string]int{
	"": 0, "append": unix.O_APPEND, "direct": unix.O_DIRECT, "directory": unix.O_DIRECTORY, "nofollow": unix.O_NOFOLLOW, "nonblock": unix.O_NONBLOCK,
	"path": unix.O_PATH, "tmpfile": unix.O_TMPFILE,
}

var _ = define(&specification{
	usage: "open PATH [name=N fd=N cloexec=0|1 write=0|1 create=0|1 flags=FLAG,…]",
	text:  "opens a file, for reading unless said. The flags are append, direct, directory, nofollow, nonblock, path and tmpfile.",
	min:   1, max: 1, options: []string{"name", "fd", "cloexec", "write", "create", "flags"},
	run: func(r *role, op *operation) error {
		flags := op.cloexec()
		if op.on("write") {
			flags |= unix.O_RDWR
		}
		if op.on("create") {
			flags |= unix.O_CREAT
		}
		for word := range strings.SplitSeq(op.option("flags", ""), ",") {
			flag, known := openFlags[word]
			if !known {
				return fmt.Errorf("unknown flag %q", word)
			}
			flags |= flag
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
	usage: "lock [FD] [by=flock|posix|ofd]",
	text: "takes an exclusive lock: a flock(2) of the file, unless said, or of its bytes 10 to 14. The first and the last belong to the open file " +
		"description, the second to the process.",
	max: 1, options: []string{"by"},
	compile: func(t *table, op *operation) (program, error) {
		e, err := t.find(first(op.Args))
		if err != nil {
			return nil, err
		}
		var p program
		region := &unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET, Start: 10, Len: 5}
		switch by := op.option("by", "flock"); by {
		case "flock":
			p.add(unix.SYS_FLOCK, uintptr(e.FD), unix.LOCK_EX|unix.LOCK_NB)
		case "posix":
			p.add(unix.SYS_FCNTL, uintptr(e.FD), unix.F_SETLK, pointer(region)).keep = region
		case "ofd":
			p.add(unix.SYS_FCNTL, uintptr(e.FD), unix.F_OFD_SETLK, pointer(region)).keep = region
		default:
			return nil, fmt.Errorf("unknown lock %q", by)
		}
		return p, nil
	},
})

var _ = define(&specification{
	usage: "unlink PATH",
	text:  "removes the name of a file or socket that may be open.",
	min:   1, max: 1,
	run: func(_ *role, op *operation) error { return unix.Unlink(op.Args[0]) },
})
