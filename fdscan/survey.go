package fdscan

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"stray/internal/sockdiag"
)

// SurveyQuestion is what Scanner.Survey answers.
type SurveyQuestion struct {
	// Deep also looks where every descriptor must be touched (Question.Deep).
	Deep bool
	// Meanwhile, unless nil, is called with what has been read of descriptor
	// tables, while processes that rest are watched for a moment.
	Meanwhile func(read Walker)
}

// Survey looks at the whole machine by one walk over all descriptor tables. It
// returns, for every network namespace, the listeners and bound sockets with
// their holders, as Lookup would tell of them; connections that several
// processes hold, or that tell whether a listener is used; dead TCP sockets; how
// the table of every process is filled; and the descriptors that may have leaked:
// those that have crossed an exec, and of deleted files. What could not be seen
// is in Snapshot.Gaps; the error is for what made any answer impossible: /proc
// missing, or ctx ended.
func (s *Scanner) Survey(ctx context.Context, q SurveyQuestion) (*Snapshot, error) {
	l := &lookup{
		Scanner: s, ctx: ctx, question: Question{Deep: q.Deep}, survey: &survey{ports: true, listing: true, meanwhile: q.Meanwhile},
		snap: &Snapshot{Processes: map[int]*Process{}, TablesComplete: true, HoldersComplete: true},
	}
	if err := l.host(); err != nil {
		return nil, err
	}
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	if err := l.evidence(); err != nil {
		return nil, err
	}
	l.deletedFiles()
	l.recheckDead()
	l.finish()
	return l.snap, nil
}

// survey is what a lookup knows besides when it looks at the whole machine. What
// reads tables calls its methods in any case; those do nothing on nil.
type survey struct {
	// ports says that listeners and bound sockets are wanted; selected are the
	// inodes of connections that are, and selections what is known of those of
	// each network namespace.
	ports      bool
	selected   map[uint64]bool
	selections map[uint64]selection
	meanwhile  func(read Walker)
	// listing says that others are to be listed.
	listing bool
	listed  []listed
	tables  []Filled
	// refs are the descriptors of sockets, by inode.
	refs []socketRef
}

// listed is a socket that a table lists and that is neither a listener nor bound.
type listed struct {
	inode, netns uint64
	port         uint16
	kind         listedKind
	stream       bool // of TCP or MPTCP
}

// listedKind says what matters of the state of a listed socket.
type listedKind uint8

const (
	listedUnix listedKind = iota
	listedEstablished
	listedCloseWait
	listedOther
)

// selection is where the selected connections of one network namespace are.
type selection struct {
	stream, datagram bool
	low, high        uint16 // of their ports
}

// with adds a connection.
func (s selection) with(c listed) selection {
	s.stream, s.datagram = s.stream || c.stream, s.datagram || !c.stream
	if s.low == 0 {
		s.low = c.port
	}
	s.low, s.high = min(s.low, c.port), max(s.high, c.port)
	return s
}

// narrow makes a request for no more than the wanted sockets of a namespace; ok is
// false when none of this protocol are. The subflows of an MPTCP connection may
// have other ports than it has.
func (v *survey) narrow(request *sockdiag.InetRequest, p Protocol, netns uint64, lacksMPTCP func() bool) (ok bool) {
	if v == nil || v.ports {
		return true
	}
	s := v.selections[netns]
	request.States &^= 1<<sockdiag.Listen | 1<<sockdiag.BoundInactive
	if !p.Stream() || lacksMPTCP() {
		request.PortLow, request.PortHigh = s.low, s.high
	}
	return p.Stream() && s.stream || !p.Stream() && s.datagram
}

// concerns reports a namespace in which something is wanted.
func (v *survey) concerns(netns uint64) bool {
	return v == nil || v.ports || v.selections[netns] != selection{}
}

func kindListed(s State) listedKind {
	switch s {
	case Established:
		return listedEstablished
	case CloseWait:
		return listedCloseWait
	}
	return listedOther
}

// socketRef is a descriptor of a socket: an entry in one of the tables.
type socketRef struct {
	inode     uint64
	table, fd int32
}

// wants reports a socket that the snapshot is to hold.
func (v *survey) wants(s *Socket) bool {
	return v.ports && (s.State == Listen || s.State == Bound) || v.selected[s.Inode]
}

// passesInet reports a row of which no socket has to be made, and lists it.
func (v *survey) passesInet(p Protocol, row *sockdiag.Inet, netns uint64) bool {
	if v == nil {
		return false
	}
	switch state := inetStates[row.State]; {
	case state == Listen, state == Bound:
		return !v.ports
	case v.selected[uint64(row.Inode)]:
		return false
	default:
		v.list(listed{inode: uint64(row.Inode), netns: netns, kind: kindListed(state), port: row.Local.Port(), stream: p.Stream()})
	}
	return true
}

// passesUnix is passesInet for unix sockets.
func (v *survey) passesUnix(row *sockdiag.Unix, netns uint64) bool {
	if v == nil {
		return false
	}
	switch {
	case row.State == sockdiag.Listen, row.State == sockdiag.Close && row.Name != "":
		return !v.ports
	}
	v.list(listed{inode: uint64(row.Inode), netns: netns})
	return true
}

// list notes a socket that has a descriptor, or had one.
func (v *survey) list(c listed) {
	if v != nil && v.listing && c.inode != 0 {
		v.listed = append(v.listed, c)
	}
}

// isAlone reports a connection that one descriptor has: it tells of a listener
// that it is used, and its own flags do not matter.
func (v *survey) isAlone(s *Socket) bool {
	return v != nil && s.State != Listen && s.State != Bound && len(s.Holders) == 1
}

// mark returns a function that forgets what has been listed since.
func (v *survey) mark() (undo func()) {
	if v == nil {
		return func() {}
	}
	n := len(v.listed)
	return func() { v.listed = v.listed[:n] }
}

// isListed reports an inode that is in listed, which is sorted.
func (v *survey) isListed(inode uint64) (listed, bool) {
	i, found := slices.BinarySearchFunc(v.listed, inode, func(c listed, inode uint64) int { return cmp.Compare(c.inode, inode) })
	if !found {
		return listed{}, false
	}
	return v.listed[i], true
}

// look dumps the socket tables, reads all descriptor tables, and adds the holders
// of what is wanted.
func (l *lookup) look(ctx context.Context) error {
	v := l.survey
	found, _ := l.tables(ctx)
	for _, s := range found {
		l.add(s)
	}
	v.listing = false
	slices.SortFunc(v.listed, func(a, b listed) int { return cmp.Compare(a.inode, b.inode) })

	sees := true
	read := &readTables{Walker: l.walker()}
	l.snap.Read = read
	err := l.walker().Tables(ctx, func(f Filled) { v.tables = append(v.tables, f) }, func(g Gap) {
		sees = false
		l.gap(g)
		read.gaps = append(read.gaps, g)
	})
	if err != nil {
		return err
	}
	slices.SortFunc(v.tables, func(a, b Filled) int { return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.TID, b.TID)) })
	read.tables = v.tables
	l.fillTables()
	v.index()
	l.selectConnections(ctx)
	var strangers, rings []Ref
	for _, r := range v.refs {
		ref := v.ref(r)
		if len(l.sockets[r.inode]) > 0 {
			l.holdListed(ref)
		} else if _, known := v.isListed(r.inode); !known {
			strangers = append(strangers, ref)
		}
	}
	v.listed, v.refs = nil, nil
	l.strangers(ctx, strangers)
	for _, t := range v.tables {
		for _, e := range t.Entries {
			if e.has(entryRing) {
				rings = append(rings, t.ref(e, RefRing))
			}
		}
	}
	unlisted := !l.Detached && (l.question.Deep || !l.listsBound())
	if err := l.hidden(ctx, rings, Want{AllSockets: unlisted}, sees); err != nil {
		return err
	}
	l.crossings()
	return nil
}

// holdListed is hold for a descriptor that is met once.
func (l *lookup) holdListed(r Ref) {
	h := l.holder(r)
	if h == nil {
		return
	}
	for _, s := range l.sockets[r.Inode] {
		s.Holders = append(s.Holders, h)
	}
}

// hidden adds the holders that no descriptor table shows.
func (l *lookup) hidden(ctx context.Context, rings []Ref, want Want, sees bool) error {
	if want.AllSockets && !sees && !l.listsBound() {
		l.gapOfStrangers()
	}
	sees = l.rings(rings, want) && sees
	if l.question.Deep || l.hasUnowned() {
		sees = l.messages(ctx) && sees
	}
	l.recheck()
	return l.unowned(ctx, sees)
}

// ref is an entry of t as a walk would tell of it.
func (t Filled) ref(e Entry, kind RefKind) Ref {
	r := Ref{PID: t.PID, TID: t.TID, FD: int(e.FD), Kind: kind, Via: ViaTable}
	if kind == RefSocket {
		r.Inode = e.ID
	}
	if t.TID != 0 {
		r.Via = ViaThread
	}
	return r
}

func (v *survey) ref(r socketRef) Ref {
	return v.tables[r.table].ref(Entry{ID: r.inode, FD: r.fd}, RefSocket)
}

// index finds the descriptors of sockets.
func (v *survey) index() {
	n := 0
	for _, t := range v.tables {
		for _, e := range t.Entries {
			if e.has(entrySocket) {
				n++
			}
		}
	}
	v.refs = make([]socketRef, 0, n)
	for i, t := range v.tables {
		for _, e := range t.Entries {
			if e.has(entrySocket) {
				v.refs = append(v.refs, socketRef{e.ID, int32(i), e.FD})
			}
		}
	}
	slices.SortFunc(v.refs, func(a, b socketRef) int {
		return cmp.Or(cmp.Compare(a.inode, b.inode), cmp.Compare(a.table, b.table), cmp.Compare(a.fd, b.fd))
	})
}

// eachHeld calls f with the descriptors of each socket.
func (v *survey) eachHeld(f func(inode uint64, refs []socketRef)) {
	for rest := v.refs; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].inode == rest[0].inode {
			n++
		}
		f(rest[0].inode, rest[:n])
		rest = rest[n:]
	}
}

// selectConnections adds those connections that tell something: that are held by
// several processes; and, of those that a process holds of a port on which it
// holds a listener, one that is established and one whose peer has closed, since
// they tell whether it accepts.
func (l *lookup) selectConnections(ctx context.Context) {
	v := l.survey
	type service struct {
		netns  uint64
		port   uint16
		stream bool
		pid    int
		kind   listedKind
	}
	serves := map[service]bool{}
	v.eachHeld(func(inode uint64, refs []socketRef) {
		for _, s := range l.sockets[inode] {
			if s.State != Listen || s.Protocol == Unix {
				continue
			}
			for _, r := range refs {
				serves[service{s.NetNS, s.Local.Port, s.Protocol.Stream(), v.tables[r.table].PID, 0}] = true
			}
		}
	})
	selected, selections := map[uint64]bool{}, map[uint64]selection{}
	selectIt := func(inode uint64, c listed) {
		selected[inode], selections[c.netns] = true, selections[c.netns].with(c)
	}
	v.eachHeld(func(inode uint64, refs []socketRef) {
		c, ok := v.isListed(inode)
		if !ok || c.kind == listedUnix {
			return
		}
		pid := v.tables[refs[0].table].PID
		if v.tables[refs[len(refs)-1].table].PID != pid {
			selectIt(inode, c)
			return
		}
		if s := (service{c.netns, c.port, c.stream, pid, 0}); serves[s] && c.kind != listedOther {
			if s.kind = c.kind; !serves[s] {
				serves[s] = true
				selectIt(inode, c)
			}
		}
	})
	if len(selected) == 0 {
		return
	}
	v.selected, v.selections, v.ports = selected, selections, false
	found, _ := l.tables(ctx)
	v.ports = true
	for _, s := range found {
		l.add(s)
	}
}

// strangers looks at sockets that no table lists. Some are dead; some are of
// families that have no ports; those before Linux 6.8 that are bound only, and
// those of a namespace without a process, are looked for as by Lookup.
func (l *lookup) strangers(ctx context.Context, refs []Ref) {
	if l.Detached {
		return
	}
	unlisted := l.question.Deep || !l.listsBound()
	entered := map[uint64]bool{l.snap.Host.NetNS: true}
	seen := map[uint64]bool{} // inodes that were asked
	for _, r := range refs {
		if ctx.Err() != nil {
			return
		}
		if !seen[r.Inode] && len(l.sockets[r.Inode]) == 0 {
			seen[r.Inode] = true
			s, ns, err := identify(r)
			switch {
			case errors.Is(err, unix.EBADF), errors.Is(err, unix.ESTALE):
				continue // closed since the walk
			case err != nil:
				l.unidentifiedGap(r, err)
				continue
			case s != nil && s.Dead() && s.State == Close:
				if ns != nil {
					s.NetNS, s.NetNSMine = ns.inode, ns.inode == l.snap.Host.NetNS
					unix.Close(ns.fd)
				}
				l.add(s)
			case unlisted:
				l.enterFor(s, ns, entered)
			case ns != nil:
				unix.Close(ns.fd)
			}
		}
		if len(l.sockets[r.Inode]) > 0 {
			l.hold(r)
		}
	}
}
