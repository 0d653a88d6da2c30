package fdscan

import (
	"context"
	"errors"
	"fmt"
	"golang.org/x/sys/unix"
	"os"
	"stray/internal/sockdiag"
	"strconv"
)

// ring adds the files registered with an io_uring instance: the lines
// "    0: socket:[41877]" below "UserFiles:" of its fdinfo.
func (l *lookup) ring(r Ref) {
	text, err := os.ReadFile(l.fdinfo(r.PID, r.TID, r.FD))
	if err != nil {
		if !gone(err) {
			l.gap(detailGap("read fdinfo of io_uring", r.PID, err))
		}
		return
	}
	for slot, link := range parseUserFiles(text) {
		inode, ok := socketInode(link)
		s := l.sockets[inode]
		if !ok || s == nil {
			continue
		}
		if p := l.process(r.PID); p != nil {
			s.Holders = append(s.Holders, &Holder{Process: p, TID: r.TID, FD: r.FD, Slot: slot, Via: ViaRing})
		}
	}
}

func (l *lookup) fdinfo(pid, tid, fd int) string {
	if tid != 0 {
		return l.path(strconv.Itoa(pid), "task", strconv.Itoa(tid), "fdinfo", strconv.Itoa(fd))
	}
	return l.path(strconv.Itoa(pid), "fdinfo", strconv.Itoa(fd))
}

// messages looks for sockets in SCM_RIGHTS messages that nobody has received:
// in the queues of unix sockets whose fdinfo says "scm_fds: N" (Linux 5.10?).
// Only a copy of the receiving socket can tell which files those are.
func (l *lookup) messages(ctx context.Context) {
	if l.Detached {
		return
	}
	queued, whole := l.queuedUnix()
	if len(queued) == 0 {
		return
	}
	if !whole {
		queued = nil
	}
	seen := map[uint64]bool{}
	err := l.walker().Walk(ctx, Want{Sockets: queued, AllSockets: queued == nil, PIDs: l.question.PIDs}, func(r Ref) {
		if seen[r.Inode] {
			return
		}
		text, err := os.ReadFile(l.fdinfo(r.PID, r.TID, r.FD))
		if err != nil {
			return
		}
		if n := parseFDInfo(text).SCMFiles; n > 0 {
			seen[r.Inode] = true
			l.message(r, n)
		}
	}, func(Gap) {})
	if err != nil {
		l.gap(Gap{Op: "look for messages in flight", FD: -1, Err: reason(err), Scope: ScopeHolders})
	}
}

// queuedUnix returns the unix sockets that have something in their receive
// queue; whole is false when some table could not be read and every unix
// socket has to be looked at.
func (l *lookup) queuedUnix() (inodes map[uint64]bool, whole bool) {
	inodes, whole = map[uint64]bool{}, true
	dump := func(conn *sockdiag.Conn, err error) {
		if err != nil {
			whole = false
			return
		}
		defer conn.Close()
		rows, err := conn.Unix()
		whole = whole && err == nil
		for _, r := range rows {
			if r.RecvQueue > 0 {
				inodes[uint64(r.Inode)] = true
			}
		}
	}
	dump(l.dial())
	for _, ns := range l.namespaces() {
		if ns.path == "" {
			whole = false
			continue
		}
		dump(l.enter(ns))
	}
	return inodes, whole
}

// message identifies the files in the queue of the unix socket r.
func (l *lookup) message(r Ref, count int) {
	files, err := peekFiles(r)
	if err != nil {
		g := detailGap("peek at a message in flight", r.PID, err)
		g.FD, g.Scope = r.FD, ScopeHolders
		l.gap(g)
		return
	}
	for i, inode := range files {
		if s := l.sockets[inode]; s != nil {
			if p := l.process(r.PID); p != nil {
				s.Holders = append(s.Holders, &Holder{
					Process: p, TID: r.TID, FD: r.FD, Slot: i, Via: ViaMessage,
					Note: fmt.Sprintf("in a message that fd %d (unix socket:[%d]) has not received", r.FD, r.Inode),
				})
			}
		}
	}
	if len(files) < count {
		l.gap(Gap{
			Op: "peek at a message in flight", PID: r.PID, FD: r.FD, Scope: ScopeHolders,
			Err: fmt.Sprintf("%d of %d files in the queue are in later messages, which cannot be looked at", count-len(files), count),
		})
	}
}

// unlisted looks at sockets that are in no table that was read: they may be
// bound only (before Linux 6.8), or belong to a namespace without a process.
func (l *lookup) unlisted(ctx context.Context, refs []Ref) {
	known, whole := l.listed(ctx)
	if !whole {
		l.gap(Gap{Op: "dump every socket table", FD: -1, Err: "incomplete", Scope: ScopeElsewhere})
	}
	entered := map[uint64]bool{}
	looked := map[uint64]bool{}
	for _, r := range refs {
		if s := l.sockets[r.Inode]; s != nil {
			l.hold(r)
			continue
		}
		if known[r.Inode] || looked[r.Inode] {
			continue
		}
		looked[r.Inode] = true
		s, ns, err := identify(r)
		if err != nil {
			if !gone(err) {
				g := detailGap("pidfd_getfd", r.PID, err)
				g.FD = r.FD
				if !l.listsBound() {
					g.Scope = ScopeTables
				}
				l.gap(g)
			}
			continue
		}
		if ns != nil && ns.inode != l.snap.Host.NetNS && !entered[ns.inode] {
			entered[ns.inode] = true
			if conn, err := l.dialIn(ns.fd); err == nil {
				l.namespace(conn, ns.inode, false)
				conn.Close()
			}
		}
		if ns != nil {
			unix.Close(ns.fd)
		}
		if l.sockets[r.Inode] == nil && s != nil && l.wantsInet(s) {
			s.NetNS, s.NetNSMine = l.snap.Host.NetNS, true
			if ns != nil {
				s.NetNS, s.NetNSMine = ns.inode, ns.inode == l.snap.Host.NetNS
			}
			l.add(s)
		}
		if l.sockets[r.Inode] != nil {
			l.hold(r)
		}
	}
}

// listed returns the inodes of every inet and unix socket of every namespace
// that can be dumped.
func (l *lookup) listed(ctx context.Context) (inodes map[uint64]bool, whole bool) {
	inodes, whole = map[uint64]bool{}, true
	dump := func(conn *sockdiag.Conn, err error) {
		if err != nil {
			whole = false
			return
		}
		defer conn.Close()
		for _, t := range inetTables {
			rows, err := conn.Inet(sockdiag.InetRequest{Family: t.family, Protocol: t.number, States: sockdiag.AllStates})
			whole = whole && (err == nil || errors.Is(err, sockdiag.ErrUnsupported))
			for i := range rows {
				inodes[uint64(rows[i].Inode)] = true
			}
		}
		rows, err := conn.Unix()
		whole = whole && err == nil
		for i := range rows {
			inodes[uint64(rows[i].Inode)] = true
		}
	}
	dump(l.dial())
	for _, ns := range l.namespaces() {
		if ctx.Err() != nil || ns.path == "" {
			whole = false
			continue
		}
		dump(l.enter(ns))
	}
	return inodes, whole
}
