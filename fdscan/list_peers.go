package fdscan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// peers finds who has the other end of each pipe, FIFO, unix socket,
// pseudoterminal and connection within this machine, by one walk over all
// processes.
func (l *lister) peers() error {
	want := Want{Sockets: map[uint64]bool{}, Pipes: map[uint64]bool{}, Links: map[string]bool{}}
	for _, d := range l.snap.Descriptors {
		switch {
		case d.otherEnd != 0:
			want.Sockets[d.otherEnd] = true
		case d.Kind == Pipe:
			want.Pipes[d.Inode] = true
		case d.Kind == FIFO && !d.Deleted:
			want.Links[d.Link] = true
		case d.Kind == PTY:
			for _, link := range d.otherTerminals() {
				want.Links[link] = true
			}
		}
	}
	if want.empty() && len(want.Links) == 0 {
		return nil
	}
	found := map[place][]Ref{}
	whole := len(l.hidepid()) == 0 && l.seesAllPIDs()
	err := l.walker().Walk(l.ctx, want, func(r Ref) {
		p := place{r.Kind, r.Inode, r.Link}
		found[p] = append(found[p], r)
	}, func(g Gap) {
		whole = false
		g.Op, g.Scope = "look for the other ends: "+g.Op, ScopeDetail
		l.gap(g)
	})
	if err != nil {
		return err
	}
	ends := &endReader{lister: l, read: map[entryID]FDInfo{}, files: map[entryID]FileID{}, instances: map[string]FileID{}, known: map[end]others{}}
	for _, d := range l.snap.Descriptors {
		if d.Flags != nil && (d.Kind == Pipe || d.Kind == FIFO || d.Kind == PTY) {
			ends.read[entryID{d.Process.PID, d.TID, d.FD}] = FDInfo{Flags: *d.Flags, Details: d.Details}
		}
	}
	for _, d := range l.snap.Descriptors {
		switch {
		case d.otherEnd != 0:
			p := place{kind: RefSocket, inode: d.otherEnd}
			ends.meet(d, end{place: p}, found[p], func(Ref) bool { return true })
		case d.Kind == Pipe && d.Flags != nil:
			p := place{kind: RefPipe, inode: d.Inode}
			ends.meet(d, end{p, *d.Flags & unix.O_ACCMODE, FileID{}}, found[p], func(r Ref) bool { return ends.opposite(d, r) })
			d.lonely, d.unseen = whole && len(d.Peers) == 0, !whole && len(d.Peers) == 0
		case d.Kind == FIFO && d.Flags != nil:
			p := place{kind: RefLink, link: d.Link}
			ends.meet(d, end{p, *d.Flags & (unix.O_ACCMODE | unix.O_PATH), FileID{d.Device, d.Inode}}, found[p], func(r Ref) bool {
				return ends.opposite(d, r) && ends.sameFile(d, r)
			})
		case d.Kind == PTY:
			var refs []Ref
			for _, link := range d.otherTerminals() {
				refs = append(refs, found[place{kind: RefLink, link: link}]...)
			}
			p := place{kind: RefLink, link: d.Link}
			if index := d.detail("tty-index"); index != "" {
				// All masters are one file. They lead to what the root of their
				// process says.
				p.inode, p.link = uint64(d.Process.PID), d.Link+" "+index
			}
			ends.meet(d, end{p, 0, FileID{d.Device, d.Inode}}, refs, func(r Ref) bool { return ends.sameTerminal(d, r) })
		}
	}
	return nil
}

// place is what descriptors lead to: a socket or pipe, by its inode, or a path.
type place struct {
	kind  RefKind
	inode uint64
	link  string
}

// end is one end of something. All descriptors of one end have the same peers,
// and there may be thousands: they are looked for and kept once.
type end struct {
	place
	mode uint32 // what it may be used for, of a pipe
	file FileID // of a path: in another mount namespace it leads elsewhere
}

// others are the descriptors that are opposite to an end.
type others struct {
	first []Peer // MaxPeers of them, and one more
	all   map[entryID]bool
}

// entryID is an entry in a descriptor table.
type entryID struct{ pid, tid, fd int }

// endReader finds out who is at the other end.
type endReader struct {
	*lister
	read      map[entryID]FDInfo
	files     map[entryID]FileID
	instances map[string]FileID // of devpts, by the path of its directory
	known     map[end]others
}

// meet names those of refs that are opposite to d, which is at the end of, without
// d itself.
func (e *endReader) meet(d *Descriptor, of end, refs []Ref, opposite func(Ref) bool) {
	known, ok := e.known[of]
	if !ok {
		known = e.find(refs, opposite)
		e.known[of] = known
	}
	d.Peers = known.first[:min(len(known.first), MaxPeers)]
	d.MorePeers = len(known.all) - len(d.Peers)
	if !known.all[entryID{d.Process.PID, d.TID, d.FD}] {
		return
	}
	if i := slices.Index(known.first, Peer{d.Process, d.TID, d.FD}); i >= 0 {
		d.Peers = slices.Concat(known.first[:i], known.first[i+1:])
	}
	d.MorePeers = len(known.all) - 1 - len(d.Peers)
}

// find returns those of refs that are opposite, by pid, thread and number.
func (e *endReader) find(refs []Ref, opposite func(Ref) bool) others {
	found := others{all: map[entryID]bool{}}
	for _, r := range refs {
		if !opposite(r) {
			continue
		}
		if p := e.process(r.PID); p != nil {
			found.first = append(found.first, Peer{Process: p, TID: r.TID, FD: r.FD})
			found.all[entryID{r.PID, r.TID, r.FD}] = true
		}
	}
	slices.SortFunc(found.first, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(a.Process.PID, b.Process.PID), cmp.Compare(a.TID, b.TID), cmp.Compare(a.FD, b.FD))
	})
	found.first = slices.Clone(found.first[:min(len(found.first), MaxPeers+1)])
	return found
}

// info reads fdinfo of a descriptor that the walk has found. What has been
// closed since is no end of anything: it can neither read nor write.
func (e *endReader) info(r Ref) FDInfo {
	id := entryID{r.PID, r.TID, r.FD}
	info, known := e.read[id]
	if !known {
		info.Flags = unix.O_PATH
		if text, err := readFile(e.descriptorPath("fdinfo", r.PID, r.TID, r.FD)); err == nil {
			info = parseFDInfo(text)
		}
		e.read[id] = info
	}
	return info
}

// opposite reports whether one of two ends of a pipe can write and the other
// read.
func (e *endReader) opposite(d *Descriptor, r Ref) bool {
	reads1, writes1 := directions(*d.Flags)
	reads2, writes2 := directions(e.info(r).Flags)
	return reads1 && writes2 || writes1 && reads2
}

// directions are what the access mode allows.
func directions(flags uint32) (reads, writes bool) {
	if flags&unix.O_PATH != 0 {
		return false, false
	}
	mode := flags & unix.O_ACCMODE
	return mode != unix.O_WRONLY, mode != unix.O_RDONLY
}

// sameFile reports whether a descriptor with the same path leads to the same
// file: in another mount namespace it may be another.
func (e *endReader) sameFile(d *Descriptor, r Ref) bool {
	return e.fileOf(r) == FileID{d.Device, d.Inode}
}

const (
	ptsDirectory = "/dev/pts/"
	ptmx         = "/dev/ptmx"
)

// otherTerminals are the link texts that the other end of a pseudoterminal can
// have.
func (d *Descriptor) otherTerminals() []string {
	if index := d.detail("tty-index"); index != "" {
		return []string{ptsDirectory + index}
	}
	if strings.HasPrefix(d.Link, ptsDirectory) {
		return []string{ptmx, ptsDirectory + "ptmx"}
	}
	return nil
}

// sameTerminal reports whether a master and a slave belong together: they have
// one number in one instance of devpts.
func (e *endReader) sameTerminal(d *Descriptor, r Ref) bool {
	index, link, pid, slave := d.detail("tty-index"), d.Link, d.Process.PID, e.fileOf(r).Device
	if index == "" {
		for _, f := range e.info(r).Details {
			if f.Name == "tty-index" {
				index = f.Value
			}
		}
		if strings.TrimPrefix(d.Link, ptsDirectory) != index {
			return false
		}
		link, pid, slave = r.Link, r.PID, d.Device
	}
	// The master belongs to the instance that it was opened in, or, at
	// /dev/ptmx, to the one beside it.
	directory := ptsDirectory
	if link != ptmx {
		directory = strings.TrimSuffix(link, "ptmx")
	}
	return e.instance(e.path(strconv.Itoa(pid), "root", directory)).Device == slave
}

// instance is the directory of an instance of devpts, the zero FileID when it
// cannot be told.
func (e *endReader) instance(directory string) FileID {
	id, known := e.instances[directory]
	if !known {
		id, _ = askServer(e.lister, func() FileID { return exeID(directory) })
		e.instances[directory] = id
	}
	return id
}

func (e *endReader) fileOf(r Ref) FileID {
	entry := entryID{r.PID, r.TID, r.FD}
	id, known := e.files[entry]
	if !known {
		id = exeID(e.descriptorPath("fd", r.PID, r.TID, r.FD))
		e.files[entry] = id
	}
	return id
}
