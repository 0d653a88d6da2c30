package follow

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// entry is a descriptor, and where it leads: the text of its link.
type entry struct {
	fd   int
	link string
}

// table is some entries of a descriptor table, in the order of their numbers, as
// the kernel lists them.
type table []entry

// has reports whether the table has this very entry.
func (t table) has(e entry) bool {
	i, found := slices.BinarySearchFunc(t, e.fd, func(e entry, fd int) int { return e.fd - fd })
	return found && t[i] == e
}

// tableReader reads descriptor tables, over and over: what a fork, an exec or an
// exit costs is mostly this. Only the links of those descriptors are read that
// can matter.
type tableReader struct {
	root string
	// known are the links of what the caller has passed to the command, which
	// never matters; of those that do not tell one file from another, with the
	// descriptor.
	known map[entry]bool
	dents [8 << 10]byte
	link  [unix.PathMax]byte
	path  []byte
}

// read returns the entries above the standard streams that the caller has not
// passed. tid is the thread whose table is meant. A process that has ended has
// an empty table; the error says that one may not be read.
func (r *tableReader) read(pid, tid int) (table, error) {
	return r.readFrom(pid, tid, unix.Stderr+1)
}

// readFrom is read for the descriptors from a number on.
func (r *tableReader) readFrom(pid, tid, from int) (table, error) {
	dir, err := r.open(pid, tid)
	if err != nil {
		if err == unix.ENOENT || err == unix.ESRCH {
			err = nil
		}
		return nil, err
	}
	defer closeRaw(dir)
	var t table
	for {
		n, err := getdents(dir, r.dents[:])
		if n <= 0 || err != nil {
			return t, err
		}
		for b := r.dents[:n]; len(b) > direntName; {
			length := int(binary.NativeEndian.Uint16(b[direntReclen:]))
			if length <= direntName || length > len(b) {
				break
			}
			name := b[direntName:length]
			b = b[length:]
			fd := number(name)
			if fd < from {
				continue
			}
			size, err := readlink(dir, name, r.link[:])
			if err != nil {
				continue // closed meanwhile
			}
			if text := r.link[:size]; !r.passed(fd, text) {
				t = append(t, entry{fd, string(text)})
			}
		}
	}
}

// everything reads a whole table, whatever the caller has passed.
func (r *tableReader) everything(pid, tid int) (table, error) {
	known := r.known
	r.known = nil
	defer func() { r.known = known }()
	return r.readFrom(pid, tid, 0)
}

// pass makes what t holds known: it comes from the caller.
func (r *tableReader) pass(t table) {
	r.known = map[entry]bool{}
	for _, e := range t {
		if !tellsFile(e.link) {
			r.known[e] = true
			continue
		}
		r.known[entry{anyFD, e.link}] = true
	}
}

// anyFD stands for every descriptor that leads to a file.
const anyFD = -1

// tellsFile reports whether a link tells one file from every other. Those of
// anonymous inodes name the kind alone.
func tellsFile(link string) bool { return !strings.HasPrefix(link, "anon_inode:") }

func (r *tableReader) passed(fd int, link []byte) bool {
	return r.known[entry{anyFD, string(link)}] || r.known[entry{fd, string(link)}]
}

// linkOf returns where a descriptor of a thread leads; "" when that cannot be read.
func (r *tableReader) linkOf(pid, tid, fd int) string {
	r.directory(pid, tid)
	r.path = strconv.AppendInt(append(r.path, '/'), int64(fd), 10)
	r.path = append(r.path, 0)
	size, err := readlink(unix.AT_FDCWD, r.path, r.link[:])
	if err != nil {
		return ""
	}
	return string(r.link[:size])
}

// directory makes path the name of a table's directory.
func (r *tableReader) directory(pid, tid int) {
	b := append(r.path[:0], r.root...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(pid), 10)
	if tid != 0 {
		b = append(b, "/task/"...)
		b = strconv.AppendInt(b, int64(tid), 10)
	}
	r.path = append(b, "/fd"...)
}

func (r *tableReader) open(pid, tid int) (int, error) {
	r.directory(pid, tid)
	b := append(r.path, 0)
	r.path = b
	cwd := unix.AT_FDCWD
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(&b[0])),
		unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// Offsets of struct linux_dirent64 (getdents64(2)).
const (
	direntReclen = 16
	direntName   = 19
)

// number reads the decimal number that a name, with a NUL behind it, begins
// with; -1 for any other name.
func number(name []byte) int {
	n := 0
	for i, c := range name {
		switch {
		case c == 0 && i > 0:
			return n
		case c < '0' || c > '9':
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return -1
}

// The calls below are raw: nothing in /proc waits, and telling the scheduler of
// each would cost more than the call.

func getdents(dir int, buf []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_GETDENTS64, uintptr(dir), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// readlink is readlinkat(2) on a name that a NUL follows in memory.
func readlink(dir int, name, buf []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func closeRaw(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }
