package fdscan

import (
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// userHZ is USER_HZ, the unit of times in /proc/PID/stat: 100 on every Linux.
const userHZ = 100

// readProcess reads what /proc says of one process. A fact that may not be
// read stays zero; the error is only for a process that has ended.
func (l *lookup) readProcess(pid int) (*Process, error) {
	fs, err := procfs.NewFS(l.root())
	if err != nil {
		return nil, err
	}
	proc, err := fs.Proc(pid)
	if err != nil {
		return nil, err
	}
	stat, err := proc.Stat()
	if err != nil {
		return nil, err
	}
	p := &Process{
		PID: pid, PPID: stat.PPID, StartTicks: stat.Starttime, Comm: stat.Comm,
		Group: stat.PGRP, Session: stat.Session, Threads: stat.NumThreads,
		StartTime: l.snap.Host.Started.Add(time.Duration(stat.Starttime) * time.Second / userHZ),
	}
	if stat.State != "" {
		p.State = stat.State[0]
	}
	if status, err := proc.NewStatus(); err == nil {
		p.UID = uint32(status.UIDs[1]) // effective
		for _, n := range status.NSpids {
			p.NSPIDs = append(p.NSPIDs, int(n))
		}
	}
	p.User = l.userName(p.UID)
	p.StackStart = l.statField(pid, 28)
	p.Cmdline, _ = proc.CmdLine()
	if cgroups, err := proc.Cgroups(); err == nil {
		p.Cgroup = cgroupPath(cgroups)
		p.Unit, p.Container = unitOf(p.Cgroup), containerOf(p.Cgroup)
	}
	l.readExe(p)
	if text, err := os.Readlink(l.path(strconv.Itoa(pid), "ns/net")); err == nil {
		p.NetNS = nsInode(text)
	}
	return p, nil
}

// readExe reads /proc/PID/exe: its text, and the identity of the file behind
// it, which holds even when the file has been replaced.
func (l *lookup) readExe(p *Process) {
	link := l.path(strconv.Itoa(p.PID), "exe")
	text, err := os.Readlink(link)
	if err != nil {
		return
	}
	p.Exe, p.ExeDeleted = strings.CutSuffix(text, " (deleted)")
	if info, err := os.Stat(link); err == nil && !l.Detached {
		st := info.Sys().(*syscall.Stat_t)
		p.ExeDevice, p.ExeInode = uint64(st.Dev), st.Ino
	}
}

// cgroupPath prefers the unified hierarchy. On a host of version 1 that is
// empty, and name=systemd or the longest path of a controller tells more.
func cgroupPath(cgroups []procfs.Cgroup) (path string) {
	for _, c := range cgroups {
		if c.HierarchyID == 0 && c.Path != "/" {
			return c.Path
		}
		if len(c.Path) > len(path) {
			path = c.Path
		}
	}
	return path
}

// userName is the name of uid in this system's user database, or its number.
func (l *lookup) userName(uid uint32) string {
	if name, ok := l.users[uid]; ok {
		return name
	}
	name := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	if l.users == nil {
		l.users = map[uint32]string{}
	}
	l.users[uid] = name
	return name
}

// startTicks reads field 22 of /proc/PID/stat again, to see that a pid is still
// the process it was; 0 when it has ended.
func (l *lookup) startTicks(pid int) uint64 { return l.statField(pid, 22) }

// statField reads a number of /proc/PID/stat, counted from 1 as proc_pid_stat(5)
// does; 0 when it cannot be read.
func (l *lookup) statField(pid, field int) uint64 {
	b, err := os.ReadFile(l.path(strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	// Field 2, the command, may hold any byte; the last ')' ends it.
	rest := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(rest) <= field-3 {
		return 0
	}
	n, _ := strconv.ParseUint(rest[field-3], 10, 64)
	return n
}

// sockfsDevice is the kernel's device number of sockfs, which is where an epoll
// instance's tfd lines say that a socket lives; 0 when no socket can be made.
func sockfsDevice() uint64 {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return uint64(unix.Major(uint64(st.Dev)))<<20 | uint64(unix.Minor(uint64(st.Dev)))
}
