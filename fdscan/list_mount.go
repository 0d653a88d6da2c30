package fdscan

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a line of /proc/PID/mountinfo.
type mount struct {
	id         int
	device     uint64 // st_dev
	root       string // what of the file system is mounted
	point      string
	fileSystem string // its type
	source     string
}

// mountTable are the mounts of a namespace.
type mountTable struct {
	byID map[int]*mount
	all  []*mount
}

// known reports that the mounts could be read.
func (t *mountTable) known() bool { return len(t.all) > 0 }

// mounts returns those of the process that holds d. They are read once for each
// mount namespace.
func (l *lister) mounts(d *Descriptor) *mountTable {
	pid := d.Process.PID
	if t := l.mountsOf[pid]; t != nil {
		return t
	}
	if l.mountsOf == nil {
		l.mountsOf, l.mountsIn = map[int]*mountTable{}, map[string]*mountTable{}
	}
	namespace, err := os.Readlink(l.processPath(d, "ns/mnt"))
	t := l.mountsIn[namespace]
	if t == nil || err != nil {
		t = readMounts(l.processPath(d, "mountinfo"))
		l.mountsIn[namespace] = t
	}
	l.mountsOf[pid] = t
	return t
}

// ownMounts returns those of this command, which are read once.
func (l *lister) ownMounts() *mountTable {
	if l.mountsHere == nil {
		l.mountsHere = readMounts("/proc/thread-self/mountinfo")
	}
	return l.mountsHere
}

// readMounts reads a mountinfo file, or as much of it as can be read.
func readMounts(path string) *mountTable {
	t := &mountTable{byID: map[int]*mount{}}
	_ = eachLine(path, func(line []byte) error {
		if m := parseMount(string(line)); m != nil {
			t.byID[m.id] = m
			t.all = append(t.all, m)
		}
		return nil
	})
	return t
}

// behindServer reports that a file system which is remote covers the place of m,
// or is on the way to it.
func (t *mountTable) behindServer(m *mount) bool {
	return slices.ContainsFunc(t.all, func(above *mount) bool {
		return above.remote() && strings.HasPrefix(m.point+"/", strings.TrimSuffix(above.point, "/")+"/")
	})
}

// parseMount reads a line of mountinfo; nil when it is none:
//
//	27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
func parseMount(line string) *mount {
	before, after, ok := strings.Cut(line, " - ")
	fields, rest := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 6 || len(rest) < 2 {
		return nil
	}
	major, minor, _ := strings.Cut(fields[2], ":")
	id, err1 := strconv.Atoi(fields[0])
	a, err2 := strconv.ParseUint(major, 10, 32)
	b, err3 := strconv.ParseUint(minor, 10, 32)
	if cmp.Or(err1, err2, err3) != nil {
		return nil
	}
	return &mount{
		id: id, device: unix.Mkdev(uint32(a), uint32(b)), root: unescapeMount(fields[3]), point: unescapeMount(fields[4]),
		fileSystem: rest[0], source: unescapeMount(rest[1]),
	}
}

// remote reports a file system whose files another machine, or a program, serves.
// Nothing of it is opened: it may never answer.
func (m *mount) remote() bool {
	switch m.fileSystem {
	case "nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "coda", "ncpfs", "virtiofs", "lustre", "gfs2", "ocfs2", "autofs":
		return true
	}
	return strings.HasPrefix(m.fileSystem, "fuse")
}

// onServer says which server a file is on, if it is on any.
func (l *lister) onServer(d *Descriptor) string {
	if m := l.mounts(d).byID[d.MountID]; m != nil && m.remote() {
		return "on " + m.fileSystem + " " + m.source
	}
	return ""
}

// isMessageQueue asks the file system, if the file looks like a POSIX message
// queue: a file of 80 bytes at the root of a file system without a disk, which
// no process has mounted.
func (l *lister) isMessageQueue(d *Descriptor) bool {
	const size, magic = 80, 0x19800202 // FILENT_SIZE, MQUEUE_MAGIC
	if d.format() != unix.S_IFREG || d.Size == nil || *d.Size != size || *d.Allocated != 0 || unix.Major(d.Device) != 0 || strings.Count(d.Link, "/") != 1 || l.Detached {
		return false
	}
	path := l.descriptorPath("fd", d.Process.PID, d.TID, d.FD)
	found, _ := askServer(l, func() bool {
		var st unix.Statfs_t
		return unix.Statfs(path, &st) == nil && st.Type == magic
	})
	return found
}

// askServer returns what f returns, which asks a file system that may be served
// by another machine, or a program. One that does not answer in time is waited for
// once: after that ok is always false, and nothing is asked any more.
func askServer[T any](l *lister, f func() T) (v T, ok bool) {
	if l.unanswered {
		return v, false
	}
	if v, ok = within(l.ctx, f); !ok && l.ctx.Err() == nil {
		l.unanswered = true
		l.gap(Gap{Op: "ask file systems", FD: -1, Err: errSlow.Error() + ": message queues and pseudoterminals may not be told", Scope: ScopeDetail})
	}
	return v, ok
}
