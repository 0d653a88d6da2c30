package fdscan

import (
	"context"
	"fmt"
)

// holders finds who holds the sockets and files of the answer.
func (l *lookup) holders(ctx context.Context) error {
	want := Want{Sockets: map[uint64]bool{}, Pipes: map[uint64]bool{}, Rings: true, PIDs: l.question.PIDs}
	for inode := range l.sockets {
		want.Sockets[inode] = true
	}
	if len(l.files) > 0 {
		want.Files = map[FileID]bool{}
		for id := range l.files {
			want.Files[id] = true
		}
	}
	for _, t := range l.question.Targets {
		if t.Kind == InodeTarget {
			want.Sockets[t.Inode], want.Pipes[t.Inode] = true, true
		}
	}
	ports := l.hasPorts()
	// Before Linux 6.8 no table shows a socket that is bound and nothing
	// else, and one in a namespace without a process is in no table that can
	// be reached: then every socket that is in no table is looked at.
	unlisted := ports && !l.Detached && (l.question.Deep || !l.listsBound())
	if len(want.Sockets)+len(want.Files) == 0 && !unlisted {
		return nil
	}
	want.AllSockets = unlisted
	var rings, strangers []Ref
	sees := true
	err := l.walker().Walk(ctx, want, func(r Ref) {
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
		return err
	}
	for _, r := range rings {
		l.ring(r)
	}
	if unlisted {
		l.unlisted(ctx, strangers)
	}
	if l.question.Deep || l.hasUnowned() {
		l.messages(ctx)
	}
	// Only a complete view can tell that nobody holds what has an inode.
	if sees && len(l.question.PIDs) == 0 {
		for _, s := range l.snap.Sockets {
			s.KernelOwned = s.NetNSMine && s.Inode != 0 && len(s.Holders) == 0 && s.State != TimeWait
		}
	}
	return nil
}

func (l *lookup) hasPorts() bool {
	_, high, _ := l.portRange()
	return high != 0
}

// hasUnowned reports a socket that has an inode and no holder yet.
func (l *lookup) hasUnowned() bool {
	for _, s := range l.sockets {
		if len(s.Holders) == 0 {
			return true
		}
	}
	return false
}

// hold adds a found descriptor to what it refers to.
func (l *lookup) hold(r Ref) {
	h := &Holder{TID: r.TID, FD: r.FD, Slot: -1, Via: r.Via, Note: r.Note}
	if h.Process = l.process(r.PID); h.Process == nil {
		return
	}
	switch r.Kind {
	case RefSocket:
		s := l.sockets[r.Inode]
		if s == nil {
			if s = l.unidentified(r); s == nil {
				return
			}
			l.add(s)
		}
		s.Holders = append(s.Holders, h)
	case RefFile:
		o := l.files[r.File]
		o.Holders = append(o.Holders, h)
	case RefPipe:
		id := FileID{Inode: r.Inode}
		o := l.files[id]
		if o == nil {
			o = &Object{Path: fmt.Sprintf("pipe:[%d]", r.Inode), Inode: r.Inode, Kind: "pipe"}
			if l.files == nil {
				l.files = map[FileID]*Object{}
			}
			l.files[id] = o
			l.snap.Objects = append(l.snap.Objects, o)
		}
		o.Holders = append(o.Holders, h)
	}
}

// process returns what is known of pid, reading it once; nil when it has ended.
func (l *lookup) process(pid int) *Process {
	p, known := l.snap.Processes[pid]
	if !known {
		p, _ = l.readProcess(pid)
		l.snap.Processes[pid] = p
	}
	return p
}
