package fdscan

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// ConnectionsQuestion is what Scanner.Connections answers.
type ConnectionsQuestion struct {
	// Targets limit the answer to sockets that one of them names, by either of
	// their ends; empty for all.
	Targets []Target
	// PIDs limit it to what these processes hold; empty for all.
	PIDs []int
	// Suspect chooses, from what the table tells, the sockets to be told of.
	// Holders are looked for and costly facts are asked of these only. It must
	// not keep the socket.
	Suspect func(*Socket) bool
	// All keeps the others too, with their holders.
	All bool
	// TablesOnly leaves out whatever is not in the socket tables: holders,
	// peers, options. It is for the first of two looks.
	TablesOnly bool
	// Deep also looks where every descriptor must be touched: for network
	// namespaces without a process and without a mount here.
	Deep bool
	// Evidence also reads how each holder came by what it holds, and what its
	// threads wait for.
	Evidence bool
}

// Connections says how connections and listeners fare, in every network
// namespace that can be seen: what the kernel knows of each (tcp_info), who holds
// those that are suspect, and who is at the other end when that is on this
// machine. Snapshot.Looked counts the others. What could not be seen is in
// Snapshot.Gaps; the error is as that of Lookup.
func (s *Scanner) Connections(ctx context.Context, q ConnectionsQuestion) (*Snapshot, error) {
	c := &connections{
		lookup: lookup{
			Scanner: s, ctx: ctx, question: Question{PIDs: q.PIDs, Deep: q.Deep},
			snap: &Snapshot{Processes: map[int]*Process{}, Networks: map[uint64]*Network{}, TablesComplete: true, HoldersComplete: true},
		},
		ask: q, suspects: map[*Socket]bool{},
	}
	if err := c.host(); err != nil {
		return nil, err
	}
	defer func() {
		for _, fd := range c.opened {
			unix.Close(fd)
		}
	}()
	if err := c.theirs(ctx); err != nil {
		return nil, err
	}
	if q.Deep && !s.Detached {
		refs, err := c.unlistedAnywhere(ctx)
		if err != nil {
			return nil, err
		}
		c.ownerless(refs)
	}
	if err := c.tables(ctx); err != nil {
		return nil, err
	}
	if q.TablesOnly {
		return c.snap, nil
	}
	if err := c.complete(ctx); err != nil {
		return nil, err
	}
	return c.snap, nil
}

// connections is the work on one ConnectionsQuestion.
type connections struct {
	lookup
	ask      ConnectionsQuestion
	suspects map[*Socket]bool
	// held are the inodes of the sockets that the processes hold which were
	// named, and whether a table has shown them; nil when none were.
	held map[uint64]bool
	// opened are descriptors of network namespaces that are needed to the end.
	opened []int
	// at are the namespaces in which some connection has a local address: where
	// the other end of one that leads there can be.
	at addressSet
}

// theirs finds what the processes hold that were named: the tables need not tell
// of anything else.
func (c *connections) theirs(ctx context.Context) error {
	if len(c.ask.PIDs) == 0 {
		return nil
	}
	c.held = map[uint64]bool{}
	listed, refused := map[int]bool{}, map[int]bool{}
	found := func(r Ref) { c.held[r.Inode], listed[r.PID] = false, true }
	gap := func(g Gap) { c.gap(g); refused[g.PID] = true }
	if err := c.walker().Walk(ctx, Want{AllSockets: true, PIDs: c.ask.PIDs}, found, gap); err != nil {
		return err
	}
	for _, pid := range c.ask.PIDs {
		if listed[pid] {
			continue
		}
		if !refused[pid] && c.hasNoTable(pid) {
			c.gap(Gap{Op: "list the descriptors", PID: pid, FD: -1, Err: "it has ended, or is the kernel's own", Scope: ScopeHolders})
			refused[pid] = true
		}
		if refused[pid] {
			c.snap.Unlisted = append(c.snap.Unlisted, pid)
		}
	}
	return nil
}

// hasNoTable reports a process that no descriptors can be of: one that has ended,
// reaped or not, or a thread of the kernel.
func (c *connections) hasNoTable(pid int) bool {
	stat, err := readStat(c.path(strconv.Itoa(pid), "stat"))
	// The threads of a leader that has exited may live on.
	return err != nil || stat.flags&kernelThread != 0 || stat.state == 'Z' && stat.threads <= 1
}

// complete adds what is not in the tables.
func (c *connections) complete(ctx context.Context) error {
	c.peers()
	if err := c.findHolders(ctx); err != nil {
		return err
	}
	for _, s := range c.snap.Sockets {
		if c.snap.Networks[s.NetNS] == nil {
			c.snap.Networks[s.NetNS] = c.network(s.NetNS)
		}
	}
	c.askConnections()
	var err error
	if c.ask.Evidence {
		err = c.evidence()
	} else {
		err = c.acceptors()
	}
	c.finish()
	return err
}

// findHolders finds who holds the sockets and their peers, by one walk. A socket
// without a holder has mostly been closed since the dump, or handed on.
func (c *connections) findHolders(ctx context.Context) error {
	want := Want{Sockets: map[uint64]bool{}, Rings: true}
	for again := true; ; again = false {
		for _, s := range c.snap.Sockets {
			c.wantHolder(want, s)
			if s.Health == nil {
				continue
			}
			for _, end := range append(slices.Clip(s.Health.Subflows), s) {
				if end.Health.Peer != nil {
					c.wantHolder(want, end.Health.Peer)
				}
			}
		}
		if want.empty() {
			break
		}
		if _, err := c.find(ctx, want); err != nil {
			return err
		}
		c.dropClosed()
		if !again || !c.hasUnowned() {
			break
		}
		want = Want{Sockets: map[uint64]bool{}, Rings: true}
	}
	if pids := c.ask.PIDs; len(pids) > 0 {
		c.snap.Sockets = slices.DeleteFunc(c.snap.Sockets, func(s *Socket) bool {
			return !slices.ContainsFunc(s.Holders, func(h *Holder) bool { return slices.Contains(pids, h.Process.PID) })
		})
	}
	return nil
}

func (c *connections) wantHolder(want Want, s *Socket) {
	if s.Inode == 0 || len(s.Holders) > 0 {
		return
	}
	want.Sockets[s.Inode] = true
	if !slices.Contains(c.sockets[s.Inode], s) {
		if c.sockets == nil {
			c.sockets = map[uint64][]*Socket{}
		}
		c.sockets[s.Inode] = append(c.sockets[s.Inode], s)
	}
}

// dropClosed asks again for the sockets without a holder, and drops those that
// are there no more.
func (c *connections) dropClosed() {
	var unowned []*Socket
	for _, s := range c.snap.Sockets {
		if s.isUnowned() && s.Protocol.Stream() && s.Cookie != 0 && s.Remote.Port != 0 {
			unowned = append(unowned, s)
		}
	}
	if len(unowned) == 0 {
		return
	}
	closed := map[*Socket]bool{}
	c.findEach(unowned, func(s *Socket, found bool) { closed[s] = !found })
	c.snap.Sockets = slices.DeleteFunc(c.snap.Sockets, func(s *Socket) bool { return closed[s] })
}

// acceptors finds out who waits on the listeners that have connections waiting.
func (c *connections) acceptors() error {
	var waited []*Socket
	for _, s := range c.snap.Sockets {
		if s.Backlog != nil && s.Backlog.Queued > 0 && c.suspects[s] {
			waited = append(waited, s)
		}
	}
	if len(waited) == 0 {
		return nil
	}
	all := c.snap.Sockets
	c.snap.Sockets = waited // whose holders are interrogated
	i, err := c.interrogate()
	c.snap.Sockets = all
	if err != nil {
		return err
	}
	return i.watch()
}

// mostIdleAsked is how many suspects are asked for their options although no timer
// runs: without one, the options change nothing now.
const mostIdleAsked = 1000

// askConnections asks suspects how long they last without an answer.
func (c *connections) askConnections() {
	if c.Detached {
		return
	}
	for _, s := range c.snap.Sockets {
		switch {
		case !c.suspects[s], !s.Protocol.Stream(), s.Remote.Port == 0, s.Timer == nil && len(c.suspects) > mostIdleAsked:
			continue
		}
		for _, h := range s.Holders {
			if h.Via != ViaTable && h.Via != ViaThread {
				continue
			}
			err := s.askTimeouts(Ref{PID: h.Process.PID, TID: h.TID, FD: h.FD})
			if err == nil {
				break
			}
			// The option of an MPTCP socket may be one that the kernel does not tell.
			if !gone(err) && !errors.Is(err, unix.EOPNOTSUPP) {
				c.gap(detailGap("pidfd_getfd", h.Process.PID, err))
			}
		}
	}
}

// askTimeouts asks s, through its descriptor r, for its ConnectionOptions. It
// never asks for SO_ERROR, which would take the error from its owner.
func (s *Socket) askTimeouts(r Ref) error {
	fd, err := copySocket(r, s.Inode)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	o := &ConnectionOptions{}
	keepalive, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	if err != nil {
		return err
	}
	o.Keepalive = keepalive != 0
	for option, set := range map[int]func(n int){
		unix.TCP_KEEPIDLE:     func(n int) { o.Idle = seconds(n) },
		unix.TCP_KEEPINTVL:    func(n int) { o.Interval = seconds(n) },
		unix.TCP_KEEPCNT:      func(n int) { o.Count = n },
		unix.TCP_USER_TIMEOUT: func(n int) { o.UserTimeout = milliseconds(n) },
	} {
		n, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option)
		if err != nil {
			return err // an MPTCP socket of a kernel that does not pass it on
		}
		set(n)
	}
	s.Health.Options = o
	return nil
}
