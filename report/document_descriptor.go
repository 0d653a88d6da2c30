package report

import (
	"math"

	"stray/fdscan"
	"stray/inspect"
)

// Descriptor is one entry of a descriptor table.
type Descriptor struct {
	PID     int     `json:"pid"`
	TID     *int    `json:"tid"`
	FD      int     `json:"fd"`
	Kind    string  `json:"kind"`
	Link    *string `json:"link"`
	Deleted bool    `json:"deleted"`
	Target  *string `json:"target"`
	Inode   *uint64 `json:"inode"`
	Device  *uint64 `json:"device"`
	// Number is st_rdev of a device file.
	Number      *uint64 `json:"number"`
	MountID     *int    `json:"mount_id"`
	CloseOnExec *bool   `json:"close_on_exec"`
	// Flags are the access mode and the status flags, by the names of open(2).
	Flags     []string `json:"flags"`
	Pos       *int64   `json:"pos"`
	Size      *int64   `json:"size"`
	Allocated *int64   `json:"allocated"`
	Details   []Detail `json:"details"`
	Locks     []Lock   `json:"locks"`
	Peers     []Peer   `json:"peers"`
	MorePeers int      `json:"more_peers"` // besides those, which are not named
	// Socket is what the tables say, or the socket itself; null for other files,
	// and for a socket of another family. Its holders are not looked for.
	Socket *Socket `json:"socket"`
	// Description numbers open file descriptions within this report.
	Description *uint64 `json:"description"`
	Error       *string `json:"error"`
	Process     Process `json:"process"`
}

// Detail is one fact that fdinfo tells, under the kernel's name.
type Detail struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Lock is a file lock.
type Lock struct {
	Type   string `json:"type"`
	Access string `json:"access"`
	PID    *int   `json:"pid"`
	Start  int64  `json:"start"`
	End    *int64 `json:"end"` // null for the end of the file
}

// Peer is a descriptor at the other end of a pipe, a pseudoterminal, a unix
// socket, or a connection within the machine.
type Peer struct {
	PID  int    `json:"pid"`
	TID  *int   `json:"tid"`
	FD   int    `json:"fd"`
	Comm string `json:"comm"`
}

// Table is how a descriptor table is filled.
type Table struct {
	PID        int            `json:"pid"`
	TID        *int           `json:"tid"`
	Open       int            `json:"open"`
	Limit      *uint64        `json:"limit"` // null for none, or when it could not be read
	Kinds      map[string]int `json:"kinds"`
	SharedWith []int          `json:"shared_with"`
	Process    Process        `json:"process"`
	Trend      *TableTrend    `json:"trend"` // null unless check -p looked for some time
}

// TableTrend is what several looks at a table come to.
type TableTrend struct {
	Looks     int     `json:"looks"`
	Seconds   float64 `json:"seconds"`
	First     int     `json:"first"`
	Last      int     `json:"last"`
	PerMinute float64 `json:"per_minute"`
	// UntilLimit is null when nothing grows, or without a limit.
	UntilLimit *float64 `json:"seconds_until_limit"`
	Growths    []Growth `json:"growths"`
}

// Growth is what rises and never falls.
type Growth struct {
	Kind      *string `json:"kind"`   // null for all descriptors together
	Target    *string `json:"target"` // null for all of a kind
	First     int     `json:"first"`
	Last      int     `json:"last"`
	PerMinute float64 `json:"per_minute"`
}

// newDescriptors describes the process of several descriptors once.
func newDescriptors(all []*fdscan.Descriptor) []Descriptor {
	processes := map[*fdscan.Process]Process{}
	return list(all, func(d *fdscan.Descriptor) Descriptor {
		process, known := processes[d.Process]
		if !known {
			process = newProcess(d.Process)
			processes[d.Process] = process
		}
		return newDescriptor(d, process)
	})
}

func newDescriptor(d *fdscan.Descriptor, process Process) Descriptor {
	j := Descriptor{
		PID: d.Process.PID, TID: orNull(d.TID), FD: d.FD, Kind: d.Kind.Name, Link: orNull(text(d.Link)), Deleted: d.Deleted, Target: orNull(text(d.Target)),
		Inode: orNull(d.Inode), Device: orNull(d.Device), Number: orNull(d.Number), MountID: orNull(d.MountID), CloseOnExec: d.CloseOnExec, Flags: list(d.FlagNames(), text), Pos: d.Pos, Size: d.Size, Allocated: d.Allocated,
		Details: list(d.Details, func(f fdscan.Detail) Detail { return Detail{text(f.Name), text(f.Value)} }),
		Locks:   list(d.Locks, newLock), Peers: list(d.Peers, newPeer), MorePeers: d.MorePeers, Error: orNull(text(d.Err)), Process: process,
		Description: orNull(d.Description),
	}
	if d.Socket != nil {
		j.Socket = new(newSocket(&inspect.Socket{Socket: d.Socket}, nil))
	}
	return j
}

func newLock(l fdscan.Lock) Lock {
	j := Lock{Type: l.Type, Access: l.Access, PID: orNull(l.PID), Start: l.Start}
	if l.End >= 0 {
		j.End = &l.End
	}
	return j
}

func newPeer(p fdscan.Peer) Peer {
	return Peer{p.Process.PID, orNull(p.TID), p.FD, text(p.Process.Comm)}
}

func newTable(t *fdscan.Table) Table {
	limit := orNull(t.Limit)
	if t.Limit == math.MaxUint64 {
		limit = nil
	}
	kinds := t.Kinds
	if kinds == nil {
		kinds = map[string]int{}
	}
	return Table{t.Process.PID, orNull(t.TID), t.Open, limit, kinds, list(t.SharedWith, func(pid int) int { return pid }), newProcess(t.Process), newTableTrend(t)}
}

func newTableTrend(t *fdscan.Table) *TableTrend {
	if len(t.Looks) < inspect.MinLooks {
		return nil
	}
	trend := inspect.TrendOf(t)
	j := &TableTrend{Looks: trend.Looks, Seconds: trend.Over.Seconds(), First: trend.First, Last: trend.Last, PerMinute: trend.PerMinute, Growths: list(trend.Growths, func(g inspect.Growth) Growth {
		return Growth{orNull(text(g.Kind)), orNull(text(g.Target)), g.First, g.Last, g.PerMinute}
	})}
	if left, ok := trend.UntilLimit(t.Limit); ok {
		seconds := left.Seconds()
		j.UntilLimit = &seconds
	}
	return j
}
