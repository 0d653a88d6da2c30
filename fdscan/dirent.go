package fdscan

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets of struct linux_dirent64 (getdents64(2)).
const (
	direntReclen = 16
	direntName   = 19
)

// eachDirent calls f with each name of a buffer that getdents64 has filled. The
// byte after name is NUL.
func eachDirent(b []byte, f func(name []byte)) {
	for len(b) > direntName {
		length := int(binary.NativeEndian.Uint16(b[direntReclen:]))
		if length <= direntName || length > len(b) {
			return
		}
		name := b[direntName:length]
		for i, c := range name {
			if c == 0 {
				f(name[:i])
				break
			}
		}
		b = b[length:]
	}
}

// readlinkat is readlinkat(2) on a name that a NUL follows in memory. It is a
// raw call: /proc links are read without waiting, and telling the scheduler of
// each would cost more than the call.
func readlinkat(dir int, name, buf []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_READLINKAT, uintptr(dir),
		uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0, 0)
	return int(n), errno
}

// number reads a decimal name; ok is false for any other.
func number(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || n > 1<<31 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, len(b) > 0
}

// inodeOf reads the number in "123]".
func inodeOf(b []byte) (n uint64) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }

// gone reports that a process or thread ended while it was read.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) }
