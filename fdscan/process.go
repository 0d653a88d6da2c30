package fdscan

import (
	"os/user"
	"strconv"
	"strings"
	"time"
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
	stat, err := readStat(l.path(strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil, err
	}
	p := l.describeProcess(pid, stat)
	text, ok := within(l.ctx, func() []byte { return l.readCmdline(pid) })
	l.setCmdline(p, text, ok)
	return p, nil
}

// describeProcess reads all but the arguments of a process.
func (l *lookup) describeProcess(pid int, stat processStat) *Process {
	directory := l.path(strconv.Itoa(pid))
	p := &Process{
		PID: pid, PPID: stat.parent, StartTicks: stat.startTicks, Comm: stat.comm, State: stat.state,
		Group: stat.group, Session: stat.session, Threads: stat.threads,
		StackStart: stat.stackStart, Unexeced: stat.flags&forkedNoExec != 0,
		StartTime: l.snap.Host.Started.Add(time.Duration(stat.startTicks) * time.Second / userHZ),
	}
	if text, err := readFile(directory + "/status"); err == nil {
		p.UID, p.NSPIDs = parseStatus(text)
	}
	p.User = l.userName(p.UID)
	if text, err := readFile(directory + "/cgroup"); err == nil {
		c := l.cgroup(text)
		p.Cgroup, p.Unit, p.Container = c.path, c.unit, c.container
	}
	if text, err := readLink(directory + "/exe"); err == nil {
		p.Exe, p.ExeDeleted = strings.CutSuffix(text, " (deleted)")
	}
	if text, err := readLink(directory + "/ns/net"); err == nil {
		p.NetNS = nsInode(text)
	}
	return p
}

// readCmdline reads the arguments of a process. They lie in its memory, and the
// kernel may wait for that.
func (l *lookup) readCmdline(pid int) []byte {
	const most = 1 << 20
	text, _ := readMost(l.path(strconv.Itoa(pid), "cmdline"), most)
	return text
}

// readCmdlines reads the arguments of processes, several at a time.
func (l *lookup) readCmdlines(processes []*Process) {
	eachWithin(l.ctx, len(processes), walkers(), func(i int) []byte { return l.readCmdline(processes[i].PID) },
		func(i int, text []byte, ok bool) { l.setCmdline(processes[i], text, ok) })
}

// setCmdline notes the arguments of p, or that they did not come in time.
func (l *lookup) setCmdline(p *Process, text []byte, ok bool) {
	if !ok {
		l.gap(detailGap("read cmdline", p.PID, errSlow))
	}
	if len(text) > 0 {
		p.Cmdline = strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	}
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
