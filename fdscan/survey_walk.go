package fdscan

import (
	"bytes"
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Filled is a descriptor table as a survey reads it. Whoever is given it may
// keep it.
type Filled struct {
	PID int
	TID int // set for the own table of a thread
	// Entries are by number.
	Entries []Entry
	// Partial reports a table that could not be compared with the process's own:
	// Entries are what that lacks.
	Partial bool
}

// Entry is a descriptor in 16 bytes: of half a million of them a survey keeps no
// more than this.
type Entry struct {
	// ID is the inode of a socket or pipe; of any other file it is a number
	// that is the same for one open file description. Of those read by one
	// look, different link texts hardly ever have the same.
	ID    uint64
	FD    int32
	kind  uint8 // of the kinds, in the order of their registration
	flags uint8
}

// The flags of an Entry.
const (
	entrySocket  = 1 << iota // ID is the inode of a socket
	entryRing                // an io_uring instance
	entryDeleted             // the link text is a path that ends with " (deleted)"
)

func (e Entry) has(flag uint8) bool { return e.flags&flag != 0 }

// Kind is what the link text says that the descriptor refers to.
func (e Entry) Kind() *Kind { return kinds[e.kind] }

// Tables implements Walker.
func (p ProcWalker) Tables(ctx context.Context, found func(Filled), gap func(Gap)) error {
	var mu sync.Mutex
	locked := func(f Filled) { mu.Lock(); found(f); mu.Unlock() }
	lockedGap := func(g Gap) { mu.Lock(); gap(g); mu.Unlock() }
	seed := maphash.MakeSeed()
	return p.walk(ctx, nil, func() *shard {
		s := &shard{root: p.Root, gap: lockedGap, dents: make([]byte, direntBuffer), link: make([]byte, unix.PathMax)}
		s.survey = surveyShard{seed: seed, found: locked, named: map[string]uint8{}}
		s.see, s.whole = s.note, s.filled
		return s
	})
}

// surveyShard is what a worker of a survey needs besides.
type surveyShard struct {
	found func(Filled)
	seed  maphash.Seed
	// entries are those of the table that is being read, and tables those of
	// the process that have been told of.
	entries []Entry
	tables  [][]Entry
	// named are the kinds of anonymous inodes, by their link texts.
	named map[string]uint8
}

// note makes an entry of a descriptor.
func (s *shard) note(_ int, _ []byte, r Ref, link []byte) {
	e := s.survey.entry(link)
	e.FD = int32(r.FD)
	s.survey.entries = append(s.survey.entries, e)
}

// entry is what the text of a link tells.
func (s *surveyShard) entry(link []byte) (e Entry) {
	switch {
	case hasPrefix(link, "socket:["):
		e.ID, e.flags = inodeOf(link[len("socket:["):]), entrySocket
		e.kind = s.kindNamed(link[:len("socket:[")])
	case hasPrefix(link, "pipe:["):
		e.ID = inodeOf(link[len("pipe:["):])
		e.kind = s.kindNamed(link[:len("pipe:[")])
	default:
		e.ID = maphash.Bytes(s.seed, link)
		if len(link) > 0 && link[0] == '/' {
			// The text is not kept: nothing is allocated for a descriptor.
			e.kind = kindIndex(unsafe.String(unsafe.SliceData(link), len(link)))
		} else {
			e.kind = s.kindNamed(link)
		}
		switch {
		case string(link) == ringLink:
			e.flags = entryRing
		case hasPrefix(link, "/") && bytes.HasSuffix(link, []byte(" (deleted)")):
			e.flags = entryDeleted
		}
	}
	return e
}

// kindNamed is kindIndex for link texts of which there are few.
func (s *surveyShard) kindNamed(link []byte) uint8 {
	i, known := s.named[string(link)]
	if !known {
		i = kindIndex(string(link))
		if len(s.named) < 1<<10 {
			s.named[string(link)] = i
		}
	}
	return i
}

// kindIndex is where the kind that a link text leads to stands among all.
func kindIndex(link string) uint8 { return uint8(slices.Index(kinds, kindOf(link))) }

// filled tells of a table that has been read: of one that could not be compared,
// of what the others lack. What a busy program opens and closes between two reads
// is told by looking again.
func (s *shard) filled(pid, tid int) {
	f := Filled{PID: pid, TID: tid, Entries: slices.Clone(s.survey.entries), Partial: s.uncompared}
	if f.Partial {
		f.Entries = slices.DeleteFunc(f.Entries, func(e Entry) bool {
			return s.survey.told(e) || s.leaderHas(Ref{PID: pid, TID: tid, FD: int(e.FD)})
		})
		if len(f.Entries) == 0 {
			return
		}
	}
	s.survey.tables = append(s.survey.tables, f.Entries)
	s.survey.found(f)
}

// told reports an entry that a table of the process has which was told of.
func (s *surveyShard) told(e Entry) bool {
	return slices.ContainsFunc(s.tables, func(table []Entry) bool {
		i, found := slices.BinarySearchFunc(table, e.FD, func(o Entry, fd int32) int { return cmp.Compare(o.FD, fd) })
		return found && table[i].ID == e.ID && table[i].kind == e.kind
	})
}
