package fdscan

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// crossings finds the descriptors that have come into a program through exec: a
// living ancestor that runs another program has the same open file description
// at the same number, and FD_CLOEXEC is clear. Standard input, output and error
// are there for that, and what is one of them under another number is no more.
func (l *lookup) crossings() {
	tables := map[int][]Entry{}
	for _, t := range l.survey.tables {
		if t.TID == 0 {
			tables[t.PID] = t.Entries
		}
	}
	for _, t := range l.survey.tables {
		p := l.snap.Processes[t.PID]
		if t.TID != 0 || p == nil || p.Unexeced || t.PID == os.Getpid() {
			// What a bare copy has, its parent is asked about; and this process
			// ends with the answer.
			continue
		}
		a := l.otherProgram(p)
		if a == nil {
			continue
		}
		eachCommon(t.Entries, tables[a.PID], func(e Entry) {
			if e.FD > 2 && !l.isStandard(p, e, t.Entries) && l.sameFile(p, a, e, e) {
				l.crossed(p, l.eldestWith(a, e, tables), e)
			}
		})
	}
}

// otherProgram is the nearest ancestor of p that runs another program.
func (l *lookup) otherProgram(p *Process) *Process {
	for q := l.snap.Parent(p); q != nil && q.Exe != "" && p.Exe != ""; q = l.snap.Parent(q) {
		if q.Exe != p.Exe {
			return q
		}
	}
	return nil
}

// eachCommon calls f with what two tables, by number, have in common.
func eachCommon(a, b []Entry, f func(Entry)) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].FD < b[0].FD:
			a = a[1:]
			continue
		case a[0].FD == b[0].FD && a[0].ID == b[0].ID && a[0].kind == b[0].kind:
			f(a[0])
		}
		b = b[1:]
	}
}

// isStandard reports that e refers to what 0, 1 or 2 refer to.
func (l *lookup) isStandard(p *Process, e Entry, table []Entry) bool {
	return slices.ContainsFunc(table[:min(len(table), 3)], func(s Entry) bool {
		return s.FD <= 2 && s.ID == e.ID && s.kind == e.kind && l.sameFile(p, p, s, e)
	})
}

// sameFile reports that a descriptor of p and one of q, which lead to the same,
// are of one open file description. Where that cannot be asked, a socket or pipe
// is taken to have one only.
func (l *lookup) sameFile(p, q *Process, a, b Entry) bool {
	if !l.Detached {
		if order, err := compareOpenFiles(p.PID, int(a.FD), q.PID, int(b.FD)); err == nil {
			return order == 0
		}
	}
	return a.has(entrySocket) || kinds[a.kind] == Pipe
}

// eldestWith is the eldest of a and its ancestors, without a gap between them,
// whose tables have e.
func (l *lookup) eldestWith(a *Process, e Entry, tables map[int][]Entry) *Process {
	has := func(p *Process) bool {
		i, found := slices.BinarySearchFunc(tables[p.PID], e.FD, func(o Entry, fd int32) int { return cmp.Compare(o.FD, fd) })
		return found && tables[p.PID][i].ID == e.ID && l.sameFile(a, p, e, e)
	}
	for q := l.snap.Parent(a); q != nil && has(q); q = l.snap.Parent(q) {
		a = q
	}
	return a
}

// crossed adds a descriptor of p that has come from an ancestor, unless
// FD_CLOEXEC is set.
func (l *lookup) crossed(p, from *Process, e Entry) {
	d := l.describe(p, 0, int(e.FD))
	if d == nil || d.CloseOnExec == nil || *d.CloseOnExec {
		return
	}
	d.From = from
	if found := l.sockets[e.ID]; e.has(entrySocket) && len(found) > 0 {
		d.Socket = found[0]
	}
	l.snap.Descriptors = append(l.snap.Descriptors, d)
}

// describe reads the link and the fdinfo of one descriptor; nil when it is not
// there any more.
func (l *lookup) describe(p *Process, tid, fd int) *Descriptor {
	link, err := os.Readlink(l.descriptorPath("fd", p.PID, tid, fd))
	if err != nil {
		return nil
	}
	d := &Descriptor{Process: p, TID: tid, FD: fd}
	d.leadsTo(link)
	text, err := readFile(l.descriptorPath("fdinfo", p.PID, tid, fd))
	if err != nil {
		if !gone(err) {
			g := detailGap("read fdinfo", p.PID, err)
			g.TID, g.FD = tid, fd
			l.gap(g)
		}
		return d
	}
	info := parseFDInfo(text)
	d.CloseOnExec, d.Flags, d.Pos = new(info.CloseOnExec()), new(info.Flags&^unix.O_CLOEXEC), new(info.Pos)
	d.Locks = info.Locks
	return d
}

// deletedFiles adds the descriptors of regular files that have no name any more
// and take space. Files of the kernel's own, such as memfd_create(2) makes, look
// like deleted ones, and never had a name.
func (l *lookup) deletedFiles() {
	type entry struct{ pid, tid, fd int }
	known := map[entry]*Descriptor{}
	for _, d := range l.snap.Descriptors {
		known[entry{d.Process.PID, d.TID, d.FD}] = d
	}
	for _, t := range l.survey.tables {
		for _, e := range t.Entries {
			if e.has(entryDeleted) && e.Kind() == Regular {
				l.deletedFile(t, e, known[entry{t.PID, t.TID, int(e.FD)}])
			}
		}
	}
	slices.SortStableFunc(l.snap.Descriptors, func(a, b *Descriptor) int {
		return cmp.Or(cmp.Compare(a.Process.PID, b.Process.PID), cmp.Compare(a.TID, b.TID), cmp.Compare(a.FD, b.FD))
	})
}

// deletedFile adds one of them, or tells of d, that is known, how large it is. The
// number may be given to another file at any time: what is told of one file was
// read while the number led to it.
func (l *lookup) deletedFile(t Filled, e Entry, d *Descriptor) {
	path := l.descriptorPath("fd", t.PID, t.TID, int(e.FD))
	st, err := l.statx(path)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink > 0 || st.Blocks == 0 {
		return
	}
	p := l.process(t.PID)
	if p == nil {
		return
	}
	now := l.describe(p, t.TID, int(e.FD))
	if again, err := l.statx(path); err != nil || now == nil || !sameInode(st, again) {
		return
	}
	isNew := d == nil
	if isNew {
		d = now
	} else if d.Link != now.Link {
		return
	}
	if strings.LastIndexByte(d.Link, '/') == 0 {
		// The kernel's own files are at the top of a mount that nobody sees.
		root, err := l.statx(l.path(strconv.Itoa(t.PID), "root"))
		if err != nil || root.Dev_major != st.Dev_major || root.Dev_minor != st.Dev_minor {
			return
		}
	}
	d.Inode, d.Device = st.Ino, unix.Mkdev(st.Dev_major, st.Dev_minor)
	d.Size, d.Allocated = new(int64(st.Size)), new(int64(st.Blocks)*512)
	if isNew {
		l.snap.Descriptors = append(l.snap.Descriptors, d)
	}
}

// sameInode reports one file. Its number alone may be another file's already: the
// time of birth tells, where the file system keeps it.
func sameInode(a, b unix.Statx_t) bool {
	return a.Ino == b.Ino && a.Dev_major == b.Dev_major && a.Dev_minor == b.Dev_minor && a.Btime == b.Btime
}

// statx asks for what is cached: a file server that is dead is not waited for.
func (l *lookup) statx(path string) (st unix.Statx_t, err error) {
	const wanted = unix.STATX_TYPE | unix.STATX_NLINK | unix.STATX_SIZE | unix.STATX_BLOCKS | unix.STATX_INO | unix.STATX_BTIME
	err = unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, wanted, &st)
	return st, err
}
