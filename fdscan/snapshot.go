// Package fdscan says what is there: sockets, files, the processes that hold
// them and what could not be seen. It judges nothing; package inspect does.
package fdscan

import (
	"cmp"
	"net/netip"
	"time"
)

// Snapshot is one look at the machine, taken to answer one question. Slices
// are sorted, so that two renderings of one Snapshot are identical.
type Snapshot struct {
	TakenAt time.Time
	Host    Host
	// Sockets are the sockets that the question asked for, in every network
	// namespace that could be seen.
	Sockets []*Socket
	// Objects are the files that the question asked for.
	Objects []*Object
	// Tables are the descriptor tables that were read, by pid and tid; a
	// question about ports reads them and keeps none.
	Tables []*Table
	// Descriptors are those that the question asked to list, or that may have
	// leaked, by pid, tid and number.
	Descriptors []*Descriptor
	// Processes holds every holder, every ancestor of a holder, and the
	// leaders of their process groups and sessions, by pid. A pid that is
	// missing although a Process names it is a process that has ended, or one
	// that hidepid keeps from us: see Gaps.
	Processes map[int]*Process
	// Explained counts, for each listener (by inode), the established
	// connections on its port that were left out of Sockets because the
	// listener explains them.
	Explained map[uint64]int
	// Looked counts what a question about connections has looked at, and
	// Networks are the namespaces of those that are in Sockets, by inode.
	Looked   Looked
	Networks map[uint64]*Network
	// Unlisted are the processes that a question about connections was limited
	// to, and whose descriptors could not be listed at all.
	Unlisted []int
	// TablesComplete reports that every socket table of the caller's network
	// namespace was dumped whole, bound-only sockets included.
	TablesComplete bool
	// HoldersComplete reports that every process that could hold something
	// was read.
	HoldersComplete bool
	Gaps            []Gap
	// Read finds descriptors in the tables that a survey has read, and reads
	// again only for what is not in there; nil for other questions. For
	// Scanner.Walker.
	Read Walker
}

// Parent returns the parent of p; nil when it is not known. A process that has
// got the number of a parent that ended meanwhile is younger than p.
func (s *Snapshot) Parent(p *Process) *Process {
	q := s.Processes[p.PPID]
	if q == nil || p.PPID <= 0 || CompareAge(q, p) >= 0 {
		return nil
	}
	return q
}

// CompareAge is negative when a was made before b, positive when after it, and 0
// when they are one. In one hundredth of a second, which is as exact as the kernel
// tells it, the numbers decide: they go up, and from the highest (kernel.pid_max,
// 32768 at the least) round to the lowest.
func CompareAge(a, b *Process) int {
	const half = 32768 / 2
	byNumber := cmp.Compare(a.PID, b.PID)
	if apart := a.PID - b.PID; apart > half || apart < -half {
		byNumber = -byNumber
	}
	return cmp.Or(cmp.Compare(a.StartTicks, b.StartTicks), byNumber)
}

// Host is the machine and the conditions under which the caller looks at it.
type Host struct {
	Name    string
	Kernel  string // uname release
	BootID  string // /proc/sys/kernel/random/boot_id
	NetNS   uint64 // inode of the caller's network namespace
	UID     uint32 // the caller's effective user id
	Bind    BindConditions
	Started time.Time // btime of /proc/stat
}

// BindConditions are what bind(2) depends on besides the sockets of the port.
type BindConditions struct {
	// UnprivilegedPortStart is net.ipv4.ip_unprivileged_port_start: ports
	// below it need CAP_NET_BIND_SERVICE.
	UnprivilegedPortStart uint16
	// NetBindService reports CAP_NET_BIND_SERVICE in the effective set.
	NetBindService bool
	// EphemeralLow and EphemeralHigh are net.ipv4.ip_local_port_range.
	EphemeralLow, EphemeralHigh uint16
	// IPv6 reports that AF_INET6 sockets can be made here.
	IPv6 bool
	// Addresses are those of this host's interfaces (RTM_GETADDR), which are
	// the only ones that can be bound; nil when they could not be read.
	Addresses []netip.Addr
}

// Gap is something that could not be seen, and why.
type Gap struct {
	// Op is what was tried: a system call or the reading of a file, such as
	// "readlink /proc/PID/fd" or "sock_diag tcp".
	Op  string
	PID int // 0 when the gap concerns no single process
	TID int
	FD  int // -1 when the gap concerns no single descriptor
	Err string
	// Needs names what would close the gap, such as "CAP_SYS_PTRACE" or
	// "Linux 6.8"; empty when nothing would.
	Needs string
	// Scope says what the gap starves.
	Scope Scope
}

// Scope is the part of an answer that a Gap makes incomplete.
type Scope int

// The scopes, from mild to grave.
const (
	// ScopeDetail: a fact about something named is missing.
	ScopeDetail Scope = iota
	// ScopeElsewhere: another network namespace was not read whole.
	ScopeElsewhere
	// ScopeHolders: there may be more holders than are named.
	ScopeHolders
	// ScopeTables: a socket table of this network namespace was not read
	// whole, so that "free" cannot be said.
	ScopeTables
)
