package fdscan

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
)

// userHZ is USER_HZ, the unit of times in /proc/PID/stat: 100 on every Linux.
const userHZ = 100

// Flags of a task: include/linux/sched.h.
const (
	forkedNoExec = 0x40       // PF_FORKNOEXEC
	kernelThread = 0x00200000 // PF_KTHREAD
	ioWorker     = 0x10       // PF_IO_WORKER, of io_uring
	userWorker   = 0x4000     // PF_USER_WORKER
)

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
		StackStart: stat.StartStack, Unexeced: stat.Flags&forkedNoExec != 0,
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
	p.Cmdline = l.cmdline(pid)
	if cgroups, err := proc.Cgroups(); err == nil {
		p.Cgroup = cgroupPath(cgroups)
		p.Unit, p.Container = unitOf(p.Cgroup), containerOf(p.Cgroup)
	}
	if text, err := os.Readlink(l.path(strconv.Itoa(pid), "exe")); err == nil {
		p.Exe, p.ExeDeleted = strings.CutSuffix(text, " (deleted)")
	}
	if text, err := os.Readlink(l.path(strconv.Itoa(pid), "ns/net")); err == nil {
		p.NetNS = nsInode(text)
	}
	return p, nil
}

// cmdline reads the arguments of a process. They lie in its memory.
func (l *lookup) cmdline(pid int) []string {
	const most = 1 << 20
	path := l.path(strconv.Itoa(pid), "cmdline")
	text, ok := within(l.ctx, func() []byte { text, _ := readMost(path, most); return text })
	if !ok {
		l.gap(detailGap("read cmdline", pid, errSlow))
	}
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
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
	l.mu.Lock()
	defer l.mu.Unlock()
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

// startTicks reads when a process started again, to see that a pid is still the
// process it was; 0 when it has ended.
func (l *lookup) startTicks(pid int) uint64 {
	stat, _ := readStat(l.path(strconv.Itoa(pid), "stat"))
	return stat.startTicks
}

// ended reports that of this process at most an entry is left, for its parent to
// reap. A leader that has ended before its threads has the state of a zombie too.
func (l *lookup) ended(p *Process) bool {
	stat, _ := readStat(l.path(strconv.Itoa(p.PID), "stat"))
	return stat.startTicks != p.StartTicks || stat.state == 'Z' && stat.threads <= 1 || stat.state == 'X'
}

// processStat is what is wanted of /proc/PID/stat where procfs would read it all.
type processStat struct {
	state      byte
	parent     int
	flags      uint64
	threads    int
	startTicks uint64
}

// readStat reads /proc/PID/stat.
func readStat(path string) (processStat, error) {
	// Field numbers of proc_pid_stat(5), which count from 1.
	const state, parent, flags, threads, startTicks = 3, 4, 9, 20, 22
	text, err := readFile(path)
	if err != nil {
		return processStat{}, err
	}
	// Field 2, the command, may hold any byte; the last ')' ends it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) <= startTicks-state {
		return processStat{}, fmt.Errorf("parse %s: %d fields", path, len(fields))
	}
	s := processStat{state: fields[0][0]}
	s.parent, _ = strconv.Atoi(fields[parent-state])
	s.flags, _ = strconv.ParseUint(fields[flags-state], 10, 64)
	s.threads, _ = strconv.Atoi(fields[threads-state])
	s.startTicks, _ = strconv.ParseUint(fields[startTicks-state], 10, 64)
	return s, nil
}
