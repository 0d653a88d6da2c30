package fdscan

import (
	"context"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Look is what a descriptor table held at one moment.
type Look struct {
	At   time.Time
	Open int // number of descriptors
	// Items counts them by what they are. It must not be changed: looks that
	// find the same number share it, since the table is read only when the
	// number is another one.
	Items map[Item]int `json:"-"` // JSON has no keys of two words
}

// Item is what some descriptors of a table have in common.
type Item struct {
	// Kind is the name of a Kind; the protocol of a socket that the tables of
	// the kernel list ("tcp", "udp", "unix").
	Kind string
	// Target is what they lead to: "to 10.0.0.5:5432", "accepted on 127.0.0.1:80",
	// a path, or for paths that are open once only their directory, with "…"
	// behind it; empty where there is nothing to tell them apart by.
	Target string
}

// Watcher looks at the descriptor tables of some processes again and again. It is
// for one goroutine.
type Watcher struct {
	lookup *lookup
	tables []*Table
	// counts reports that stat(2) tells the number of descriptors (Linux 6.2).
	counts bool
	// ended are the processes that are no more.
	ended map[int]bool
	// sockets is what is known of sockets, by inode.
	sockets map[uint64]Item
	// asked counts how often a socket was looked for that no table lists.
	asked map[uint64]int
}

// Watch begins to look at the processes with these pids and those that descend
// from them now; it does not look yet. The error is for what makes any look
// impossible.
func (s *Scanner) Watch(ctx context.Context, pids []int) (*Watcher, error) {
	l := &lookup{Scanner: s, ctx: ctx, snap: &Snapshot{Processes: map[int]*Process{}, TablesComplete: true, HoldersComplete: true}}
	if err := l.host(); err != nil {
		return nil, err
	}
	w := &Watcher{lookup: l, ended: map[int]bool{}, sockets: map[uint64]Item{}, asked: map[uint64]int{}}
	// This process has at least one descriptor open while it asks.
	if dir, err := os.Open(s.path("self/fd")); err == nil {
		var st unix.Stat_t
		w.counts = unix.Fstat(int(dir.Fd()), &st) == nil && st.Size > 0
		dir.Close()
	}
	all, err := s.descendants(pids)
	if err != nil {
		return nil, err
	}
	for _, pid := range all {
		if pid == os.Getpid() && !slices.Contains(pids, pid) {
			continue // who looks is not what is looked at
		}
		if p := l.process(pid); p != nil {
			w.tables = append(w.tables, &Table{Process: p, Limit: l.openLimit(pid)})
		}
	}
	return w, nil
}

// descendants returns pids and those that descend from them, sorted.
func (s *Scanner) descendants(pids []int) ([]int, error) {
	all, err := listPIDs(s.root())
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, pid := range all {
		if stat, err := readStat(s.path(strconv.Itoa(pid), "stat")); err == nil {
			children[stat.parent] = append(children[stat.parent], pid)
		}
	}
	found := slices.Clone(pids)
	for i := 0; i < len(found); i++ {
		for _, child := range children[found[i]] {
			if !slices.Contains(found, child) {
				found = append(found, child)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// Look looks once at each process that still lives. It costs two system calls
// for each (one stat of /proc/PID/fd since Linux 6.2); a table is read when the
// number of its descriptors has changed, and the sockets of its network
// namespace are listed when it has new ones.
func (w *Watcher) Look() {
	for _, t := range w.tables {
		if w.ended[t.Process.PID] {
			continue
		}
		if w.lookup.ended(t.Process) {
			w.ended[t.Process.PID] = true
			continue
		}
		if err := w.look(t); err != nil && !gone(err) {
			w.lookup.gap(processGap("read "+w.lookup.path("PID/fd"), t.Process.PID, err))
		}
	}
}

func (w *Watcher) look(t *Table) error {
	at := time.Now().UTC()
	if n := len(t.Looks); n > 0 && w.counts {
		if open, err := w.count(t.Process.PID); err != nil {
			return err
		} else if last := t.Looks[n-1]; open == last.Open {
			t.Looks = append(t.Looks, Look{At: at, Open: open, Items: last.Items})
			return nil
		}
	}
	table, err := w.lookup.ReadTable(t.Process.PID, 0)
	if err != nil {
		return err
	}
	t.Open, t.Kinds = len(table), map[string]int{}
	for _, d := range table {
		t.Kinds[d.Kind.unasked()]++
	}
	t.Looks = append(t.Looks, Look{At: at, Open: t.Open, Items: w.items(t.Process, table)})
	return nil
}

// count returns the number of descriptors of a process (st_size of
// /proc/PID/fd, Linux 6.2), for about 5 µs whatever it is.
func (w *Watcher) count(pid int) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(w.lookup.path(strconv.Itoa(pid), "fd"), &st); err != nil {
		return 0, err
	}
	return int(st.Size), nil
}

// End returns the tables with all looks at them, and adds to a snapshot that was
// taken at the end what it lacks: tables, processes, and what could not be seen.
// A table without a look is left out.
func (w *Watcher) End(snap *Snapshot) {
	for _, t := range w.tables {
		if len(t.Looks) == 0 {
			continue
		}
		if p := snap.Processes[t.Process.PID]; p == nil {
			snap.Processes[t.Process.PID] = t.Process
		} else if p.StartTicks == t.Process.StartTicks {
			t.Process = p
		}
		i := slices.IndexFunc(snap.Tables, func(o *Table) bool {
			return o.TID == 0 && o.Process.PID == t.Process.PID && o.Process.StartTicks == t.Process.StartTicks
		})
		if i < 0 {
			snap.Tables = append(snap.Tables, t)
		} else {
			snap.Tables[i].Looks = t.Looks
		}
	}
	slices.SortStableFunc(snap.Tables, func(a, b *Table) int {
		if a.Process.PID != b.Process.PID {
			return a.Process.PID - b.Process.PID
		}
		return a.TID - b.TID
	})
	for _, g := range w.lookup.snap.Gaps {
		if !slices.Contains(snap.Gaps, g) {
			snap.Gaps = append(snap.Gaps, g)
		}
		snap.HoldersComplete = snap.HoldersComplete && g.Scope != ScopeHolders
	}
}

// Ended returns the processes that were there at the first look and have ended.
func (w *Watcher) Ended() (ended []*Process) {
	for _, t := range w.tables {
		if w.ended[t.Process.PID] {
			ended = append(ended, t.Process)
		}
	}
	return ended
}

// Watched counts the processes that were there at the beginning.
func (w *Watcher) Watched() int { return len(w.tables) }

// Open is how many descriptors all that lives had at the last look.
func (w *Watcher) Open() (n int) {
	for _, t := range w.tables {
		if i := len(t.Looks) - 1; i >= 0 && !w.ended[t.Process.PID] {
			n += t.Looks[i].Open
		}
	}
	return n
}
