package fdscan

import (
	"context"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Reader reads facts about single processes and descriptors, whenever it is
// asked to: for those who follow processes in place of looking at all at once.
// It is for one goroutine at a time.
type Reader struct {
	l    *lookup
	code codeCache
}

// NewReader returns a Reader for as long as ctx lasts.
func (s *Scanner) NewReader(ctx context.Context) (*Reader, error) {
	l := &lookup{Scanner: s, ctx: ctx, snap: &Snapshot{Processes: map[int]*Process{}, TablesComplete: true, HoldersComplete: true}}
	if err := l.host(); err != nil {
		return nil, err
	}
	return &Reader{l: l}, nil
}

// Snapshot is empty but for what is known of the host, and what could not be seen.
func (r *Reader) Snapshot() *Snapshot { return r.l.snap }

// Process reads what /proc says of a process now; the error is for one that has
// ended.
func (r *Reader) Process(pid int) (*Process, error) { return r.l.readProcess(pid) }

// Named returns the descriptors that the arguments and the environment of a
// process name, by the words that name them. The environment is that of its exec.
func (r *Reader) Named(p *Process) map[int]string {
	const mostEnviron = 1 << 20
	inner := p.PID
	if n := len(p.NSPIDs); n > 0 {
		inner = p.NSPIDs[n-1]
	}
	path := r.l.path(strconv.Itoa(p.PID), "environ")
	environ, _ := within(r.l.ctx, func() []byte {
		text, _ := readMost(path, mostEnviron)
		return text
	})
	named, _ := handOvers(p.Cmdline, environ, inner)
	return named
}

// Descriptor reads what fdinfo, and for a socket the socket itself, tell of a
// descriptor whose link has been read. tid is the thread whose table is meant,
// 0 for the process's own. A file is not touched: it may lie on a file system
// that does not answer.
func (r *Reader) Descriptor(p *Process, tid, fd int, link string) *Descriptor {
	d := &Descriptor{Process: p, FD: fd}
	d.leadsTo(link)
	if info, err := r.l.readFDInfo(p.PID, tid, fd); err == nil {
		cloexec, flags := info.CloseOnExec(), info.Flags&^unix.O_CLOEXEC
		d.CloseOnExec, d.Flags, d.Pos, d.Locks = &cloexec, &flags, &info.Pos, info.Locks
	}
	if d.Kind == AnySocket {
		d.Socket = r.socket(Ref{PID: p.PID, TID: tid, FD: fd, Kind: RefSocket, Inode: d.Inode})
	}
	return d
}

// Traces reports whether the program of a process calls ptrace(2), by the dynamic
// symbols of its file.
func (r *Reader) Traces(pid int) bool {
	i := r.code.imports(r.l.path(strconv.Itoa(pid), "exe"))
	return i != nil && i.Trace
}

// readFDInfo reads fdinfo of a descriptor.
func (l *lookup) readFDInfo(pid, tid, fd int) (FDInfo, error) {
	text, err := os.ReadFile(l.descriptorPath("fdinfo", pid, tid, fd))
	if err != nil {
		return FDInfo{}, err
	}
	return parseFDInfo(text), nil
}

// socket asks a socket what it is: itself, or where that is not permitted the
// tables; nil when neither tells, and for one of a family without ports or names.
func (r *Reader) socket(ref Ref) *Socket {
	s, ns, err := identify(ref)
	if ns != nil {
		unix.Close(ns.fd)
	}
	switch {
	case err == nil && s == nil, gone(err):
		return nil // of a family that has no table here (netlink, packet), or closed
	case err == nil:
		if ns != nil {
			s.NetNS, s.NetNSMine = ns.inode, ns.inode == r.l.snap.Host.NetNS
		}
		return s
	}
	snap, err := r.l.Lookup(r.l.ctx, Question{Targets: []Target{{Kind: InodeTarget, Inode: ref.Inode}}, PIDs: []int{ref.PID}})
	if err != nil || len(snap.Sockets) == 0 {
		return nil
	}
	return snap.Sockets[0]
}

// ProcRoot is where proc(5) is mounted.
func (s *Scanner) ProcRoot() string { return s.root() }
