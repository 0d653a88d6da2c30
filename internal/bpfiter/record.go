package bpfiter

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// control is the memory that the program shares with this process, besides the
// records.
type control struct {
	// Next is how many records there are; more than there is room for, when
	// the last ones were not written.
	Next uint64
	// Last is the own table of a thread that was looked at last: others that
	// have it follow, most often.
	Last uint64
	// Index is the descriptor that is looked at. Of a number on the stack the
	// verifier would know too much, and follow round after round of the loop;
	// what stands here may be any, for all that it knows.
	Index uint64
	// Torn counts tables that changed too much for their end to be reached.
	Torn uint64
	// Wanted has a bit for each inode that is wanted, by the lower half of its
	// number: others have the same, and are told apart afterwards.
	Wanted [wantedBits / 8]byte
}

const (
	wantedBits    = 1 << 16
	controlNext   = 0
	controlLast   = 8
	controlIndex  = 16
	controlTorn   = 24
	controlWanted = 32
	controlSize   = controlWanted + wantedBits/8
)

// Record is what the program writes: of a table, or of a descriptor in the table
// that was written of before. Of a look for some sockets, there are only those.
type Record struct {
	// ID is the inode of a Socket or Pipe, and of others a number that is the
	// same for one open file description.
	ID uint64
	// Key and Name are the same for descriptors whose links in /proc begin
	// alike; Name is how the name of the file begins, of 8 bytes at most. Of a
	// look for some sockets, Key is the pid and, above it, the tid, and Name is
	// the same for one table.
	Key, Name uint64
	FD        uint32 // of a Table, how many descriptors it has
	Class     Class
	Flags     uint8
	_         uint16
}

const recordSize = 32

// PID and TID tell whose table it is, for a Table and in a look for some sockets;
// the TID is 0 for the table of the process.
func (r *Record) PID() int { return int(uint32(r.Key)) }

// TID is told with PID.
func (r *Record) TID() int { return int(r.Key >> 32) }

// Begins returns Name as text. What follows the end of a short name is of no
// meaning.
func (r *Record) Begins() string {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], r.Name)
	return unix.ByteSliceToString(b[:])
}

// Class is what a Record is of.
type Class uint8

// The classes.
const (
	// Table is a descriptor table. Key is the pid and, above it, the tid.
	Table Class = iota
	// Void is a table that was given back while it was looked at: what follows
	// is not to be relied on.
	Void
	// Socket and Pipe are in sockfs and pipefs.
	Socket
	Pipe
	// Path has a name in a directory, or is a directory; its link is the path.
	Path
	// Deleted is a regular file that had a name in a directory, which is there
	// no more.
	Deleted
	// Anonymous is an inode of anon_inodefs: its link is "anon_inode:" and the
	// name.
	Anonymous
	// Device is one with a name in a directory, by which it is known.
	Device
	// Other is what only the link tells.
	Other
)

// The Flags of a Record.
const (
	CloseOnExec  = 1 << iota // FD_CLOEXEC of the descriptor
	SignalDriven             // O_ASYNC of the open file description
)
