package fdscan

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// waitSamples and waitPause bound how long a busy thread is watched for a
	// moment in which it waits.
	waitSamples = 6
	waitPause   = 2 * time.Millisecond
	// maxPollSet bounds what is read of a poll(2) or select(2) set.
	maxPollSet = 1 << 14
	// futexPrivate is FUTEX_PRIVATE_FLAG of futex(2).
	futexPrivate = 128
)

// waits says what each thread of p waits for. Busy threads are looked at again
// a few times, since a server between two waits is caught running.
func (l *lookup) waits(p *Process) []Wait {
	tids, err := listPIDs(l.path(strconv.Itoa(p.PID), "task"))
	if err != nil {
		return nil
	}
	r := &waitReader{lookup: l, pid: p.PID, epolls: map[int]*epollSet{}, foreign: l.Detached || !nativeProgram(l.path(strconv.Itoa(p.PID), "exe"))}
	waits := make([]Wait, len(tids))
	pending := len(tids)
	for sample := range waitSamples {
		if l.Detached && sample > 0 || pending == 0 {
			break
		}
		if sample > 0 {
			time.Sleep(waitPause)
		}
		pending = 0
		for i, tid := range tids {
			if waits[i].Kind == WaitUnknown && (sample == 0 || waits[i].Call == running) {
				waits[i] = r.wait(tid)
				if waits[i].Call == running {
					pending++
				}
			}
		}
	}
	return waits
}

// running is what Wait.Call says of a thread that is in no system call.
const running = "running"

// waitReader reads the waits of one process.
type waitReader struct {
	*lookup
	pid     int
	epolls  map[int]*epollSet
	foreign bool // its system call numbers or memory cannot be read as ours
	sockfs  uint64
}

// epollSet is what an epoll instance watches.
type epollSet struct {
	fds    []int
	inodes []uint64
}

func (r *waitReader) wait(tid int) Wait {
	w := Wait{TID: tid}
	text, err := os.ReadFile(r.path(strconv.Itoa(r.pid), "task", strconv.Itoa(tid), "syscall"))
	if err != nil {
		return r.waitChannel(w)
	}
	number, args, ok := parseSyscall(string(text))
	switch {
	case !ok:
		w.Call = running
		return w
	case r.foreign:
		return r.waitChannel(w)
	}
	call, known := waitCalls[number]
	if !known {
		w.Call = "syscall " + strconv.FormatUint(number, 10)
		return w
	}
	w.Call = call.name
	switch call.set {
	case setNone:
		w.Kind = WaitPassive
	case setFirst:
		w.Kind, w.FDs = WaitOn, []int{int(int32(args[0]))}
	case setEpoll:
		if set := r.epoll(int(int32(args[0])), 0); set != nil {
			w.Kind, w.FDs, w.Inodes = WaitOn, set.fds, set.inodes
		}
	case setPoll:
		if fds, ok := r.pollSet(args[0], args[1]); ok {
			w.Kind, w.FDs = WaitOn, fds
		}
	case setSelect:
		if fds, ok := r.selectSet(args[0], args[1]); ok {
			w.Kind, w.FDs = WaitOn, fds
		}
	case setFutex:
		// A futex that is shared between processes may be the mutex that
		// prefork servers serialise accept(2) with.
		if args[1]&futexPrivate != 0 {
			w.Kind = WaitPassive
		}
	case setUnknown:
	}
	if w.Kind == WaitOn && len(w.FDs) == 0 && (call.set == setPoll || call.set == setSelect) {
		w.Kind = WaitPassive // poll(2) of nothing is a way to sleep
	}
	return w
}

// parseSyscall reads "232 0x4 0x7ffc… … sp pc" of /proc/TID/syscall (Linux
// 2.6.27, CONFIG_HAVE_ARCH_TRACEHOOK); ok is false for "running", and for a
// thread that waits outside of a system call ("-1 sp pc").
func parseSyscall(s string) (number uint64, args [6]uint64, ok bool) {
	fields := strings.Fields(s)
	if len(fields) < 7 {
		return 0, args, false
	}
	number, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil {
		return 0, args, false
	}
	for i := range args {
		if args[i], err = strconv.ParseUint(fields[i+1], 0, 64); err != nil {
			return 0, args, false
		}
	}
	return number, args, true
}

// waitChannels are kernel functions in which a thread waits for no descriptor.
var waitChannels = []struct {
	prefix string
	kind   WaitKind
}{
	{"hrtimer_nanosleep", WaitPassive},
	{"do_nanosleep", WaitPassive},
	{"futex_wait", WaitPassive},
	{"do_wait", WaitPassive},
	{"kernel_waitid", WaitPassive},
	{"__x64_sys_pause", WaitPassive},
	{"__do_sys_pause", WaitPassive},
	{"sigsuspend", WaitPassive},
	{"do_sigtimedwait", WaitPassive},
}

// waitChannel falls back on /proc/TID/wchan, which tells the kernel function
// but not the descriptor.
func (r *waitReader) waitChannel(w Wait) Wait {
	text, err := os.ReadFile(r.path(strconv.Itoa(r.pid), "task", strconv.Itoa(w.TID), "wchan"))
	if err != nil || string(text) == "0" {
		return w
	}
	w.Call = string(text)
	for _, c := range waitChannels {
		if strings.HasPrefix(w.Call, c.prefix) {
			w.Kind = c.kind
		}
	}
	return w
}

// epoll reads what an epoll instance watches from its fdinfo, and what the
// instances that it watches do; nil when it may not be read. It is kept: the
// threads of a server share a few.
func (r *waitReader) epoll(fd, depth int) *epollSet {
	const maxDepth = 4 // EP_MAX_NESTS
	if set, ok := r.epolls[fd]; ok {
		return set
	}
	r.epolls[fd] = nil
	text, err := os.ReadFile(r.descriptorPath("fdinfo", r.pid, 0, fd))
	if err != nil {
		return nil
	}
	if r.sockfs == 0 {
		r.sockfs = sockfsDevice()
	}
	set := &epollSet{}
	for _, w := range parseFDInfo(text).Watches {
		switch {
		case w.Inode == 0:
			set.fds = append(set.fds, w.FD)
		case w.Device == r.sockfs:
			// The inode holds where the number has changed since.
			set.inodes = append(set.inodes, w.Inode)
		case depth < maxDepth:
			if link, err := os.Readlink(r.path(strconv.Itoa(r.pid), "fd", strconv.Itoa(w.FD))); err != nil || link != "anon_inode:[eventpoll]" {
				continue
			}
			if inner := r.epoll(w.FD, depth+1); inner != nil {
				set.fds = append(set.fds, inner.fds...)
				set.inodes = append(set.inodes, inner.inodes...)
			}
		}
	}
	r.epolls[fd] = set
	return set
}

// pollSet reads an array of struct pollfd from the memory of the process.
func (r *waitReader) pollSet(address, count uint64) (fds []int, ok bool) {
	const size = 8 // struct pollfd: int fd; short events; short revents
	if count > maxPollSet {
		return nil, false
	}
	b := make([]byte, count*size)
	if !r.memory(address, b) {
		return nil, false
	}
	for i := range int(count) {
		fds = append(fds, int(int32(binary.NativeEndian.Uint32(b[i*size:]))))
	}
	return fds, true
}

// selectSet reads the fd_set of descriptors to read.
func (r *waitReader) selectSet(count, address uint64) (fds []int, ok bool) {
	if address == 0 {
		return nil, true
	}
	if count > maxPollSet {
		return nil, false
	}
	// An fd_set is an array of longs; on a little-endian machine that is an
	// array of bytes too, and both our architectures are.
	b := make([]byte, (count+63)/64*8)
	if !r.memory(address, b) {
		return nil, false
	}
	for fd := range int(count) {
		if b[fd/8]&(1<<(fd%8)) != 0 {
			fds = append(fds, fd)
		}
	}
	return fds, true
}

// memory reads from the process: process_vm_readv(2), which stops nothing.
func (r *waitReader) memory(address uint64, b []byte) bool {
	if len(b) == 0 {
		return true
	}
	local := []unix.Iovec{{Base: unsafe.SliceData(b), Len: uint64(len(b))}}
	remote := []unix.RemoteIovec{{Base: uintptr(address), Len: len(b)}}
	n, err := unix.ProcessVMReadv(r.pid, local, remote, 0)
	return err == nil && n == len(b)
}

// nativeProgram reports whether an executable has the word size and machine of
// this one, so that its system call numbers are ours.
func nativeProgram(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var header [20]byte
	if _, err := f.Read(header[:]); err != nil {
		return false
	}
	const class64 = 2 // ELFCLASS64
	return string(header[:4]) == "\x7fELF" && header[4] == class64 && binary.NativeEndian.Uint16(header[18:]) == elfMachine
}
