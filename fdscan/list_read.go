package fdscan

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// tableReader reads whole descriptor tables. Its buffer is used for each
// descriptor.
type tableReader struct {
	*Scanner
	buf  []byte
	link []byte
	same map[Detail]Detail // what many descriptors have in common, once
}

func newTableReader(s *Scanner) *tableReader {
	return &tableReader{Scanner: s, buf: make([]byte, 8<<10), link: make([]byte, unix.PathMax), same: map[Detail]Detail{}}
}

// process reads the tables of a process: its own, and those of threads that have
// left it, or outlive their leader. What cannot be read is a gap of the first.
func (r *tableReader) process(pid int) (tables []*openTable) {
	own := r.table(pid, 0)
	if own == nil {
		return nil
	}
	own.limit = r.openLimit(pid)
	tids, err := listPIDs(r.path(strconv.Itoa(pid), "task"))
	if err != nil || len(tids) < 2 || r.Detached {
		return []*openTable{own}
	}
	// met holds a thread of each table. That of a leader which has exited is
	// empty, and compares with none.
	var met []int
	if len(own.descriptors) > 0 {
		met = append(met, pid)
		tables = append(tables, own)
	}
	unknown := 0
	for _, tid := range tids {
		if tid == pid {
			continue
		}
		switch same, known := sameTable(met, tid); {
		case same:
		case !known:
			unknown++
		default:
			if t := r.table(pid, tid); t != nil {
				t.limit = own.limit
				tables, met = append(tables, t), append(met, tid)
			}
		}
	}
	if len(tables) == 0 {
		tables = append(tables, own)
	}
	if unknown > 0 {
		g := detailGap("compare the tables of threads", pid, unix.EPERM)
		g.Err = "kcmp is not permitted: a thread may have a table of its own"
		tables[0].gaps = append(tables[0].gaps, g)
	}
	return tables
}

// table reads one table; nil when its process has ended.
func (r *tableReader) table(pid, tid int) *openTable {
	t := &openTable{tid: tid}
	var err error
	t.descriptors, err = r.ReadTable(pid, tid)
	switch {
	case gone(err):
		return nil
	case err != nil:
		stat, statErr := readStat(r.path(strconv.Itoa(pid), "stat"))
		if gone(statErr) {
			return nil
		}
		// A zombie has no table any more, and a kernel thread never had one.
		if statErr != nil || stat.state != 'Z' && stat.flags&kernelThread == 0 {
			t.refused = true
			t.gaps = append(t.gaps, processGap("read "+r.root()+"/PID/fd", pid, err))
		}
		return t
	}
	if i := slices.IndexFunc(t.descriptors, func(d *Descriptor) bool { return d.Kind == Unreadable }); i >= 0 {
		// A security module lets the table be listed and the links not be read.
		g := processGap("readlink "+r.root()+"/PID/fd", pid, unix.EACCES)
		g.TID, g.Err = tid, t.descriptors[i].Err
		t.gaps = append(t.gaps, g)
	}
	slices.SortFunc(t.descriptors, func(a, b *Descriptor) int { return a.FD - b.FD })
	directory := r.path(strconv.Itoa(pid))
	if tid != 0 {
		directory = r.path(strconv.Itoa(pid), "task", strconv.Itoa(tid))
	}
	if t.descriptors, err = r.contents(directory, t.descriptors); err != nil && !gone(err) {
		t.gaps = append(t.gaps, detailGap("read fdinfo", pid, err))
	}
	return t
}

// contents reads fdinfo of descriptors, and asks each file what it is. Those that
// have been closed meanwhile are left out.
func (r *tableReader) contents(directory string, descriptors []*Descriptor) ([]*Descriptor, error) {
	links, err := unix.Open(directory+"/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return descriptors, err
	}
	defer unix.Close(links)
	infos, err := unix.Open(directory+"/fdinfo", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return descriptors, err
	}
	defer unix.Close(infos)
	var refused error
	descriptors = slices.DeleteFunc(descriptors, func(d *Descriptor) bool {
		open, err := r.content(links, infos, d)
		if err != nil && !gone(err) && (refused == nil || err != errReplaced) {
			refused = err
		}
		return !open
	})
	return descriptors, refused
}

// errReplaced is why nothing is known of a number but what it leads to.
var errReplaced = errors.New("a number came to mean another file whenever it was looked at")

// content completes one descriptor; open is false when it has been closed. When
// its number has come to mean another file between the first look and the last,
// it is looked at again.
func (r *tableReader) content(links, infos int, d *Descriptor) (open bool, err error) {
	const tries = 4
	name := strconv.Itoa(d.FD)
	for range tries {
		if !r.Detached {
			d.ask(links, name)
		}
		text, err := r.file(infos, name)
		if err != nil {
			return !gone(err), err
		}
		info := parseFDInfo(text)
		r.note(d, info)
		if d.Kind == IOUring {
			// It may have been locked at that moment, and tells less then.
			r.unlock(infos, name, d)
		}
		if d.Kind == Unreadable || d.linkNames(info.Inode) && info.Inode == d.Inode {
			return true, nil
		}
		n, err := unix.Readlinkat(links, name, r.link)
		if err != nil {
			return !gone(err), err
		}
		now := &Descriptor{TID: d.TID, FD: d.FD}
		now.leadsTo(string(r.link[:n]))
		if now.Kind == d.Kind && now.Link == d.Link && now.Deleted == d.Deleted {
			return true, nil
		}
		*d = *now
	}
	return true, errReplaced
}

// linkNames reports that the link is that of a socket or pipe with this inode.
func (d *Descriptor) linkNames(inode uint64) bool {
	for _, prefix := range []string{"socket:[", "pipe:["} {
		if n, ok := linkInode(d.Link, prefix); ok {
			return n == inode
		}
	}
	return false
}

// note takes over what fdinfo tells.
func (r *tableReader) note(d *Descriptor, info FDInfo) {
	d.CloseOnExec, d.Pos = new(info.CloseOnExec()), &info.Pos
	d.Flags = new(info.Flags &^ unix.O_CLOEXEC)
	d.MountID, d.Locks, d.watches = info.MountID, info.Locks, info.Watches
	if d.Inode == 0 {
		d.Inode = info.Inode
	}
	// Most descriptors have the same few details as many others.
	for i, f := range info.Details {
		known, ok := r.same[f]
		if !ok && len(r.same) < 1<<12 {
			known, ok = f, true
			r.same[f] = f
		}
		if ok {
			info.Details[i] = known
		}
	}
	d.Details = info.Details
}

// unlock reads fdinfo of an io_uring instance again, until nobody holds its lock
// (as readRing does).
func (r *tableReader) unlock(infos int, name string, d *Descriptor) {
	for range ringTries {
		if d.detail("UserFiles") != "" {
			return
		}
		time.Sleep(ringPause)
		text, err := r.file(infos, name)
		if err != nil {
			return
		}
		r.note(d, parseFDInfo(text))
	}
}

// file returns the contents of a small file, until the next call.
func (r *tableReader) file(directory int, name string) ([]byte, error) {
	fd, err := unix.Openat(directory, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	n := 0
	for {
		if n == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		m, err := unix.Read(fd, r.buf[n:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case m < len(r.buf)-n: // the kernel writes what there is at once (seq_file)
			return r.buf[:n+max(0, m)], nil
		default:
			n += m
		}
	}
}

// ask asks the file itself (statx(2)), from what is cached of it. It is reached
// through /proc, by no path, and never opened.
func (d *Descriptor) ask(links int, name string) {
	if d.Kind == Unreadable {
		return
	}
	var st unix.Statx_t
	if unix.Statx(links, name, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &st) != nil {
		return
	}
	d.Inode, d.Device, d.mode = st.Ino, unix.Mkdev(st.Dev_major, st.Dev_minor), st.Mode
	d.Number = unix.Mkdev(st.Rdev_major, st.Rdev_minor)
	switch d.format() {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
		const sector = 512 // the unit of stx_blocks
		d.Size, d.Allocated = new(int64(st.Size)), new(int64(st.Blocks*sector))
	}
}
