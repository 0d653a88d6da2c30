package tracee

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The PF_ flags of the kernel's <linux/sched.h>, as field 9 of stat shows them.
const (
	flagIOWorker     = 0x00000010 // PF_IO_WORKER: a thread of io_uring
	flagUserWorker   = 0x00004000 // PF_USER_WORKER: a thread of vhost
	flagKernelThread = 0x00200000 // PF_KTHREAD
)

// Preflight tells, without touching the target, every reason known beforehand
// for which Do would refuse it; none is no promise, for things change. What Do
// would wait out (a thread in a short uninterruptible sleep) takes Preflight
// some 20 ms to tell from what it would not.
func Preflight(target Target, opt Options) []*Refusal {
	p, refusal := find(target)
	if refusal != nil {
		return []*Refusal{refusal}
	}
	defer p.close()
	owner, refusals := p.preflight(target, opt)
	if owner == 0 {
		return refusals
	}
	if refusal := p.sleepsDeeply(20 * time.Millisecond); refusal != nil {
		refusals = append(refusals, refusal)
	}
	if others, err := tableSharers(p.pid, owner); err == nil {
		if refusal := p.shared(others, opt); refusal != nil {
			refusals = append(refusals, refusal)
		}
	}
	return refusals
}

// find opens the target, or says that it is not there any more.
func find(target Target) (*process, *Refusal) {
	if !implemented {
		return nil, &Refusal{Reason: Architecture, PID: target.PID, Detail: "stray cannot act on processes of this processor architecture"}
	}
	// With the /proc of another pid namespace the numbers would be others'.
	if self, err := os.Readlink(procRoot + "/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return nil, &Refusal{Reason: Unreadable, PID: target.PID, Detail: "cannot be told from others: " + procRoot + " is not that of this pid namespace"}
	}
	p, err := openProcess(target.PID)
	if err != nil {
		return nil, unreadable(target.PID, err)
	}
	stat, err := p.stat("stat")
	switch {
	case err != nil:
		p.close()
		return nil, unreadable(target.PID, err)
	case stat.startTicks != target.StartTicks:
		p.close()
		return nil, &Refusal{Reason: Replaced, PID: target.PID, Detail: "is another process than the one that was looked at"}
	}
	return p, nil
}

// unreadable is the refusal for a process of which /proc could not be read.
func unreadable(pid int, err error) *Refusal {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return &Refusal{Reason: Gone, PID: pid, Detail: "no such process"}
	}
	return &Refusal{Reason: Unreadable, PID: pid, Detail: err.Error()}
}

// preflight finds the thread that stands for the target's table, and goes
// through the reasons that one look at it shows. Where one makes all further
// ones meaningless it is the only one, and owner is 0.
func (p *process) preflight(target Target, opt Options) (owner int, refusals []*Refusal) {
	owner, err := p.owner(target.TID)
	if err != nil {
		return 0, []*Refusal{unreadable(p.pid, err)}
	}
	stat, err := p.stat(taskFile(owner, "stat"))
	if err != nil {
		return 0, []*Refusal{unreadable(p.pid, err)}
	}
	status, err := p.status(taskFile(owner, "status"))
	if err != nil {
		return 0, []*Refusal{unreadable(p.pid, err)}
	}
	refuse := func(reason Reason, detail string) *Refusal {
		return &Refusal{Reason: reason, PID: p.pid, TID: owner, Detail: detail}
	}
	switch {
	case stat.flags&flagKernelThread != 0:
		return 0, []*Refusal{refuse(KernelThread, "is a kernel thread")}
	case stat.state == 'Z' || stat.state == 'X':
		return 0, []*Refusal{refuse(Zombie, "has ended and waits for its parent to notice: it holds nothing")}
	case p.pid == os.Getpid() || p.pid == os.Getppid() && isHelper():
		return 0, []*Refusal{refuse(Self, "is stray itself")}
	}
	add := func(r *Refusal) {
		if r != nil {
			refusals = append(refusals, r)
		}
	}
	if p.pid == 1 && !opt.Init {
		add(refuse(Init, "is pid 1: the system depends on it"))
	}
	if status.tracer != 0 {
		add(traced(p.pid, owner, status.tracer))
	}
	add(p.permission(owner, status))
	if vector, err := p.read(taskFile(owner, "auxv")); err == nil && parseAuxiliary(vector).bits == 32 {
		add(refuse(Wide32, "is a 32-bit program: only 64-bit ones can be acted on"))
	}
	if status.seccomp != 0 {
		add(seccompRefusal(p.pid, owner, status.seccomp))
	}
	return owner, refusals
}

// owner is the thread whose descriptor table is meant: tid, or without one the
// leader or, where it has exited before the others, the first living thread.
func (p *process) owner(tid int) (int, error) {
	if tid != 0 {
		if !p.has(tid) {
			return 0, fs.ErrNotExist
		}
		return tid, nil
	}
	threads, err := p.threads()
	if err != nil {
		return 0, err
	}
	// Thread numbers wrap around: the leader's need not be the lowest.
	for _, tid := range append([]int{p.pid}, threads...) {
		if p.lives(tid) {
			return tid, nil
		}
	}
	return p.pid, nil
}

// lives reports whether the thread exists and has not ended.
func (p *process) lives(tid int) bool {
	stat, err := p.stat(taskFile(tid, "stat"))
	return err == nil && stat.state != 'Z' && stat.state != 'X'
}

// traced names the tracer, which may be a thread of a larger program.
func traced(pid, tid, tracer int) *Refusal {
	name := "process " + strconv.Itoa(tracer)
	if comm, err := os.ReadFile(fmt.Sprintf("%s/%d/comm", procRoot, tracer)); err == nil {
		name += fmt.Sprintf(" (%q)", strings.TrimSuffix(string(comm), "\n"))
	}
	return &Refusal{
		Reason: Traced, PID: pid, TID: tid, Others: []int{tracer},
		Detail: "is already traced by " + name,
	}
}

// seccompRefusal is nil when the mode is to be suspended by this process.
func seccompRefusal(pid, tid, mode int) *Refusal {
	if maySuspendSeccomp() {
		return nil
	}
	r := &Refusal{
		Reason: Seccomp, PID: pid, TID: tid, Needs: "CAP_SYS_ADMIN, and no seccomp filter of one's own",
		Detail: "has a seccomp filter, which could answer the call by killing it",
	}
	if mode == 1 {
		r.Detail = "is in seccomp's strict mode, which kills it for any call"
	}
	return r
}

// maySuspendSeccomp reports whether PTRACE_O_SUSPEND_SECCOMP would be granted:
// it takes CAP_SYS_ADMIN in the initial user namespace, in a process that has
// no filter itself, and a kernel with CONFIG_CHECKPOINT_RESTORE (which only the
// attempt tells).
func maySuspendSeccomp() bool {
	text, err := os.ReadFile(procRoot + "/self/status")
	if err != nil {
		return false
	}
	self, err := parseStatusFile(text)
	return err == nil && self.seccomp == 0 && self.caps&(1<<unix.CAP_SYS_ADMIN) != 0 && inInitialUserNamespace()
}

func inInitialUserNamespace() bool {
	const procUserInitInode = 0xEFFFFFFD // PROC_USER_INIT_INO of <linux/proc_ns.h>
	var namespace unix.Stat_t
	return unix.Stat(procRoot+"/self/ns/user", &namespace) == nil && namespace.Ino == procUserInitInode
}

// permission asks the kernel whether this process may trace the thread: opening
// its mem takes what attaching takes (PTRACE_MODE_ATTACH), and does nothing
// else. Where that is refused, it looks for what is in the way.
func (p *process) permission(tid int, status processStatus) *Refusal {
	fd, err := p.open(taskFile(tid, "mem"), 0)
	if err == nil {
		unix.Close(fd)
		return nil
	}
	if !errors.Is(err, fs.ErrPermission) {
		return unreadable(p.pid, err)
	}
	r := &Refusal{Reason: NotPermitted, PID: p.pid, Needs: "CAP_SYS_PTRACE"}
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	var owner unix.Stat_t
	scope, _ := os.ReadFile(procRoot + "/sys/kernel/yama/ptrace_scope")
	switch {
	case p.otherUserNamespace():
		r.Detail = "is in a user namespace that this one has no power over"
		r.Needs = "CAP_SYS_PTRACE in the process's user namespace"
	case status.uids != [3]uint32{uid, uid, uid}:
		r.Detail = fmt.Sprintf("belongs to user %d, and this is user %d", status.uids[0], uid)
	case status.gids != [3]uint32{gid, gid, gid}:
		r.Detail = fmt.Sprintf("has group %d, and this is group %d", status.gids[0], gid)
	case unix.Fstat(int(p.dir.Fd()), &owner) == nil && owner.Uid != uid:
		r.Detail = "is not dumpable (a setuid program, or one that guards its memory)"
	case strings.HasPrefix(string(scope), "1"):
		r.Detail = "is no descendant, and kernel.yama.ptrace_scope is 1"
		r.Needs = "CAP_SYS_PTRACE, or kernel.yama.ptrace_scope=0"
	case strings.HasPrefix(string(scope), "2"):
		r.Detail = "may be traced by root only: kernel.yama.ptrace_scope is 2"
	case strings.HasPrefix(string(scope), "3"):
		r.Detail = "may not be traced by anybody: kernel.yama.ptrace_scope is 3"
		r.Needs = "a boot with another kernel.yama.ptrace_scope"
	default:
		r.Detail = "may not be traced by this user, by a rule of the system's security module or a greater capability of the process"
	}
	return r
}

func (p *process) otherUserNamespace() bool {
	own, err1 := os.Readlink(procRoot + "/self/ns/user")
	its, err2 := os.Readlink(filepath.Join(procRoot, strconv.Itoa(p.pid), "ns/user"))
	return err1 == nil && err2 == nil && own != its
}

// sleepsDeeply is the refusal for a process with a thread in state D, in which
// no interruption reaches it. Most such sleeps, those of disks and page faults,
// are over before the patience is.
func (p *process) sleepsDeeply(patience time.Duration) *Refusal {
	threads, err := p.threads()
	if err != nil {
		return unreadable(p.pid, err)
	}
	deadline := time.Now().Add(patience)
	for _, tid := range threads {
		for {
			stat, err := p.stat(taskFile(tid, "stat"))
			if err != nil || stat.state != 'D' {
				break
			}
			if time.Now().After(deadline) {
				return uninterruptible(p.pid, tid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return nil
}

func uninterruptible(pid, tid int) *Refusal {
	return &Refusal{Reason: Uninterruptible, PID: pid, TID: tid, Detail: "is in uninterruptible sleep " +
		"(state D: a disk, a dead network file system, a frozen control group, or a vfork child that has not run its program yet)"}
}

// shared is the refusal for a table that processes have which opt does not name.
func (p *process) shared(others []int, opt Options) *Refusal {
	unnamed := slices.DeleteFunc(slices.Clone(others), opt.sharer)
	if len(unnamed) == 0 {
		return nil
	}
	return &Refusal{
		Reason: SharedTable, PID: p.pid, Others: unnamed,
		Detail: fmt.Sprintf("has one descriptor table with process %s: what is done in one is done in all",
			strings.Trim(fmt.Sprint(unnamed), "[]")),
	}
}

// tableSharers are the other processes that have the descriptor table of the
// thread owner of process pid, sorted. A process is asked by its leader: one
// that has the table in another thread only is missed, and so is one of which
// kcmp(2) may not be asked (PTRACE_MODE_READ).
func tableSharers(pid, owner int) ([]int, error) {
	if _, err := sharesTable(owner, owner); err != nil {
		return nil, err
	}
	proc, err := os.Open(procRoot)
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var sharers []int
	for _, other := range numbers(names) {
		if other == pid {
			continue
		}
		// EPERM is a process of somebody else, ESRCH one that has ended. One
		// that is ending has no table, and shares that with all its like.
		if same, err := sharesTable(owner, other); err == nil && same && hasDescriptors(other) {
			sharers = append(sharers, other)
		}
	}
	return sharers, nil
}

// hasDescriptors reports whether the process has a descriptor table, as it has
// until it ends.
func hasDescriptors(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("%s/%d/status", procRoot, pid))
	return err == nil && !bytes.Contains(text, []byte("\nFDSize:\t0\n"))
}
