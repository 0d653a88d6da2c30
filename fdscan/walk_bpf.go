package fdscan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"stray/internal/bpfiter"
)

// BPFWalker reads descriptor tables from the kernel's memory (bpfiter), and by its
// ProcWalker where that is refused, or would not pay. It tells what the walk tells:
// of a process that may not be looked into a gap, since nothing else could be read
// of what it has; but that only if it has what is wanted. A question about files, or
// about some processes only, is for the walk.
type BPFWalker struct {
	ProcWalker
	// Always has it tried where it would not pay.
	Always bool
}

// Walk implements Walker.
func (b BPFWalker) Walk(ctx context.Context, w Want, found func(Ref), gap func(Gap)) error {
	if len(w.Files)+len(w.Links)+len(w.PIDs) > 0 || !b.pays() {
		return b.ProcWalker.Walk(ctx, w, found, gap)
	}
	refs, err := b.look(w)
	if err != nil {
		return b.ProcWalker.Walk(ctx, w, found, gap)
	}
	names := b.namer()
	refused := map[int]bool{} // pids that were asked
	for _, r := range refs {
		if _, asked := refused[r.PID]; !asked {
			_, err := names.readlink(r.PID, r.TID, uint32(r.FD))
			refused[r.PID] = isRefusal(err)
			if refused[r.PID] {
				gap(names.refusal(r.PID, err))
			}
		}
		if !refused[r.PID] {
			found(r)
		}
	}
	return ctx.Err()
}

// Tables implements Walker.
func (b BPFWalker) Tables(ctx context.Context, found func(Filled), gap func(Gap)) error {
	if !b.pays() {
		return b.ProcWalker.Tables(ctx, found, gap)
	}
	tables, gaps, err := b.lookAtAll()
	if err != nil {
		return b.ProcWalker.Tables(ctx, found, gap)
	}
	for _, t := range tables {
		found(t)
	}
	for _, g := range gaps {
		gap(g)
	}
	return ctx.Err()
}

// Usable tries whether all tables can be read without a walk. The error says why not.
func (b BPFWalker) Usable() error {
	if err := b.permitted(); err != nil {
		return err
	}
	return bpfiter.Look(bpfiter.Query{Everything: true}, func(*bpfiter.Record) {})
}

// pays reports that a walk would take longer than the making of a program: 3 ms,
// in which a walk reads 1,500 descriptors on two processors.
func (b BPFWalker) pays() bool {
	const (
		processes   = 250
		descriptors = 1500
	)
	if b.permitted() != nil {
		return false
	}
	pids, err := listPIDs(b.Root)
	if err != nil || b.Always || len(pids) > processes {
		return err == nil
	}
	open := uint64(0)
	for _, pid := range pids {
		var st unix.Statx_t
		// The size of the directory is the number of its entries (Linux 6.2).
		if unix.Statx(unix.AT_FDCWD, b.Root+"/"+strconv.Itoa(pid)+"/fd", unix.AT_STATX_DONT_SYNC, unix.STATX_SIZE, &st) == nil {
			open += st.Size
		}
		if open > descriptors {
			return true
		}
	}
	return false
}

// permitted says why the kernel would not run a program for this caller, or would
// tell of other processes than those at Root.
func (b BPFWalker) permitted() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil || !KernelAtLeast(unix.ByteSliceToString(name.Release[:]), 6, 4) {
		return errors.New("it takes Linux 6.4")
	}
	if !HasCapability(unix.CAP_SYS_ADMIN) && !(HasCapability(unix.CAP_BPF) && HasCapability(unix.CAP_PERFMON)) {
		return errors.New("it takes CAP_BPF and CAP_PERFMON")
	}
	// From the namespace of the mount to our own, our numbers are there: one,
	// if those are the same.
	text, err := readFile(b.Root + "/self/status")
	if err != nil {
		return err
	}
	_, numbers, ok := bytes.Cut(text, []byte("\nNSpid:"))
	numbers, _, _ = bytes.Cut(numbers, []byte("\n"))
	if !ok || string(bytes.TrimSpace(numbers)) != strconv.Itoa(os.Getpid()) {
		return fmt.Errorf("%s is of another pid namespace", b.Root)
	}
	return nil
}

// look finds the descriptors that are wanted.
func (b BPFWalker) look(w Want) (refs []Ref, err error) {
	q := bpfiter.Query{Sockets: w.AllSockets, Rings: w.Rings, Room: len(w.Sockets) + len(w.Pipes)}
	if w.AllSockets {
		q.Room = b.openFiles()
	}
	for inode := range w.Sockets {
		q.Inodes = append(q.Inodes, inode)
	}
	for inode := range w.Pipes {
		q.Inodes = append(q.Inodes, inode)
	}
	threads := map[tableID][]Ref{} // of those that share a table the last one's
	err = bpfiter.Look(q, func(r *bpfiter.Record) {
		ref := Ref{PID: r.PID(), TID: r.TID(), FD: int(r.FD), Via: ViaTable}
		wanted := false
		switch r.Class {
		case bpfiter.Socket:
			ref.Kind, ref.Inode = RefSocket, r.ID
			wanted = w.AllSockets || w.Sockets[r.ID]
		case bpfiter.Pipe:
			ref.Kind, ref.Inode = RefPipe, r.ID
			wanted = w.Pipes[r.ID]
		case bpfiter.Anonymous:
			ref.Kind = RefRing
			wanted = w.Rings
		}
		switch id := (tableID{ref.PID, r.Name}); {
		case !wanted:
		case ref.TID == 0:
			refs = append(refs, ref)
		default:
			ref.Via = ViaThread
			if same := threads[id]; len(same) > 0 && same[0].TID != ref.TID {
				threads[id] = same[:0] // that thread may have ended
			}
			threads[id] = append(threads[id], ref)
		}
	})
	for _, of := range threads {
		refs = append(refs, of...)
	}
	return refs, err
}

// tableID tells the tables of one process apart.
type tableID struct {
	pid int
	at  uint64
}

// lookAtAll reads all tables.
func (b BPFWalker) lookAtAll() (tables []Filled, gaps []Gap, err error) {
	names := b.namer()
	met := map[tableID]bool{}
	passed := false // whether the records are of a table that is passed over
	err = bpfiter.Look(bpfiter.Query{Everything: true, Room: b.openFiles()}, func(r *bpfiter.Record) {
		if r.Class == bpfiter.Table || r.Class == bpfiter.Void {
			t := tableID{r.PID(), r.ID}
			if passed = r.Class == bpfiter.Void || met[t]; !passed {
				met[t] = true
				tables = append(tables, Filled{PID: r.PID(), TID: r.TID(), Entries: make([]Entry, 0, r.FD)})
			}
			return
		}
		if passed {
			return
		}
		last := &tables[len(tables)-1]
		if len(last.Entries) == 0 {
			if _, err := names.readlink(last.PID, last.TID, r.FD); isRefusal(err) {
				names.gaps = append(names.gaps, names.refusal(last.PID, err))
				tables, passed = tables[:len(tables)-1], true
				return
			}
		}
		if e, open := names.entry(last, r); open {
			last.Entries = append(last.Entries, e)
		}
	})
	return tables, names.gaps, err
}

// openFiles is about how many descriptors there are: one for each open file, and
// those that are copies.
func (b BPFWalker) openFiles() int {
	text, _ := readFile(b.Root + "/sys/fs/file-nr")
	n, _ := strconv.Atoi(string(text[:max(0, bytes.IndexByte(text, '\t'))]))
	return n + n/4
}

// namer tells the kinds of descriptors that the kernel's memory does not tell: by
// the link of one of those that are alike.
type namer struct {
	root                  string
	gaps                  []Gap
	survey                surveyShard
	link                  []byte
	known                 map[nameKey]Entry
	regular, socket, pipe uint8
}

func (b BPFWalker) namer() *namer {
	return &namer{
		root: b.Root, link: make([]byte, unix.PathMax), known: map[nameKey]Entry{},
		survey:  surveyShard{seed: maphash.MakeSeed(), named: map[string]uint8{}},
		regular: kindIndex("/"), socket: kindIndex("socket:["), pipe: kindIndex("pipe:["),
	}
}

// nameKey is the same for descriptors whose links begin alike.
type nameKey struct {
	class bpfiter.Class
	key   uint64
	name  string
}

// entry makes an Entry of a record; open is false when the descriptor has been
// closed since.
func (n *namer) entry(f *Filled, r *bpfiter.Record) (e Entry, open bool) {
	e = Entry{ID: r.ID, FD: int32(r.FD)}
	switch r.Class {
	case bpfiter.Socket:
		e.kind, e.flags = n.socket, entrySocket
		return e, true
	case bpfiter.Pipe:
		e.kind = n.pipe
		return e, true
	case bpfiter.Path:
		e.kind = n.regular
		return e, true
	case bpfiter.Deleted:
		e.kind, e.flags = n.regular, entryDeleted
		return e, true
	}
	key := nameKey{r.Class, r.Key, r.Begins()}
	if like, ok := n.known[key]; ok {
		e.kind, e.flags = like.kind, like.flags
		return e, true
	}
	link, err := n.readlink(f.PID, f.TID, r.FD)
	if err != nil {
		if !gone(err) {
			e.kind = kindIndex("") // it is there all the same
			n.gaps = append(n.gaps, detailGap("readlink "+n.root+"/PID/fd", f.PID, err))
		}
		return e, !gone(err)
	}
	told := n.survey.entry(link)
	e.kind, e.flags = told.kind, told.flags
	if told.kind == n.socket || told.kind == n.pipe {
		e.ID = told.ID // the number has come to mean another file
	} else if isNamed(r, link) {
		n.known[key] = e
	}
	return e, true
}

// isNamed reports whether a link is that of the file of a record, by its name, and
// so tells of all that are alike. The number may lead to another file by now.
func isNamed(r *bpfiter.Record, link []byte) bool {
	switch r.Class {
	case bpfiter.Anonymous:
		return hasPrefix(link, "anon_inode:"+r.Begins())
	case bpfiter.Device:
		return hasPrefix(link[bytes.LastIndexByte(link, '/')+1:], r.Begins())
	}
	return false
}

// refusal is the gap of a process that may not be looked into: as the walk has it.
func (n *namer) refusal(pid int, err error) Gap {
	return processGap("read "+filepath.Join(n.root, "PID/fd"), pid, err)
}

// readlink reads the link of a descriptor.
func (n *namer) readlink(pid, tid int, fd uint32) ([]byte, error) {
	path := n.root + "/" + strconv.Itoa(pid)
	if tid != 0 {
		path += "/task/" + strconv.Itoa(tid)
	}
	length, err := unix.Readlink(path+"/fd/"+strconv.Itoa(int(fd)), n.link)
	return n.link[:max(0, length)], err
}
