package fdscan

import "golang.org/x/sys/unix"

// Descriptor is one entry of a descriptor table, whatever it refers to. How
// much of it is known depends on what was asked: a zero field is one that was
// not read, or that this kind of file does not have.
type Descriptor struct {
	Process *Process
	TID     int // set when only the thread's own table holds it
	FD      int
	// Kind says what it refers to; never nil. A descriptor that cannot be read
	// is of kind Unreadable, and Err says why.
	Kind *Kind
	Err  string
	// Link is the text of /proc/PID/fd/FD, without " (deleted)"; any byte may
	// be in it.
	Link    string
	Deleted bool // no name leads to the file any more (" (deleted)")
	// Inode and Device identify the file, as stat(2) tells them; of sockets and
	// pipes the link tells the inode. 0 when not asked.
	Inode, Device uint64
	// Number is st_rdev: the device that a device file stands for; 0 for others.
	Number uint64
	// MountID is that of the mount through which the file was opened, which
	// /proc/PID/mountinfo describes; 0 when not read.
	MountID int
	// CloseOnExec is FD_CLOEXEC; nil when fdinfo was not, or may not be, read.
	CloseOnExec *bool
	// Opening is how it came to be; nil when nobody has seen that.
	Opening *Opening
	// Flags are the access mode and the status flags of the open file
	// description (O_RDWR, O_APPEND, O_NONBLOCK …), without FD_CLOEXEC; nil when
	// not read.
	Flags *uint32
	// Pos is the position of the open file description in bytes; nil when not
	// read.
	Pos *int64
	// Size is the length of a regular file or memfd in bytes, and Allocated the
	// space that it takes; nil when not asked.
	Size, Allocated *int64
	// Target says in words what it refers to, where Link does not: the address
	// of a socket, the process of a pidfd, what an epoll instance watches.
	Target string
	// Details are what fdinfo, or the table of its kind of socket, tells beyond
	// that, under the kernel's names and in its order.
	Details []Detail
	// Locks are held through this open file description (flock, OFD), or by the
	// process (POSIX) on this file.
	Locks []Lock
	// Peers are the descriptors at the other end of a pipe, a pseudoterminal, a
	// unix socket, or a connection within this machine, by pid and number: the
	// first MaxPeers. Descriptors of one end may have one slice in common.
	Peers []Peer
	// MorePeers is how many there are besides Peers.
	MorePeers int
	// From is the eldest living ancestor that has the same open file description
	// at the same number, and runs another program, while FD_CLOEXEC is clear: the
	// descriptor has come through exec. nil when not compared, or not so.
	From *Process
	// Socket is what the tables say of a socket, or the socket itself where none
	// lists it; nil when neither can, and for families besides IP and unix.
	Socket *Socket
	// Description numbers open file descriptions: descriptors of one Snapshot
	// with the same number refer to one and the same. 0 when not compared.
	Description uint64
	// watches are those of an epoll instance.
	watches  []Watch
	mode     uint16 // st_mode; 0 when the file was not asked
	otherEnd uint64 // inode of the socket at the other end; 0 when not known
	// Of a pipe without Peers: nobody has the other end, or nobody who was seen.
	lonely, unseen bool
	// protocol is the name of a socket's protocol, as the extended attribute
	// system.sockprotoname of its file says it.
	protocol string
}

// format is the type of the file: S_IFREG and the like; 0 when it was not asked.
func (d *Descriptor) format() uint32 { return uint32(d.mode) & unix.S_IFMT }

// detail returns the value of the first Detail with a name; "" without one.
func (d *Descriptor) detail(name string) string {
	for _, f := range d.Details {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Detail is one fact that fdinfo tells.
type Detail struct{ Name, Value string }

// Lock is a file lock (proc_locks(5)).
type Lock struct {
	// Type is "FLOCK", "POSIX", "OFDLCK" or "LEASE"; Access "READ" or "WRITE".
	Type, Access string
	// PID is who took the lock; 0 for an OFD lock, which no process owns.
	PID int
	// Start and End are the range in bytes; End is -1 for the end of file.
	Start, End int64
}

// MaxPeers is how many other ends of one descriptor are named. A pipe may have
// thousands of descriptors at both ends, each of which has all those of the other.
const MaxPeers = 32

// Peer is a descriptor at the other end.
type Peer struct {
	Process *Process
	TID     int // set when only the thread's own table holds it
	FD      int
}

// Table is how the descriptor table of one process is filled.
type Table struct {
	Process *Process
	TID     int // set for the own table of a thread
	// Open is the number of descriptors, and Limit the soft RLIMIT_NOFILE; 0
	// when that could not be read, math.MaxUint64 for none.
	Open  int
	Limit uint64
	// Kinds counts the descriptors of each kind, by its name; and as "file" what
	// has a path, where only List asks whether it is a regular file, a device, a
	// directory or a FIFO.
	Kinds map[string]int
	// SharedWith are other processes that use this very table, sorted.
	SharedWith []int
	// Looks are what a Watcher has seen of it, by time; nil for a table that was
	// looked at once.
	Looks []Look
}
