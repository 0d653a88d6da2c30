package fdscan

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

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

// compareOpenFiles orders the open file descriptions of two descriptors, each of a
// thread: 0 when they are one (kcmp(2), KCMP_FILE, Linux 3.5).
func compareOpenFiles(a, fdA, b, fdB int) (order int, err error) {
	const kcmpFile = 0
	return kcmp(uintptr(a), uintptr(b), kcmpFile, uintptr(fdA), uintptr(fdB))
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
// number in the process's table does, or has been closed or replaced meanwhile.
func (s *shard) leaderHas(r Ref) bool {
	name := "fd/" + strconv.Itoa(r.FD)
	before, err := os.Readlink(s.name(r.PID, r.TID, name))
	if err != nil {
		return true
	}
	leader, err := os.Readlink(s.name(r.PID, 0, name))
	if err == nil && leader == before {
		return true
	}
	after, err := os.Readlink(s.name(r.PID, r.TID, name))
	return err != nil || after != before
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
