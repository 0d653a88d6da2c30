package fdscan

import (
	"context"
	"fmt"
	"slices"
)

// holders finds who holds the sockets and files of the answer.
func (l *lookup) holders(ctx context.Context) error {
	// Before Linux 6.8 no table shows a socket that is bound and nothing
	// else, and one in a namespace without a process is in no table that can
	// be reached: then every socket that is in no table is looked at.
	unlisted := l.hasPorts() && !l.Detached && (l.question.Deep || !l.listsBound())
	want := l.want()
	if want.empty() && !unlisted {
		return nil
	}
	want.AllSockets = unlisted
	sees, err := l.find(ctx, want)
	if err != nil {
		return err
	}
	return l.unowned(ctx, sees)
}

// want is what the answer needs to find the holders of.
func (l *lookup) want() Want {
	want := Want{Sockets: map[uint64]bool{}, Pipes: map[uint64]bool{}, Files: map[FileID]bool{}, Rings: true, PIDs: l.question.PIDs}
	for inode := range l.sockets {
		want.Sockets[inode] = true
	}
	for id, o := range l.files {
		// Of a unix socket's file the socket is asked for, which no
		// descriptor of the file leads to.
		if o.Kind != "socket" {
			want.Files[id] = true
		}
	}
	for _, t := range l.question.Targets {
		if t.Kind == InodeTarget {
			want.Sockets[t.Inode], want.Pipes[t.Inode] = true, true
		}
	}
	return want
}

func (w Want) empty() bool { return len(w.Sockets)+len(w.Files)+len(w.Pipes) == 0 && !w.AllSockets }

// find walks over all processes and adds the holders of what is wanted. sees is
// false when something could not be looked into, where they may be too.
func (l *lookup) find(ctx context.Context, want Want) (sees bool, err error) {
	var rings, strangers []Ref
	sees = true
	err = l.walker().Walk(ctx, want, func(r Ref) {
		switch {
		case r.Kind == RefRing:
			rings = append(rings, r)
		case r.Kind == RefSocket && !want.Sockets[r.Inode]:
			strangers = append(strangers, r)
		default:
			l.hold(r)
		}
	}, func(g Gap) {
		sees = false
		l.gap(g)
	})
	if err != nil {
		return false, err
	}
	if want.AllSockets {
		if !sees && !l.listsBound() {
			l.gapOfStrangers()
		}
		l.unlisted(ctx, strangers)
	}
	sees = l.rings(rings, want) && sees
	if l.question.Deep || l.hasUnowned() {
		sees = l.messages(ctx) && sees
	}
	l.recheck()
	return sees, nil
}

// gapOfStrangers is for the sockets of those that could not be read, whose table
// is missing too.
func (l *lookup) gapOfStrangers() {
	l.gap(Gap{Op: "look for sockets that are bound only", FD: -1, Err: "a process that could not be read may hold one", Needs: "Linux 6.8", Scope: ScopeTables})
}

func (l *lookup) hasPorts() bool {
	_, high, _ := l.portRange()
	return high != 0 || l.survey != nil
}

// hold adds a found descriptor to what it refers to.
func (l *lookup) hold(r Ref) {
	h := l.holder(r)
	if h == nil {
		return
	}
	switch r.Kind {
	case RefSocket:
		if len(l.sockets[r.Inode]) == 0 {
			l.add(l.unidentified(r))
		}
		l.holdSocket(r.Inode, h)
	case RefFile:
		l.holdObject(l.files[r.File], h)
	case RefPipe:
		l.holdObject(l.pipe(r.Inode), h)
	case RefRing:
	}
}

// holder makes a holder of a found descriptor; nil when the process has ended.
func (l *lookup) holder(r Ref) *Holder {
	p := l.process(r.PID)
	if p == nil {
		return nil
	}
	return &Holder{Process: p, TID: r.TID, FD: r.FD, Slot: -1, Via: r.Via, Note: r.Note}
}

// holdSocket adds a holder to what was asked for with this inode.
func (l *lookup) holdSocket(inode uint64, h *Holder) {
	for _, s := range l.sockets[inode] {
		if l.isNew(s, h) {
			s.Holders = append(s.Holders, h)
		}
	}
}

func (l *lookup) holdObject(o *Object, h *Holder) {
	if l.isNew(o, h) {
		o.Holders = append(o.Holders, h)
	}
}

// holding tells the holders of a socket or an object apart.
type holding struct {
	of           any
	pid, tid, fd int
	slot         int
	via          Via
	note         string
}

func keyOf(of any, h *Holder) holding {
	return holding{of, h.Process.PID, h.TID, h.FD, h.Slot, h.Via, h.Note}
}

// isNew reports whether no earlier walk has found the same.
func (l *lookup) isNew(of any, h *Holder) bool {
	key := keyOf(of, h)
	if l.held[key] {
		return false
	}
	if l.held == nil {
		l.held = map[holding]bool{}
	}
	l.held[key] = true
	return true
}

// holdLink adds a holder to the socket or pipe that a link text names, if that
// was asked for.
func (l *lookup) holdLink(link string, h *Holder) {
	if inode, ok := linkInode(link, "socket:["); ok {
		l.holdSocket(inode, h)
	}
	if inode, ok := linkInode(link, "pipe:["); ok && l.asksInode(inode) {
		l.holdObject(l.pipe(inode), h)
	}
}

// asksInode reports whether an inode was asked for by its number.
func (l *lookup) asksInode(inode uint64) bool {
	return slices.ContainsFunc(l.question.Targets, func(t Target) bool { return t.Kind == InodeTarget && t.Inode == inode })
}

// pipe returns the object for a pipe that was asked for by inode.
func (l *lookup) pipe(inode uint64) *Object {
	id := FileID{Inode: inode}
	o := l.files[id]
	if o == nil {
		o = &Object{Path: fmt.Sprintf("pipe:[%d]", inode), Inode: inode, Kind: "pipe"}
		if l.files == nil {
			l.files = map[FileID]*Object{}
		}
		l.files[id] = o
		l.snap.Objects = append(l.snap.Objects, o)
	}
	return o
}

// process returns what is known of pid, reading it once; nil when it has ended,
// and for the pid 0 of nobody.
func (l *lookup) process(pid int) *Process {
	if pid <= 0 {
		return nil
	}
	p, known := l.snap.Processes[pid]
	if !known {
		p, _ = l.readProcess(pid)
		l.snap.Processes[pid] = p
	}
	return p
}
