package fdscan

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// facts are the costly facts about one process.
type facts struct {
	evidence Evidence
	exe      FileID
	// rests is since when all threads have been seen asleep, of a process of
	// which that does not tell enough; nil for others.
	rests *rest
}

// interrogated is how many processes are read at a time. Most of that is waiting
// for what they do next.
const interrogated = 32

// interrogation is the reading of the costly facts about every holder, and about
// whoever has a descriptor that has crossed an exec and its parent.
type interrogation struct {
	*lookup
	processes []*Process
	readers   map[*Process]*waitReader
	rests     map[*Process]*rest // those who are still watched
}

// interrogate begins an interrogation: what takes a while has begun when it
// returns, and watch ends it.
func (l *lookup) interrogate() (*interrogation, error) {
	i := &interrogation{lookup: l, readers: map[*Process]*waitReader{}, rests: map[*Process]*rest{}}
	sockfs := sync.OnceValue(sockfsDevice)
	reader := func(p *Process) *waitReader {
		if i.readers[p] == nil {
			i.readers[p] = &waitReader{Scanner: l.Scanner, pid: p.PID, held: map[uint64]bool{}, sockfs: sockfs}
		}
		return i.readers[p]
	}
	for h := range l.eachHolder {
		reader(h.Process)
	}
	for _, d := range l.snap.Descriptors {
		r := reader(d.Process)
		r.suspects = append(r.suspects, d.FD)
		if parent := l.snap.Parent(d.Process); parent != nil {
			reader(parent)
		}
	}
	for _, s := range l.snap.Sockets {
		for _, h := range s.Holders {
			r := i.readers[h.Process]
			r.held[s.Inode] = true
			if s.State == Listen || s.State == Bound {
				r.ports = append(r.ports, s.Inode)
			}
			if s.State == Listen && s.Protocol.Stream() {
				r.listeners = append(r.listeners, s.Inode)
			}
		}
	}
	i.processes = slices.SortedFunc(maps.Keys(i.readers), func(a, b *Process) int { return cmp.Compare(a.PID, b.PID) })
	copies := make([]Process, len(i.processes)) // whoever is late reads these
	for k, p := range i.processes {
		copies[k] = *p
	}
	var cache codeCache
	eachWithin(l.ctx, len(i.processes), interrogated, func(k int) *facts {
		return i.readers[i.processes[k]].facts(&cache, &copies[k])
	}, func(k int, read *facts, ok bool) { i.take(i.processes[k], read, ok) })
	return i, l.ctx.Err()
}

// take notes what was read of a process.
func (i *interrogation) take(p *Process, read *facts, ok bool) {
	if !ok {
		i.gap(detailGap("read evidence", p.PID, errSlow))
		read = &facts{}
	}
	p.Evidence = &read.evidence
	p.ExeDevice, p.ExeInode = read.exe.Device, read.exe.Inode
	if read.rests != nil {
		i.rests[p] = read.rests
	}
}

// watch looks again at the processes whose threads were all asleep: one that only
// rests now and then is busy, too.
func (i *interrogation) watch() error {
	processes := slices.SortedFunc(maps.Keys(i.rests), func(a, b *Process) int { return cmp.Compare(a.PID, b.PID) })
	for _, p := range processes {
		time.Sleep(restWatched - time.Since(i.rests[p].since))
	}
	eachWithin(i.ctx, len(processes), interrogated, func(k int) *rest {
		return i.readers[processes[k]].endOf(i.rests[processes[k]])
	}, func(k int, end *rest, ok bool) {
		if p := processes[k]; ok {
			p.Evidence.Waits, p.Evidence.Busy = end.waits, end.busy
		} else {
			i.gap(detailGap("read evidence", p.PID, errSlow))
		}
	})
	return i.ctx.Err()
}

// innermost is the pid of a process as it sees itself.
func innermost(p *Process) int {
	if n := len(p.NSPIDs); n > 0 {
		return p.NSPIDs[n-1]
	}
	return p.PID
}

// facts reads what can be known of the process, p. Nothing here touches the
// lookup: it may have given up waiting.
func (r *waitReader) facts(cache *codeCache, p *Process) *facts {
	const mostEnviron = 8 << 20
	process := r.path(strconv.Itoa(r.pid))
	f := &facts{exe: exeID(process + "/exe")}
	if r.Detached {
		f.exe = FileID{}
	}
	r.foreign = !r.Detached && !cache.native(process+"/exe", f.exe)
	e := &f.evidence
	e.Waits, e.Busy = r.waits()
	if !p.Unexeced { // a copy has the words of what it was copied from
		environ, _ := readMost(process+"/environ", mostEnviron)
		e.HandOvers, e.Activated = handOvers(p.Cmdline, environ, innermost(p))
	}
	if len(r.ports) > 0 && r.served(e.Waits) {
		return f // the rest is about those who do not serve
	}
	code := r.programOf(r.pid, cache)
	e.Imports, e.Ring = code.imports, code.ring
	if len(r.ports) > 0 && !e.Busy && (e.Imports == nil || e.Imports.Accept || e.Imports.Transfer) {
		f.rests = r.rest(e.Waits)
	}
	return f
}

// exeID identifies a process's program, even when its file has been replaced.
func exeID(path string) FileID {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_INO, &st) != nil {
		return FileID{}
	}
	return FileID{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}
}

// native reports whether an executable has the word size and machine of this one,
// so that its system call numbers are ours.
func (c *codeCache) native(path string, id FileID) bool {
	c.mu.Lock()
	native, known := c.natives[id]
	c.mu.Unlock()
	if known {
		return native
	}
	header, err := readMost(path, 20)
	const class64 = 2 // ELFCLASS64
	native = err == nil && len(header) == 20 && string(header[:4]) == "\x7fELF" && header[4] == class64 &&
		binary.NativeEndian.Uint16(header[18:]) == elfMachine
	if err == nil && id != (FileID{}) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.natives == nil {
			c.natives = map[FileID]bool{}
		}
		c.natives[id] = native
	}
	return native
}
