package fdscan

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// facts are the costly facts about one process.
type facts struct {
	evidence Evidence
	exe      FileID
}

// interrogated is how many processes are read at a time. Most of that is waiting
// for what they do next.
const interrogated = 32

// interrogate reads the costly facts about every holder, and about whoever has a
// descriptor that has crossed an exec and its parent, several at a time.
func (l *lookup) interrogate() error {
	readers := map[*Process]*waitReader{}
	reader := func(p *Process) *waitReader {
		if readers[p] == nil {
			readers[p] = &waitReader{Scanner: l.Scanner, pid: p.PID, held: map[uint64]bool{}}
		}
		return readers[p]
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
			r := readers[h.Process]
			r.held[s.Inode] = true
			if s.State == Listen || s.State == Bound {
				r.ports = append(r.ports, s.Inode)
			}
			if s.State == Listen && s.Protocol.Stream() {
				r.listeners = append(r.listeners, s.Inode)
			}
		}
	}
	processes := slices.SortedFunc(maps.Keys(readers), func(a, b *Process) int { return cmp.Compare(a.PID, b.PID) })

	read := make([]*facts, len(processes))
	var cache codeCache
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(len(processes), interrogated) {
		wg.Go(func() {
			for i := range next {
				p := *processes[i]
				read[i], _ = within(l.ctx, func() *facts { return readers[processes[i]].facts(&cache, &p) })
			}
		})
	}
	for i := range processes {
		next <- i
	}
	close(next)
	wg.Wait()
	for i, p := range processes {
		if read[i] == nil {
			l.gap(detailGap("read evidence", p.PID, errSlow))
			read[i] = &facts{}
		}
		p.Evidence = &read[i].evidence
		p.ExeDevice, p.ExeInode = read[i].exe.Device, read[i].exe.Inode
	}
	return l.ctx.Err()
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
	r.foreign = !r.Detached && !nativeProgram(process+"/exe")
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
		e.Busy = r.watchRest(e.Waits)
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

// nativeProgram reports whether an executable has the word size and machine of
// this one, so that its system call numbers are ours.
func nativeProgram(path string) bool {
	header, err := readMost(path, 20)
	if err != nil || len(header) < 20 {
		return false
	}
	const class64 = 2 // ELFCLASS64
	return string(header[:4]) == "\x7fELF" && header[4] == class64 && binary.NativeEndian.Uint16(header[18:]) == elfMachine
}
