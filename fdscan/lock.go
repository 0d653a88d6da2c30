package fdscan

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// parseLock reads a line of proc_locks(5), which fdinfo has too, and the file
// that is locked:
//
//	1: FLOCK  ADVISORY  WRITE 24106 fe:00:9986305 0 EOF
//
// A line with "->" is somebody who waits for the lock above it, and holds none.
func parseLock(line string) (l Lock, file FileID, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[1] == "->" {
		return Lock{}, FileID{}, false
	}
	l = Lock{Type: fields[1], Access: fields[3]}
	if l.Type == "DELEG" {
		l.Type = "LEASE" // what the kernel gives a file server
	}
	switch l.Type {
	case "FLOCK", "POSIX", "OFDLCK", "LEASE":
	default:
		return Lock{}, FileID{}, false
	}
	if l.Access != "READ" && l.Access != "WRITE" {
		return Lock{}, FileID{}, false // a lease that is being broken: UNLCK
	}
	pid, err1 := strconv.Atoi(fields[4])
	l.PID = max(0, pid)
	file, err2 := parseLockedFile(fields[5])
	var err3, err4 error
	l.Start, err3 = strconv.ParseInt(fields[6], 10, 64)
	if l.End = -1; fields[7] != "EOF" {
		l.End, err4 = strconv.ParseInt(fields[7], 10, 64)
	}
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || l.Start < 0 || l.End < -1 {
		return Lock{}, FileID{}, false
	}
	return l, file, true
}

// parseLockedFile reads "fe:00:9986305": the device in hexadecimal, and the inode.
func parseLockedFile(s string) (FileID, error) {
	major, rest, _ := strings.Cut(s, ":")
	minor, inode, _ := strings.Cut(rest, ":")
	a, err1 := strconv.ParseUint(major, 16, 32)
	b, err2 := strconv.ParseUint(minor, 16, 32)
	n, err3 := strconv.ParseUint(inode, 10, 64)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return FileID{}, err
		}
	}
	return FileID{unix.Mkdev(uint32(a), uint32(b)), n}, nil
}

// posixLocks reads from proc_locks(5) the POSIX locks that processes hold: of
// those that were taken through another descriptor than the one at hand fdinfo
// says nothing. The owner of such a lock is the process.
func (l *lister) posixLocks() map[FileID][]Lock {
	locks := map[FileID][]Lock{}
	err := eachLine(l.path("locks"), func(line []byte) error {
		if lock, file, ok := parseLock(string(line)); ok && lock.Type == "POSIX" {
			locks[file] = append(locks[file], lock)
		}
		return nil
	})
	if err != nil {
		l.gap(Gap{Op: "read " + l.path("locks"), FD: -1, Err: reason(err), Scope: ScopeDetail})
	}
	return locks
}
