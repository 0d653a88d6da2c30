package follow

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/patience"
	"stray/internal/unwind"
)

// tree is what is known of the processes that are followed: only the living ones,
// and of what has leaked one of each sort, so that a run of many processes takes
// no more memory than one of few. It is a tracee.Watcher.
type tree struct {
	root      string // of proc(5)
	reader    *fdscan.Reader
	tables    tableReader
	streams   map[string]string // what the command writes its output to, by link
	processes map[int]*process
	total     int // processes so far
	ended     int
	strangers []int // children that the caller had before: not of this tree

	crossings tally[fdscan.Crossing]
	unclosed  tally[fdscan.Unclosed]
	// unprivileged is the first program with a setuid or setgid bit, or file
	// capabilities, that got no privilege because of its tracer.
	unprivileged   *fdscan.Process
	watchPrivilege bool
	// forbidden: the command may not gain privileges (PR_SET_NO_NEW_PRIVS).
	forbidden bool
	// failedTracer is the first program that failed and that traces others, or
	// itself, which have this tracer already.
	failedTracer *fdscan.Process
	gaps         map[string]fdscan.Gap
	// unwinder tells stacks; nil when nobody asks for them. ways are the openings
	// by what they are, opened is how many there were, and toName are those of
	// which the report tells.
	unwinder *unwind.Unwinder
	ways     map[way]*opening
	opened   int
	toName   []*opening
	// foreign is the first program whose calls the filter does not see.
	foreign *fdscan.Process
	// silent: a file system has not answered.
	silent bool
	// shells are the programs that are shells, read when they are asked for.
	shells func() []os.FileInfo
}

// process is a living process of the tree.
type process struct {
	pid    int
	parent int // who forked it
	image  *image
	// copied: it was forked from the image, and has executed nothing since.
	copied bool
	// inherited is what a copy had from the start, less what came across the
	// image's own exec; in the order of the numbers.
	inherited []inheritance
	// sharers is how many living processes have its table, itself included.
	sharers *int
	// openings are those of its table.
	openings *openings
	// bereaved: a child has ended before it, which may be left to be reaped.
	bereaved bool
}

// inheritance is an entry that a fork has copied.
type inheritance struct {
	entry
	// closing is FD_CLOEXEC when the fork was made, so that the next exec would
	// have closed it.
	closing knowledge
}

// knowledge is whether something holds.
type knowledge int8

const (
	unknown knowledge = iota
	no
	yes
)

func newTree(root string, reader *fdscan.Reader) *tree {
	t := &tree{
		root: root, reader: reader, tables: tableReader{root: root}, processes: map[int]*process{},
		crossings: newTally[fdscan.Crossing](), unclosed: newTally[fdscan.Unclosed](), gaps: map[string]fdscan.Gap{},
		shells: sync.OnceValue(shells),
	}
	t.strangers = t.children(os.Getpid())
	return t
}

// Started implements tracee.Watcher: what the command has now is the caller's.
func (t *tree) Started(pid int) {
	passed, err := t.tables.everything(pid, 0)
	t.unread(pid, err)
	t.pass(passed)
	p := &process{image: t.readImage(pid)}
	t.add(pid, p)
	if t.unwinder != nil {
		t.forbidden = strings.Contains(t.status(pid), "\nNoNewPrivs:\t1\n")
		t.watchPrivilege = t.watchPrivilege || t.forbidden
	}
	t.checkPrivilege(p.image)
	t.checkCalls(p.image)
}

func (t *tree) status(pid int) string {
	text, _ := os.ReadFile(t.path(pid, "status"))
	return string(text)
}

// pass notes what the caller has passed to the command.
func (t *tree) pass(passed table) {
	t.tables.pass(passed)
	t.streams = streamsOf(passed)
}

func (t *tree) add(pid int, p *process) {
	p.pid = pid
	if p.sharers == nil {
		p.sharers = new(1)
	}
	if p.openings == nil {
		p.openings = &openings{}
	}
	t.processes[pid] = p
	t.total++
}

// Forked implements tracee.Watcher.
func (t *tree) Forked(parent, child int, shared bool) {
	from := t.processes[parent]
	if from == nil {
		// Made by somebody who has been killed since: what it is shows as well,
		// and what it has is not of its own making.
		p := &process{image: t.readImage(child)}
		t.add(child, p)
		entries, err := t.tables.read(child, 0)
		t.unread(child, err)
		p.image.received = entries
		return
	}
	p := &process{parent: parent, image: from.image, copied: true}
	if shared {
		p.sharers, p.openings = from.sharers, from.openings
		*p.sharers++
	} else {
		p.openings = from.openings.copied()
	}
	t.add(child, p)
	entries, err := t.tables.read(child, 0)
	t.unread(child, err)
	for _, e := range entries {
		if from.image.carried.has(e) {
			continue
		}
		i := inheritance{entry: e}
		if len(p.inherited) < mostFlags {
			i.closing = t.closing(child, e.fd)
		}
		p.inherited = append(p.inherited, i)
	}
	from.image.findScript(p.inherited)
}

// mostFlags is of how many descriptors fdinfo is read at a fork.
const mostFlags = 64

// closing is FD_CLOEXEC of a descriptor.
func (t *tree) closing(pid, fd int) knowledge {
	switch flags, err := t.flags(pid, fd); {
	case err != nil:
		return unknown
	case flags&unix.O_CLOEXEC != 0:
		return yes
	}
	return no
}

// flags are those that fdinfo tells of a descriptor.
func (t *tree) flags(pid, fd int) (flags uint64, err error) {
	text, err := os.ReadFile(t.path(pid, "fdinfo/"+strconv.Itoa(fd)))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte("flags:")); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(value)), 8, 32)
		}
	}
	return 0, nil
}

// Execed implements tracee.Watcher.
func (t *tree) Execed(pid int) {
	p := t.processes[pid]
	if p == nil {
		return
	}
	before := *p
	shared := *p.sharers > 1
	*p.sharers-- // exec leaves a shared table
	*p = process{pid: pid, parent: p.parent, image: t.readImage(pid), sharers: new(1), bereaved: p.bereaved}
	t.checkPrivilege(p.image)
	t.checkCalls(p.image)
	entries, err := t.tables.read(pid, 0)
	t.unread(pid, err)
	p.image.received = entries
	if err == nil {
		t.dropped(&before, 0, entries)
	}
	p.openings = t.kept(&before, entries)
	if t.unwinder != nil {
		t.unwinder.Forget(pid)
	}
	for _, e := range entries {
		if t.crossed(&before, shared, p.image, e) {
			p.image.carried = append(p.image.carried, e)
		}
	}
}

// Exiting implements tracee.Watcher.
func (t *tree) Exiting(pid, tid int, status unix.WaitStatus) {
	p := t.processes[pid]
	if p == nil || *p.sharers > 1 {
		return
	}
	if status.ExitStatus() > 0 && t.failedTracer == nil && t.reader.Traces(pid) {
		t.failedTracer = t.process(p.image)
	}
	entries, err := t.tables.read(pid, tid)
	t.unread(pid, err)
	if err == nil {
		t.dropped(p, tid, entries)
	}
	for _, e := range entries {
		if p.opened(e) {
			t.leftOpen(p, tid, e, status)
		}
	}
}

// opened reports whether the process has opened this itself.
func (p *process) opened(e entry) bool {
	if p.image.received.has(e) {
		return false
	}
	return p.inheritance(e) == nil
}

// hasReceived reports whether a fork or an exec has brought the process what a
// link leads to, under whatever number.
func (p *process) hasReceived(link string) bool {
	return slices.ContainsFunc(p.image.received, func(e entry) bool { return e.link == link }) ||
		slices.ContainsFunc(p.inherited, func(i inheritance) bool { return i.link == link })
}

// inheritance returns how the process came by an entry at its fork; nil when it
// did not.
func (p *process) inheritance(e entry) *inheritance {
	i, found := slices.BinarySearchFunc(p.inherited, e.fd, func(i inheritance, fd int) int { return i.fd - fd })
	if !found || p.inherited[i].entry != e {
		return nil
	}
	return &p.inherited[i]
}

// Ended implements tracee.Watcher.
func (t *tree) Ended(pid int) {
	const often = 256
	t.ended++
	orphans := t.ended%often == 0
	if p := t.processes[pid]; p != nil {
		*p.sharers--
		delete(t.processes, pid)
		if t.unwinder != nil {
			t.unwinder.Forget(pid)
		}
		if parent := t.processes[p.parent]; parent != nil {
			parent.bereaved = true
		}
		orphans = orphans || p.bereaved
	}
	if orphans {
		t.reap()
	}
}

// unread notes that a table may not be read, once for each reason.
func (t *tree) unread(pid int, err error) {
	if err == nil {
		return
	}
	reason := err.Error()
	if _, known := t.gaps[reason]; !known {
		t.gaps[reason] = fdscan.Gap{Op: "read the descriptors", PID: pid, FD: -1, Err: reason, Needs: "CAP_SYS_PTRACE", Scope: fdscan.ScopeHolders}
	}
}

// checkPrivilege notes a program that would have got privileges, had it not been
// followed by somebody without any.
func (t *tree) checkPrivilege(i *image) {
	if !t.watchPrivilege || t.unprivileged != nil {
		return
	}
	exe := t.path(i.pid, "exe")
	if t.finds(func() bool {
		var st unix.Stat_t
		if err := unix.Stat(exe, &st); err != nil {
			return false
		}
		capabilities, _ := unix.Getxattr(exe, "security.capability", nil)
		return capabilities > 0 || st.Mode&unix.S_ISUID != 0 && int(st.Uid) != unix.Geteuid() || st.Mode&unix.S_ISGID != 0 && int(st.Gid) != unix.Getegid()
	}) {
		t.unprivileged = t.process(i)
	}
}

// finds asks something of files. Where the answer is to come from a process that stands
// still (FUSE) it is no, and nothing more is asked.
func (t *tree) finds(question func() bool) bool {
	if t.silent {
		return false
	}
	found, ok := patience.Within(question, func(bool) {})
	t.silent = !ok
	return found
}

// writes reports whether a descriptor can be written to.
func (t *tree) writes(pid, fd int) bool {
	flags, err := t.flags(pid, fd)
	return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY
}

// link is where a descriptor leads; "" when that cannot be read.
func (t *tree) link(pid, fd int) string {
	text, _ := os.Readlink(t.path(pid, "fd/"+strconv.Itoa(fd)))
	return text
}

func (t *tree) path(pid int, name string) string {
	return t.root + "/" + strconv.Itoa(pid) + "/" + name
}
