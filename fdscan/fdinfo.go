package fdscan

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// FDInfo is what /proc/PID/fdinfo/FD says (proc_pid_fdinfo(5)).
type FDInfo struct {
	Pos   int64
	Flags uint32 // file access mode, status flags, and O_CLOEXEC for FD_CLOEXEC
	Inode uint64 // of the file; 0 when not told (before Linux 5.14)
	// SCMFiles counts the files in messages that a unix socket has queued
	// for receiving (scm_fds, Linux 5.10).
	SCMFiles int
	// Watches are what an epoll instance watches (the tfd lines).
	Watches []Watch
}

// Watch is a file that an epoll instance watches.
type Watch struct {
	FD int // its number at registration, in the registering process
	// Inode and Device identify the file (Linux 4.13); the device is the
	// kernel's own number. 0 when not reported.
	Inode  uint64
	Device uint64
	Events uint32 // EPOLLIN and the like
}

// awaitsEvents reports whether anything but errors is waited for: EPOLLONESHOT
// and servers that have enough to do switch that off.
func (w Watch) awaitsEvents() bool {
	const flags = unix.EPOLLET | unix.EPOLLONESHOT | unix.EPOLLWAKEUP | unix.EPOLLEXCLUSIVE
	return w.Events&^(flags|unix.EPOLLERR|unix.EPOLLHUP) != 0
}

// CloseOnExec reports FD_CLOEXEC: fdinfo shows it among the status flags.
func (i FDInfo) CloseOnExec() bool { return i.Flags&unix.O_CLOEXEC != 0 }

// parseFDInfo reads the lines it knows; others are those of kinds of files that
// no question here asks about.
func parseFDInfo(text []byte) (info FDInfo) {
	for line := range bytes.Lines(text) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		v := string(bytes.TrimSpace(value))
		switch string(key) {
		case "pos":
			info.Pos, _ = strconv.ParseInt(v, 10, 64)
		case "flags":
			n, _ := strconv.ParseUint(v, 8, 32)
			info.Flags = uint32(n)
		case "ino":
			info.Inode, _ = strconv.ParseUint(v, 10, 64)
		case "scm_fds":
			info.SCMFiles, _ = strconv.Atoi(v)
		case "tfd":
			info.Watches = append(info.Watches, parseWatch(v))
		}
	}
	return info
}

// parseWatch reads what follows "tfd:" in "5 events: 19 data: … pos:0 ino:25f5 sdev:9".
func parseWatch(s string) (w Watch) {
	fields := strings.Fields(s)
	if len(fields) > 0 {
		w.FD, _ = strconv.Atoi(fields[0])
	}
	for i, f := range fields {
		if f == "events:" && i+1 < len(fields) {
			n, _ := strconv.ParseUint(fields[i+1], 16, 32)
			w.Events = uint32(n)
		} else if v, ok := strings.CutPrefix(f, "ino:"); ok {
			w.Inode, _ = strconv.ParseUint(v, 16, 64)
		} else if v, ok := strings.CutPrefix(f, "sdev:"); ok {
			w.Device, _ = strconv.ParseUint(v, 16, 64)
		}
	}
	return w
}

// linkInode reads the number in a link text such as "socket:[41877]".
func linkInode(link, prefix string) (inode uint64, ok bool) {
	rest, ok := strings.CutPrefix(link, prefix)
	if !ok || !strings.HasSuffix(rest, "]") {
		return 0, false
	}
	n, err := strconv.ParseUint(rest[:len(rest)-1], 10, 64)
	return n, err == nil
}
