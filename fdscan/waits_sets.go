package fdscan

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxPollSet bounds what is read of a poll(2) or select(2) set.
const maxPollSet = 1 << 14

// table returns the thread that stands for the descriptor table of tid: almost
// always the first one, since threads share theirs.
func (r *waitReader) table(tid int) int {
	for _, other := range r.tables {
		if r.Detached {
			return other
		}
		if order, err := compareTables(other, tid); err != nil || order == 0 {
			return other
		}
	}
	r.tables = append(r.tables, tid)
	return tid
}

// sockets returns the inodes of the sockets among descriptors of a thread.
func (r *waitReader) sockets(tid int, fds []int) (inodes []uint64) {
	for _, fd := range fds {
		link, err := os.Readlink(r.task(tid, "fd/"+strconv.Itoa(fd)))
		if err != nil {
			continue
		}
		if inode, ok := linkInode(link, "socket:["); ok {
			inodes = append(inodes, inode)
		}
	}
	return inodes
}

// epoll reads from its fdinfo which of the sockets in question an epoll instance
// watches, or the instances that it watches do; nil when it may not be read. It
// is kept: the threads of a server share a few.
func (r *waitReader) epoll(tid, fd, depth int) *watched {
	const maxDepth = 4 // EP_MAX_NESTS
	key := descriptor{r.table(tid), fd}
	if e, ok := r.epolls[key]; ok {
		return e
	}
	if r.epolls == nil {
		r.epolls = map[descriptor]*watched{}
	}
	r.epolls[key] = nil
	e := &watched{}
	err := eachLine(r.task(key.tid, "fdinfo/"+strconv.Itoa(fd)), func(line []byte) error {
		value, ok := bytes.CutPrefix(line, []byte("tfd:"))
		if !ok {
			return nil
		}
		w := parseWatch(string(value))
		if w.awaitsEvents() && slices.Contains(r.suspects, w.FD) {
			e.suspects = append(e.suspects, w.FD)
		}
		switch {
		case !w.awaitsEvents():
			// It is registered, and nothing is waited for now.
		case w.Inode == 0:
			e.sockets = append(e.sockets, r.sockets(key.tid, []int{w.FD})...)
		case w.Device == r.sockfs():
			// The inode holds where the number has changed since.
			if r.held[w.Inode] {
				e.sockets = append(e.sockets, w.Inode)
			}
		case depth < maxDepth && r.isEpoll(key.tid, w.FD):
			if inner := r.epoll(key.tid, w.FD, depth+1); inner != nil {
				e.sockets, e.suspects = append(e.sockets, inner.sockets...), append(e.suspects, inner.suspects...)
			}
		}
		return nil
	})
	if err != nil {
		return nil
	}
	r.epolls[key] = e
	return e
}

func (r *waitReader) isEpoll(tid, fd int) bool {
	link, err := os.Readlink(r.task(tid, "fd/"+strconv.Itoa(fd)))
	return err == nil && link == "anon_inode:[eventpoll]"
}

// everyEpoll returns what all epoll instances of a thread's table watch
// together; found is false when there is none that may be read.
func (r *waitReader) everyEpoll(tid int) (sockets []uint64, found bool) {
	fds, err := listPIDs(r.task(tid, "fd"))
	if err != nil {
		return nil, false
	}
	for _, fd := range fds {
		if !r.isEpoll(tid, fd) {
			continue
		}
		if e := r.epoll(tid, fd, 0); e != nil {
			sockets, found = append(sockets, e.sockets...), true
		}
	}
	slices.Sort(sockets)
	return slices.Compact(sockets), found
}

// pollSet reads an array of struct pollfd from the memory of the process: the
// descriptors for which any event is waited for. ok is false when it cannot be
// read.
func (r *waitReader) pollSet(address, count uint64) (fds []int, ok bool) {
	const size = 8 // struct pollfd: int fd; short events; short revents
	if count > maxPollSet {
		return nil, false
	}
	b := make([]byte, count*size)
	if !r.memory(address, b) {
		return nil, false
	}
	for ; len(b) > 0; b = b[size:] {
		fd, events := int(int32(binary.NativeEndian.Uint32(b))), binary.NativeEndian.Uint16(b[4:])
		if fd >= 0 && events&^(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
			fds = append(fds, fd)
		}
	}
	return fds, true
}

// selectSets reads the fd_sets to read, to write and of exceptions.
func (r *waitReader) selectSets(count uint64, addresses []uint64) (fds []int, ok bool) {
	if count > maxPollSet {
		return nil, false
	}
	for _, address := range addresses {
		if address == 0 {
			continue
		}
		// An fd_set is an array of longs; on a little-endian machine that is
		// an array of bytes too, and both our architectures are.
		b := make([]byte, (count+63)/64*8)
		if !r.memory(address, b) {
			return nil, false
		}
		for fd := range int(count) {
			if b[fd/8]&(1<<(fd%8)) != 0 {
				fds = append(fds, fd)
			}
		}
	}
	return fds, true
}

// memory reads from the process: process_vm_readv(2), which stops nothing.
func (r *waitReader) memory(address uint64, b []byte) bool {
	switch {
	case len(b) == 0:
		return true
	case r.Detached:
		return false
	}
	local := []unix.Iovec{{Base: unsafe.SliceData(b), Len: uint64(len(b))}}
	remote := []unix.RemoteIovec{{Base: uintptr(address), Len: len(b)}}
	n, err := unix.ProcessVMReadv(r.pid, local, remote, 0)
	return err == nil && n == len(b)
}

// sockfsDevice is the kernel's device number of sockfs, which is where an epoll
// instance's tfd lines say that a socket lives; 0 when no socket can be made.
func sockfsDevice() uint64 {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return uint64(unix.Major(uint64(st.Dev)))<<20 | uint64(unix.Minor(uint64(st.Dev)))
}
