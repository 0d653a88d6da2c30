package fdscan

import (
	"context"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Walker finds the descriptors that refer to what is wanted, in every process.
// The walk over /proc is one implementation; a BPF iterator can be another.
type Walker interface {
	// Walk calls found for each descriptor that w wants, from one goroutine
	// at a time and in no particular order, and gap for each process that
	// could not be read. A process that ends meanwhile is neither.
	Walk(ctx context.Context, w Want, found func(Ref), gap func(Gap)) error
	// Tables calls found with every descriptor table, in the same manner.
	Tables(ctx context.Context, found func(Filled), gap func(Gap)) error
}

// Want is what a walk looks for.
type Want struct {
	// Sockets are inodes of sockfs; AllSockets takes every socket instead.
	Sockets    map[uint64]bool
	AllSockets bool
	// Pipes are inodes of pipefs.
	Pipes map[uint64]bool
	// Files are device and inode, as statx(2) tells them.
	Files map[FileID]bool
	// Links are link texts of descriptors that are wanted.
	Links map[string]bool
	// Rings also finds every io_uring instance.
	Rings bool
	// PIDs limits the walk to these processes; empty for all.
	PIDs []int
}

// FileID identifies a file: st_dev and st_ino.
type FileID struct{ Device, Inode uint64 }

// longestLink is how much of a link text is read: a byte more than any that is
// wanted has, so that no other is taken for it.
func (w Want) longestLink() int {
	n := 64
	for link := range w.Links {
		n = max(n, len(link)+1)
	}
	return n
}

// Ref is a descriptor that a walk found.
type Ref struct {
	PID int
	TID int // set when only the thread's own table holds it
	FD  int
	// Kind is what the link text says: "socket", "pipe", "io_uring", "file", or
	// that it is one of Want.Links.
	Kind  RefKind
	Inode uint64
	File  FileID // of a RefFile
	Link  string // of a RefLink
	Via   Via
	Note  string // of a ViaMemory
}

// RefKind is the kind of a Ref.
type RefKind uint8

// The kinds of Refs.
const (
	RefSocket RefKind = iota
	RefPipe
	RefRing
	RefFile
	RefLink
)

// ProcWalker walks /proc/PID/fd: getdents64 for the numbers, readlinkat for
// what they are, without opening, stat-ing or allocating per descriptor.
// readlinkat never touches the file's own file system, so a dead NFS mount
// cannot hang a question about sockets. A question about files uses statx with
// AT_STATX_DONT_SYNC, which answers from what is cached.
type ProcWalker struct {
	// Root is the mount point of proc(5), normally "/proc".
	Root string
	// Workers is the number of threads; 0 for one for each processor, four
	// at most: the walk is bound by the kernel's work.
	Workers int
}

// direntBuffer holds about 2,700 entries of /proc/PID/fd.
const direntBuffer = 64 << 10

// Walk implements Walker.
func (p ProcWalker) Walk(ctx context.Context, w Want, found func(Ref), gap func(Gap)) error {
	var mu sync.Mutex
	locked := func(r Ref) { mu.Lock(); found(r); mu.Unlock() }
	lockedGap := func(g Gap) { mu.Lock(); gap(g); mu.Unlock() }
	return p.walk(ctx, w.PIDs, func() *shard {
		s := &shard{root: p.Root, want: w, found: locked, gap: lockedGap, dents: make([]byte, direntBuffer), link: make([]byte, w.longestLink())}
		s.see = s.match
		return s
	})
}

// walk reads the tables of processes, of all if there are no pids, by several
// workers. Each has a shard of its own.
func (p ProcWalker) walk(ctx context.Context, pids []int, newShard func() *shard) error {
	if len(pids) == 0 {
		var err error
		if pids, err = listPIDs(p.Root); err != nil {
			return err
		}
	}
	workers := p.Workers
	if workers == 0 {
		workers = min(runtime.GOMAXPROCS(0), 4)
	}
	workers = max(1, min(workers, len(pids)))
	var next atomic.Int64
	run := func() {
		s := newShard()
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(pids) {
				return
			}
			s.process(pids[i])
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(run)
	}
	run()
	wg.Wait()
	return ctx.Err()
}

// listPIDs returns the numeric names of root in ascending order, as the kernel
// lists them.
func listPIDs(root string) ([]int, error) {
	dir, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	var pids []int
	var buf [8 << 10]byte
	for {
		n, err := unix.Getdents(dir, buf[:])
		if err != nil {
			return nil, &fs.PathError{Op: "getdents64", Path: root, Err: err}
		}
		if n <= 0 {
			return pids, nil
		}
		eachDirent(buf[:n], func(name []byte) {
			if pid, ok := number(name); ok {
				pids = append(pids, pid)
			}
		})
	}
}
