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
	// MountID is that of mountinfo (mnt_id, Linux 3.15); mounts that only the
	// kernel knows have one too.
	MountID int
	Inode   uint64 // ino, Linux 5.14; 0 when not reported
	Locks   []Lock // the lock lines, Linux 4.1
	// Details are the other lines, which are those of one kind of file, under
	// the kernel's names and in its order.
	Details []Detail
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

// parseFDInfo reads every line. First come those that each file has, and its
// locks. What follows is up to the kind of file: there a name that a program
// has chosen may hold any text (a dma-buf's), and nothing is taken for one of
// the first.
func parseFDInfo(text []byte) (info FDInfo) {
	first, section := true, ""
	for line := range bytes.Lines(text) {
		d, below := parseDetail(string(bytes.TrimRight(line, "\n")), &section)
		if d == (Detail{}) {
			continue
		}
		if first = first && !below && info.general(d); first {
			continue
		}
		info.Details = append(info.Details, d)
		switch {
		case below:
		case d.Name == "scm_fds":
			info.SCMFiles, _ = strconv.Atoi(d.Value)
		case d.Name == "tfd":
			info.Watches = append(info.Watches, parseWatch(d.Value))
		}
	}
	return info
}

// general notes what every file has; ok is false for any other line.
func (i *FDInfo) general(d Detail) (ok bool) {
	switch d.Name {
	case "pos":
		i.Pos, _ = strconv.ParseInt(d.Value, 10, 64)
	case "flags":
		n, _ := strconv.ParseUint(d.Value, 8, 32)
		i.Flags = uint32(n)
	case "mnt_id":
		i.MountID, _ = strconv.Atoi(d.Value)
	case "ino":
		i.Inode, _ = strconv.ParseUint(d.Value, 10, 64)
	case "lock":
		if l, _, ok := parseLock(d.Value); ok {
			i.Locks = append(i.Locks, l)
		}
	default:
		return false
	}
	return true
}

// parseDetail reads one line, of which there are three forms:
//
//	eventfd-count:                3
//	inotify wd:2 ino:124077 sdev:fe00000 …
//	    0: socket:[41877]
//
// The last form belongs to the section that the line before it began, as in
// "UserFiles:\t1"; its name is then "UserFiles 0". An empty line is no Detail.
func parseDetail(line string, section *string) (d Detail, below bool) {
	text := strings.TrimSpace(line)
	indented := text != "" && (line[0] == ' ' || line[0] == '\t')
	key, value, ok := strings.Cut(text, ":")
	switch before, after, _ := strings.Cut(text, " "); {
	case before == "inotify" || before == "fanotify":
		return Detail{before, after}, false
	case indented && !ok:
		return Detail{*section, text}, true
	case indented:
		return Detail{strings.TrimSpace(*section + " " + key), strings.TrimSpace(value)}, true
	case !ok:
		return Detail{"", text}, false
	}
	*section = key
	return Detail{key, strings.TrimSpace(value)}, false
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
