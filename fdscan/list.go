package fdscan

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"strconv"
	"sync"
)

// List lists the descriptors of the processes with these pids, or of all when
// there are none: everything that Descriptor has room for, and the Tables. What
// could not be seen is in Snapshot.Gaps; a process that has ended is left out.
// The error is for what made any answer impossible: /proc missing, or ctx ended.
//
// It costs about 35 µs and 1.5 kB for each descriptor, and one walk over all
// processes, for the other ends: 4 µs for each of theirs. No file is opened.
// Files are asked with statx(2), AT_STATX_DONT_SYNC and AT_NO_AUTOMOUNT, so that
// a file server that is dead does not keep it waiting.
func (s *Scanner) List(ctx context.Context, pids []int) (*Snapshot, error) {
	l := &lister{lookup: &lookup{
		Scanner: s, ctx: ctx, question: Question{PIDs: pids}, everySocket: true,
		snap: &Snapshot{Processes: map[int]*Process{}, TablesComplete: true, HoldersComplete: true},
	}}
	if err := l.host(); err != nil {
		return nil, err
	}
	if err := l.read(); err != nil {
		return nil, err
	}
	l.classify()
	l.sockets()
	if err := l.peers(); err != nil {
		return nil, err
	}
	l.describe()
	l.sharedDescriptions()
	l.addTables()
	l.finish()
	return l.snap, ctx.Err()
}

// lister is the work on one List.
type lister struct {
	*lookup
	open     []*openTable
	current  *openTable // that of the descriptor which is told of
	drivers  *drivers
	mountsOf map[int]*mountTable    // by pid
	mountsIn map[string]*mountTable // by the link of the mount namespace
	// mountsHere are those of this command's own; nil when not read yet.
	mountsHere *mountTable
	names      map[int]string // of processes, by pid
	nsfs       uint64
	nsfsKnown  bool
	unanswered bool // a file system has not answered (askServer)
}

// openTable is a descriptor table that was read.
type openTable struct {
	process     *Process
	tid         int // set for the own table of a thread
	descriptors []*Descriptor
	limit       uint64
	refused     bool // it may not be read at all
	gaps        []Gap
}

// read reads the tables of all processes, several at a time.
func (l *lister) read() error {
	pids := slices.Compact(slices.Sorted(slices.Values(l.question.PIDs)))
	if len(pids) == 0 {
		var err error
		if pids, err = listPIDs(l.root()); err != nil {
			return err
		}
	}
	found := make([][]*openTable, len(pids))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(len(pids), runtime.GOMAXPROCS(0), 4) {
		wg.Go(func() {
			r := newTableReader(l.Scanner)
			for i := range next {
				found[i] = r.process(pids[i])
			}
		})
	}
	for i := range pids {
		if l.ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	for i, tables := range found {
		for _, t := range tables {
			l.adopt(pids[i], t)
		}
	}
	return l.ctx.Err()
}

// adopt makes a table part of the answer, unless its process has ended. Of all
// processes, those that have no descriptors are kernel threads and zombies.
func (l *lister) adopt(pid int, t *openTable) {
	for _, g := range t.gaps {
		l.gap(g)
	}
	if len(t.descriptors) == 0 && len(l.question.PIDs) == 0 {
		return
	}
	if t.process = l.process(pid); t.process == nil {
		return
	}
	l.open = append(l.open, t)
	for _, d := range t.descriptors {
		d.Process = t.process
	}
	l.snap.Descriptors = append(l.snap.Descriptors, t.descriptors...)
}

// classify narrows the kinds of files.
func (l *lister) classify() {
	for _, t := range l.open {
		l.current = t
		for _, d := range t.descriptors {
			if d.Kind != AnySocket {
				l.narrow(d)
			}
		}
	}
}

// describe says in words what each descriptor refers to, and adds locks.
func (l *lister) describe() {
	posix := l.posixLocks()
	for _, t := range l.open {
		l.current = t
		for _, d := range t.descriptors {
			if d.Kind.tell != nil {
				d.Target = d.Kind.tell(l, d)
			}
			d.addLocks(posix)
		}
	}
}

// addLocks adds the POSIX locks of the process on the file.
func (d *Descriptor) addLocks(posix map[FileID][]Lock) {
	for _, lock := range posix[FileID{d.Device, d.Inode}] {
		if lock.PID == d.Process.PID && !slices.Contains(d.Locks, lock) {
			d.Locks = append(d.Locks, lock)
		}
	}
}

// entry returns the descriptor with a number in the table of the current one;
// nil when there is none.
func (l *lister) entry(fd int) *Descriptor {
	i, found := slices.BinarySearchFunc(l.current.descriptors, fd, func(d *Descriptor, fd int) int { return cmp.Compare(d.FD, fd) })
	if !found {
		return nil
	}
	return l.current.descriptors[i]
}

// processPath is the path of a file of the process, or the thread, that holds d.
func (l *lister) processPath(d *Descriptor, file string) string {
	if d.TID != 0 {
		return l.path(strconv.Itoa(d.Process.PID), "task", strconv.Itoa(d.TID), file)
	}
	return l.path(strconv.Itoa(d.Process.PID), file)
}

// comm is the name of a process, or of a thread; "" when it has ended.
func (l *lister) comm(pid int) string {
	name, known := l.names[pid]
	if !known {
		if l.names == nil {
			l.names = map[int]string{}
		}
		text, _ := readFile(l.path(strconv.Itoa(pid), "comm"))
		name = string(text[:max(0, len(text)-1)])
		l.names[pid] = name
	}
	return name
}
