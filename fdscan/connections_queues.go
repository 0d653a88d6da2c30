package fdscan

import (
	"net/netip"
	"slices"
	"time"

	"stray/internal/sockdiag"
)

// acceptQueues are the connections of a namespace that nobody has accepted yet.
type acceptQueues struct {
	waiting  []waitingRow
	halfOpen map[netip.AddrPort]halfOpen
}

// halfOpen counts handshakes that are not complete, and those of them whose
// SYN-ACK had to be sent again.
type halfOpen struct{ all, unanswered int }

type waitingRow struct {
	cookie uint64
	local  netip.AddrPort
	closed bool
	since  time.Duration
}

// add notes a connection without an inode that is in the queue of a listener.
func (q *acceptQueues) add(row *sockdiag.Connection) {
	switch {
	case row.Inode != 0:
	case row.State == sockdiag.SynRecv, row.State == sockdiag.NewSynRecv:
		if q.halfOpen == nil {
			q.halfOpen = map[netip.AddrPort]halfOpen{}
		}
		h := q.halfOpen[row.Local]
		h.all++
		if row.Retrans > 0 {
			h.unanswered++
		}
		q.halfOpen[row.Local] = h
	case row.State == sockdiag.Established, row.State == sockdiag.CloseWait:
		w := waitingRow{cookie: row.Cookie, local: row.Local, closed: row.State == sockdiag.CloseWait}
		if row.HasTCP {
			// The time of a child's last data begins with its handshake. What
			// has come since makes it younger than it is.
			w.since = max(row.TCP.LastDataRecv, row.TCP.LastAckRecv)
		}
		q.waiting = append(q.waiting, w)
	}
}

// assign gives each listener what waits for it. Which of a group of equals
// (SO_REUSEPORT) a connection waits for, no table tells; but each listener counts
// its own, so that of k of them at least one has waited as long as the k-th
// youngest of all, and k-y at least are closed when no more than y are not.
func (q *acceptQueues) assign(listeners []*Socket, netns uint64) {
	byPort := map[uint16][]*Socket{}
	for _, s := range listeners {
		s.Health.Waiting = &Waiting{Group: 1}
		byPort[s.Local.Port] = append(byPort[s.Local.Port], s)
	}
	groups := map[*Socket]*acceptGroup{}
	of := func(local netip.AddrPort) *acceptGroup {
		child := &Socket{Protocol: TCP, NetNS: netns, Local: Endpoint{Addr: local.Addr(), Port: local.Port()}}
		members := acceptorsOf(child, byPort[local.Port()])
		if len(members) == 0 {
			return &acceptGroup{} // of listeners that are gone by now
		}
		g := groups[members[0]]
		if g == nil {
			g = &acceptGroup{members: members}
			groups[members[0]] = g
		}
		return g
	}
	for _, row := range q.waiting {
		g := of(row.local)
		g.waiting = append(g.waiting, row)
	}
	for local, count := range q.halfOpen {
		g := of(local)
		g.halfOpen.all, g.halfOpen.unanswered = g.halfOpen.all+count.all, g.halfOpen.unanswered+count.unanswered
	}
	for _, g := range groups {
		g.share()
	}
}

// acceptGroup is what waits for one listener, or for a group of equals: of these,
// the members are those in whose queues something is.
type acceptGroup struct {
	members  []*Socket
	waiting  []waitingRow
	halfOpen halfOpen
}

// share tells each member its part.
func (g *acceptGroup) share() {
	ages := agesOf(g.waiting)
	open := 0
	for _, row := range g.waiting {
		if !row.closed {
			open++
		}
	}
	for _, s := range g.members {
		n := len(ages)
		if len(g.members) > 1 {
			n = min(n, int(s.Backlog.Queued))
		}
		// The kernel spreads the half-open ones by a hash.
		*s.Health.Waiting = Waiting{
			Connections: n, Closed: max(0, n-open), Group: len(g.members), group: g,
			HalfOpen: g.halfOpen.all / len(g.members), Unanswered: g.halfOpen.unanswered / len(g.members),
		}
		if n > 0 {
			s.Health.Waiting.Oldest = ages[n-1]
		}
	}
	g.sum()
}

// follow narrows down what share has told, by what an earlier look has seen: of
// what has waited all the time between both, no member has more than its queue had
// in either of them.
func (g *acceptGroup) follow(before *acceptGroup) {
	waited := map[uint64]bool{}
	for _, row := range before.waiting {
		waited[row.cookie] = true
	}
	ages := agesOf(slices.DeleteFunc(slices.Clone(g.waiting), func(row waitingRow) bool { return row.cookie == 0 || !waited[row.cookie] }))
	queued := map[uint64]int{}
	for _, s := range before.members {
		queued[s.Cookie] = int(s.Backlog.Queued)
	}
	most := func(s *Socket) int { return min(int(s.Backlog.Queued), queued[s.Cookie]) }
	all := 0
	for _, s := range g.members {
		all += most(s)
	}
	for _, s := range g.members {
		if n := len(ages) - (all - most(s)); n > 0 {
			s.Health.Waiting.Oldest = max(s.Health.Waiting.Oldest, ages[n-1])
		}
	}
	g.sum()
}

// sum tells each member what there is in the group, and what of it could be told
// of one member.
func (g *acceptGroup) sum() {
	oldest, told := time.Duration(0), time.Duration(0)
	for _, row := range g.waiting {
		oldest = max(oldest, row.since)
	}
	for _, s := range g.members {
		told = max(told, s.Health.Waiting.Oldest)
	}
	for _, s := range g.members {
		s.Health.Waiting.GroupOldest, s.Health.Waiting.GroupTold = oldest, told
	}
}

// agesOf are those of rows, the youngest first.
func agesOf(rows []waitingRow) []time.Duration {
	ages := make([]time.Duration, len(rows))
	for i, row := range rows {
		ages[i] = row.since
	}
	slices.Sort(ages)
	return ages
}
