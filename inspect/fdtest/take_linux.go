package fdtest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Take returns what this process has open now. The first call makes the runtime
// open what it keeps open from the first use of a pipe or socket on. The error
// is one of reading /proc/self/fd.
func Take() (Snapshot, error) {
	warmUp()
	return take()
}

// warmUp makes the runtime open its network poller: an epoll instance, and the
// eventfd that wakes it.
var warmUp = sync.OnceFunc(func() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
})

func take() (Snapshot, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return Snapshot{}, fmt.Errorf("list the open descriptors: %w", err)
	}
	var s Snapshot
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// The descriptor of the directory itself is closed by now.
		d, err := describe(fd)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EBADF) {
			continue
		} else if err != nil {
			return Snapshot{}, fmt.Errorf("look at descriptor %d: %w", fd, err)
		}
		s.open = append(s.open, d)
	}
	slices.SortFunc(s.open, func(a, b Descriptor) int { return a.FD - b.FD })
	markKept(s.open)
	return s, nil
}

// describe asks the kernel what fd is.
func describe(fd int) (Descriptor, error) {
	d := Descriptor{FD: fd}
	var err error
	if d.link, err = os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); err != nil {
		return d, err
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return d, err
	}
	d.Device, d.Inode = uint64(st.Dev), st.Ino
	if d.Flags, err = fcntl(fd, syscall.F_GETFL); err != nil {
		return d, err
	}
	flags, err := fcntl(fd, syscall.F_GETFD)
	if err != nil {
		return d, err
	}
	d.CloseOnExec = flags&syscall.FD_CLOEXEC != 0
	d.name(st.Mode)
	if st.Mode&syscall.S_IFMT == syscall.S_IFSOCK {
		d.socket()
	}
	return d, nil
}

// name tells kind and name from the file's type and the text of the link.
func (d *Descriptor) name(mode uint32) {
	d.Name = d.link
	switch mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		d.Kind = "file"
	case syscall.S_IFDIR:
		d.Kind = "directory"
	case syscall.S_IFCHR:
		d.Kind = "device"
	case syscall.S_IFBLK:
		d.Kind = "block device"
	case syscall.S_IFLNK:
		d.Kind = "symbolic link"
	case syscall.S_IFIFO:
		d.Kind = "FIFO"
	}
	before, inside, _ := strings.Cut(d.link, ":")
	inside = strings.Trim(inside, "[]")
	switch {
	case strings.HasPrefix(d.link, "/memfd:"):
		d.Kind, d.Name = "memfd", strings.TrimSuffix(strings.TrimPrefix(d.link, "/memfd:"), " (deleted)")
	case before == "pipe":
		d.Kind, d.Name = "pipe", map[int]string{syscall.O_RDONLY: "read end", syscall.O_WRONLY: "write end"}[d.Flags&syscall.O_ACCMODE]
		d.Name = strings.TrimSpace(d.Name + " " + d.link)
	case before == "anon_inode":
		d.Kind, d.Name = inside, ""
	case !strings.HasPrefix(d.link, "/"):
		d.Kind = before // "socket", "pidfd", "net", "mnt" …
	}
}

func fcntl(fd, command int) (int, error) {
	for {
		n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), uintptr(command), 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// flagNames writes access mode and status flags by the names of open(2).
func flagNames(flags int) string {
	text := map[int]string{syscall.O_RDONLY: "O_RDONLY", syscall.O_WRONLY: "O_WRONLY", syscall.O_RDWR: "O_RDWR"}[flags&syscall.O_ACCMODE]
	const path = 0o10000000 // O_PATH, on every architecture that Go knows
	if flags&path != 0 {
		text = "O_PATH"
	}
	for _, f := range []struct {
		bit  int
		name string
	}{{syscall.O_APPEND, "O_APPEND"}, {syscall.O_NONBLOCK, "O_NONBLOCK"}, {syscall.O_DSYNC, "O_DSYNC"}, {syscall.O_DIRECT, "O_DIRECT"}, {syscall.O_DIRECTORY, "O_DIRECTORY"}} {
		if flags&f.bit != 0 {
			text += "|" + f.name
		}
	}
	return text
}
