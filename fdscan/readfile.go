package fdscan

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// readFile is os.ReadFile for the files of /proc and /sys. The package os hands
// each file that can be polled, as those of /proc/sys can, to the runtime's
// epoll instance and takes it back: five system calls more than the three that
// are needed, and a thread that wakes up.
func readFile(name string) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	text := make([]byte, 0, 1<<10)
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return text, &fs.PathError{Op: "read", Path: name, Err: err}
		case n == 0:
			return text, nil
		default:
			text = text[:len(text)+n]
		}
	}
}
