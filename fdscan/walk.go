package fdscan

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Walker finds the descriptors that refer to what is wanted, in every process.
// The walk over /proc is one implementation; a BPF iterator can be another.
type Walker interface {
	// Walk calls found for each descriptor that w wants, from one goroutine
	// at a time and in no particular order, and gap for each process that
	// could not be read. A process that ends meanwhile is neither.
	Walk(ctx context.Context, w Want, found func(Ref), gap func(Gap)) error
	// Tables calls found with every descriptor table, in the same manner.
	Tables(ctx context.Context, found func(Filled), gap func(Gap)) error
}

// Want is what a walk looks for.
type Want struct {
	// Sockets are inodes of sockfs; AllSockets takes every socket instead.
	Sockets    map[uint64]bool
	AllSockets bool
	// Pipes are inodes of pipefs.
	Pipes map[uint64]bool
	// Files are device and inode, as statx(2) tells them.
	Files map[FileID]bool
	// Links are link texts of descriptors that are wanted.
	Links map[string]bool
	// Rings also finds every io_uring instance.
	Rings bool
	// PIDs limits the walk to these processes; empty for all.
	PIDs []int
}

// FileID identifies a file: st_dev and st_ino.
type FileID struct{ Device, Inode uint64 }

// longestLink is how much of a link text is read: a byte more than any that is
// wanted has, so that no other is taken for it.
func (w Want) longestLink() int {
	n := 64
	for link := range w.Links {
		n = max(n, len(link)+1)
	}
	return n
}

// Ref is a descriptor that a walk found.
type Ref struct {
	PID int
	TID int // set when only the thread's own table holds it
	FD  int
	// Kind is what the link text says: "socket", "pipe", "io_uring", "file", or
	// that it is one of Want.Links.
	Kind  RefKind
	Inode uint64
	File  FileID // of a RefFile
	Link  string // of a RefLink
	Via   Via
	Note  string // of a ViaMemory
}

// RefKind is the kind of a Ref.
type RefKind uint8

// The kinds of Refs.
const (
	RefSocket RefKind = iota
	RefPipe
	RefRing
	RefFile
	RefLink
)

// ProcWalker walks /proc/PID/fd: getdents64 for the numbers, readlinkat for
// what they are, without opening, stat-ing or allocating per descriptor.
// readlinkat never touches the file's own file system, so a dead NFS mount
// cannot hang a question about sockets. A question about files uses statx with
// AT_STATX_DONT_SYNC, which answers from what is cached.
type ProcWalker struct {
	// Root is the mount point of proc(5), normally "/proc".
	Root string
	// Workers is the number of threads; 0 for one for each processor, four
	// at most: the walk is bound by the kernel's work.
	Workers int
}

// direntBuffer holds about 2,700 entries of /proc/PID/fd.
const direntBuffer = 64 << 10

// Walk implements Walker.
func (p ProcWalker) Walk(ctx context.Context, w Want, found func(Ref), gap func(Gap)) error {
	var mu sync.Mutex
	locked := func(r Ref) { mu.Lock(); found(r); mu.Unlock() }
	lockedGap := func(g Gap) { mu.Lock(); gap(g); mu.Unlock() }
	return p.walk(ctx, w.PIDs, func() *shard {
		s := &shard{root: p.Root, want: w, found: locked, gap: lockedGap, dents: make([]byte, direntBuffer), link: make([]byte, w.longestLink())}
		s.see = s.match
		return s
	})
}

// walk reads the tables of processes, of all if there are no pids, by several
// workers. Each has a shard of its own.
func (p ProcWalker) walk(ctx context.Context, pids []int, newShard func() *shard) error {
	if len(pids) == 0 {
		var err error
		if pids, err = listPIDs(p.Root); err != nil {
			return err
		}
	}
	workers := p.Workers
	if workers == 0 {
		workers = min(runtime.GOMAXPROCS(0), 4)
	}
	workers = max(1, min(workers, len(pids)))
	var next atomic.Int64
	run := func() {
		s := newShard()
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(pids) {
				return
			}
			s.process(pids[i])
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(run)
	}
	run()
	wg.Wait()
	return ctx.Err()
}

// shard is the state of one worker. Its buffers are used for every process.
type shard struct {
	root  string
	want  Want
	found func(Ref)
	gap   func(Gap)
	path  []byte
	dents []byte
	tasks []byte
	link  []byte
	// see looks at a descriptor whose link text has been read; whole, if not
	// nil, at a table that has been read to its end.
	see   func(dir int, name []byte, r Ref, link []byte)
	whole func(pid, tid int)
	// uncompared reports a table that may be the process's own: then only
	// what differs is told, and told keeps it, for tables alike.
	uncompared bool
	told       []Ref
	survey     surveyShard
}

// process reads the tables of one process: its own, and those of threads that
// have left it.
func (s *shard) process(pid int) {
	s.survey.tables = s.survey.tables[:0]
	switch entries, err := s.table(pid, 0); {
	case gone(err):
		return
	case err != nil:
		s.refused(pid, err)
	default:
		s.threads(pid, entries == 0)
	}
	if len(s.want.Files) > 0 {
		s.mappings(pid)
	}
}

// refused deals with a process whose table may not be read. A kernel thread has
// nothing in it, and what has ended neither; but its threads may live on.
func (s *shard) refused(pid int, err error) {
	switch stat, statErr := readStat(s.name(pid, 0, "stat")); {
	case statErr != nil || stat.state != 'Z' && stat.flags&kernelThread == 0:
		s.gap(processGap("read "+filepath.Join(s.root, "PID/fd"), pid, err))
	case stat.threads > 1:
		s.threads(pid, true)
	}
}

// threads reads the tables of threads that are not their leader's. The link
// count of /proc/PID/task is two more than the number of threads, so that a
// process with one thread costs one statx.
func (s *shard) threads(pid int, leaderEmpty bool) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, s.name(pid, 0, "task"), unix.AT_STATX_DONT_SYNC, unix.STATX_NLINK, &st); err != nil || st.Nlink <= 3 {
		return
	}
	// tables holds one thread of each table met so far, the leader's first.
	// The table of a leader that has exited is empty and compares with none.
	var tables []int
	if !leaderEmpty {
		tables = append(tables, pid)
	}
	if s.tasks == nil {
		s.tasks = make([]byte, direntBuffer)
	}
	fd, err := unix.Open(s.name(pid, 0, "task"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	s.told = s.told[:0]
	uncompared, untold := 0, false
	for {
		n, err := unix.Getdents(fd, s.tasks)
		if n <= 0 || err != nil {
			if untold {
				s.gap(Gap{Op: "compare the tables of threads", PID: pid, FD: -1, Err: "kcmp is not permitted, and there are more than " + strconv.Itoa(maxUncompared), Needs: "CAP_SYS_PTRACE", Scope: ScopeHolders})
			}
			return
		}
		eachDirent(s.tasks[:n], func(name []byte) {
			tid, ok := number(name)
			if !ok || tid == pid {
				return
			}
			switch same, known := sameTable(tables, tid); {
			case same:
			case known:
				if _, err := s.table(pid, tid); err == nil {
					tables = append(tables, tid)
				}
			case uncompared < maxUncompared:
				uncompared++
				s.uncompared = true
				_, _ = s.table(pid, tid)
				s.uncompared = false
			default:
				untold = true
			}
		})
	}
}

// maxUncompared bounds how many tables of one process are read where kcmp(2) is
// refused, as in a container: there every thread could have one of its own.
const maxUncompared = 64

// sameTable reports whether tid uses one of the descriptor tables of tids; known
// is false when that cannot be told.
func sameTable(tids []int, tid int) (same, known bool) {
	for _, other := range tids {
		order, err := compareTables(other, tid)
		switch {
		case gone(err): // one of them, and the other may differ from the rest
		case err != nil:
			return false, false
		case order == 0:
			return true, true
		}
	}
	return false, true
}

// compareTables orders the descriptor tables of two threads: 0 when they are one
// (kcmp(2), KCMP_FILES; needs CONFIG_KCMP and PTRACE_MODE_READ_REALCREDS).
func compareTables(a, b int) (order int, err error) {
	const kcmpFiles = 2
	return kcmp(uintptr(a), uintptr(b), kcmpFiles, 0, 0)
}

// kcmp orders two objects of the kernel of one kind, of two threads: 0 when they
// are one.
func kcmp(a, b, kind, first, second uintptr) (order int, err error) {
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, a, b, kind, first, second, 0)
	switch {
	case errno != 0:
		return 0, errno
	case r == 1:
		return -1, nil
	case r > 1:
		return 1, nil
	}
	return 0, nil
}

// table reads one descriptor table and returns how many entries it has.
func (s *shard) table(pid, tid int) (entries int, err error) {
	dir, err := unix.Open(s.name(pid, tid, "fd"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(dir)
	s.survey.entries = s.survey.entries[:0]
	for {
		n, err := unix.Getdents(dir, s.dents)
		if err != nil {
			return entries, err
		}
		if n <= 0 {
			if s.whole != nil {
				s.whole(pid, tid)
			}
			return entries, nil
		}
		var refused unix.Errno
		eachDirent(s.dents[:n], func(name []byte) {
			fd, ok := number(name)
			if !ok || refused != 0 {
				return
			}
			entries++
			refused = s.descriptor(dir, name, Ref{PID: pid, TID: tid, FD: fd})
		})
		if refused != 0 {
			return entries, refused
		}
	}
}

// descriptor looks at one entry of a table. name ends with a NUL beyond its
// length, as the kernel wrote it. The error is a refusal, which holds for the
// whole table: a security module may let it be listed and not be read.
func (s *shard) descriptor(dir int, name []byte, r Ref) (refused unix.Errno) {
	n, errno := readlinkat(dir, name, s.link)
	switch errno {
	case 0:
	case unix.EACCES, unix.EPERM:
		return errno
	default:
		return 0 // closed since getdents64, or in a process that has ended
	}
	r.Via = ViaTable
	if r.TID != 0 {
		r.Via = ViaThread
	}
	s.see(dir, name, r, s.link[:n])
	return 0
}

// match tells of a descriptor if it is wanted.
func (s *shard) match(dir int, name []byte, r Ref, link []byte) {
	switch {
	case hasPrefix(link, "socket:["):
		r.Kind, r.Inode = RefSocket, inodeOf(link[len("socket:["):])
		if s.want.AllSockets || s.want.Sockets[r.Inode] {
			s.tell(r)
		}
	case hasPrefix(link, "pipe:["):
		if len(s.want.Pipes) == 0 {
			return
		}
		r.Kind, r.Inode = RefPipe, inodeOf(link[len("pipe:["):])
		if s.want.Pipes[r.Inode] {
			s.tell(r)
		}
	case s.want.Rings && string(link) == ringLink:
		r.Kind = RefRing
		s.tell(r)
	case s.want.Links[string(link)]:
		r.Kind, r.Link = RefLink, string(link)
		s.tell(r)
	case len(s.want.Files) > 0 && link[0] == '/':
		r.Kind = RefFile
		s.file(dir, string(name), r)
	}
}

// ringLink is the link text of an io_uring instance.
const ringLink = "anon_inode:[io_uring]"

// tell passes on a descriptor that was found.
func (s *shard) tell(r Ref) {
	if s.uncompared {
		alike := func(o Ref) bool { return o.FD == r.FD && o.Kind == r.Kind && o.Inode == r.Inode && o.File == r.File }
		if s.leaderHas(r) || slices.ContainsFunc(s.told, alike) {
			return
		}
		s.told = append(s.told, r)
	}
	s.found(r)
}

// leaderHas reports whether a thread's descriptor leads where that of the same
// number in the process's table does.
func (s *shard) leaderHas(r Ref) bool {
	name := "fd/" + strconv.Itoa(r.FD)
	thread, err1 := os.Readlink(s.name(r.PID, r.TID, name))
	leader, err2 := os.Readlink(s.name(r.PID, 0, name))
	return err1 == nil && err2 == nil && thread == leader
}

// file compares the file behind a link with those wanted.
func (s *shard) file(dir int, name string, r Ref) {
	var st unix.Statx_t
	if err := unix.Statx(dir, name, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_INO, &st); err != nil {
		return
	}
	r.File = FileID{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}
	if s.want.Files[r.File] {
		s.tell(r)
	}
}

// name is the NUL-free path of a file of a process or thread.
func (s *shard) name(pid, tid int, file string) string {
	b := append(s.path[:0], s.root...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(pid), 10)
	if tid != 0 {
		b = append(b, "/task/"...)
		b = strconv.AppendInt(b, int64(tid), 10)
	}
	b = append(b, '/')
	b = append(b, file...)
	s.path = b
	return string(b)
}

// listPIDs returns the numeric names of root in ascending order, as the kernel
// lists them.
func listPIDs(root string) ([]int, error) {
	dir, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	var pids []int
	buf := make([]byte, direntBuffer)
	for {
		n, err := unix.Getdents(dir, buf)
		if err != nil {
			return nil, &fs.PathError{Op: "getdents64", Path: root, Err: err}
		}
		if n <= 0 {
			return pids, nil
		}
		eachDirent(buf[:n], func(name []byte) {
			if pid, ok := number(name); ok {
				pids = append(pids, pid)
			}
		})
	}
}
