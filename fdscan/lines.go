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

// fill reads until b is full or the file has ended, which it has when n is less
// than b has room for.
func (f procFile) fill(b []byte) (n int, err error) {
	for n < len(b) {
		more, err := f.read(b[n:])
		n += more
		if more == 0 || err != nil {
			return n, err
		}
	}
	return n, nil
}

// readFile returns what is in a file of /proc.
func readFile(path string) ([]byte, error) { return readMost(path, math.MaxInt) }

// readMost returns the first bytes of a file of /proc, as far as it can be read.
func readMost(path string, most int) ([]byte, error) {
	f, err := openProc(path)
	if err != nil {
		return nil, err
	}
	defer f.close()
	var small [4 << 10]byte // most files are: one allocation, of what they need
	size := min(most, len(small))
	n, err := f.fill(small[:size])
	text := append(make([]byte, 0, n), small[:n]...)
	for err == nil && n == size && size < most {
		size = min(4*size, most)
		text = append(text, make([]byte, size-n)...)
		var more int
		more, err = f.fill(text[n:])
		n += more
	}
	if err != nil {
		err = &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return text[:n], err
}

// readLink is readlink(2) on a link of /proc, which does not wait.
func readLink(path string) (string, error) {
	var text [unix.PathMax]byte
	n, err := unix.Readlink(path, text[:])
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	return string(text[:n]), nil
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
