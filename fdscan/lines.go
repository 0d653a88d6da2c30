package fdscan

import (
	"bytes"
	"io/fs"
	"math"

	"golang.org/x/sys/unix"
)

// procFile is an open file of /proc: a descriptor without the care that os.File
// takes of it, which costs as much again as reading does. None of these files
// can be waited for.
type procFile int

func openProc(path string) (procFile, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			return procFile(fd), nil
		}
		if err != unix.EINTR {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

func (f procFile) close() { _ = unix.Close(int(f)) }

// read is read(2); 0 is the end.
func (f procFile) read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), b)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// readFile returns what is in a file of /proc.
func readFile(path string) ([]byte, error) { return readMost(path, math.MaxInt64) }

// readMost returns the first bytes of a file of /proc, as far as it can be read.
func readMost(path string, most int64) ([]byte, error) {
	f, err := openProc(path)
	if err != nil {
		return nil, err
	}
	defer f.close()
	text := make([]byte, 0, 512)
	for int64(len(text)) < most {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := f.read(text[len(text):min(int64(cap(text)), most)])
		text = text[:len(text)+n]
		if err != nil {
			return text, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			break
		}
	}
	return text, nil
}

// eachLine calls f with every line of a file of /proc, less its new line, until
// f returns an error. The memory that it takes does not grow with the file; a
// line longer than any that the kernel writes is cut.
func eachLine(path string, f func(line []byte) error) error {
	const longest = 64 << 10 // a path has 4 KiB, and each byte may be escaped
	file, err := openProc(path)
	if err != nil {
		return err
	}
	defer file.close()
	text := make([]byte, 0, 4<<10)
	for cut := false; ; {
		if len(text) == cap(text) {
			text = append(make([]byte, 0, 2*cap(text)), text...)
		}
		n, err := file.read(text[len(text):cap(text)])
		if err != nil {
			return &fs.PathError{Op: "read", Path: path, Err: err}
		}
		text = text[:len(text)+n]
		rest := text
		for len(rest) > 0 {
			line, after, whole := bytes.Cut(rest, []byte("\n"))
			if !whole && n > 0 && len(rest) < longest {
				break
			}
			if !cut {
				if err := f(line); err != nil {
					return err
				}
			}
			cut, rest = !whole, after
		}
		if n == 0 {
			return nil
		}
		text = text[:copy(text, rest)]
	}
}
