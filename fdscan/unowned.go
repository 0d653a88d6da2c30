package fdscan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// unowned deals with sockets that have an inode and no holder. Most have been
// closed, or handed on, between the dump and the walk; so they are looked for
// again, and those that have gone are dropped. What remains in a complete view
// is the kernel's own, if nothing else can keep it.
func (l *lookup) unowned(ctx context.Context, sees bool) error {
	for again := true; ; again = false {
		if !l.hasUnowned() {
			return nil
		}
		l.dropClosed(ctx)
		if !again || !sees || len(l.question.PIDs) > 0 {
			break
		}
		want := Want{Sockets: map[uint64]bool{}, Rings: true}
		for _, s := range l.snap.Sockets {
			if s.isUnowned() {
				want.Sockets[s.Inode] = true
			}
		}
		if want.empty() {
			return nil
		}
		var err error
		if sees, err = l.find(ctx, want); err != nil {
			return err
		}
	}
	if len(l.question.PIDs) > 0 || !l.hasUnowned() || !sees && !HasCapability(unix.CAP_SYS_PTRACE) {
		return nil
	}
	if l.keptUnseen() || !l.snap.HoldersComplete {
		return nil
	}
	for _, s := range l.snap.Sockets {
		s.KernelOwned = s.NetNSMine && s.isUnowned()
	}
	return nil
}

// isUnowned reports a socket that some descriptor should refer to, and none is
// known to. One that is closing has none any more.
func (s *Socket) isUnowned() bool {
	switch s.State {
	case FinWait1, FinWait2, Closing, LastAck, TimeWait:
		return false
	}
	return s.Inode != 0 && len(s.Holders) == 0
}

// hasUnowned reports a socket that has an inode and no holder yet.
func (l *lookup) hasUnowned() bool { return slices.ContainsFunc(l.snap.Sockets, (*Socket).isUnowned) }

// dropClosed dumps the tables again, and drops the sockets without holders that
// are in them no more. Nothing is dropped when they could not be read whole.
func (l *lookup) dropClosed(ctx context.Context) {
	found, whole := l.tables(ctx)
	if !whole {
		return
	}
	open := map[socketID]bool{}
	for _, s := range found {
		open[s.id()] = true
	}
	l.snap.Sockets = slices.DeleteFunc(l.snap.Sockets, func(s *Socket) bool {
		closed := s.isUnowned() && !open[s.id()]
		if closed {
			l.sockets[s.Inode] = slices.DeleteFunc(l.sockets[s.Inode], func(o *Socket) bool { return o == s })
		}
		return closed
	})
}

// keptUnseen looks for what can keep a socket without any descriptor: an
// io_uring instance whose own descriptor is closed (its memory is still mapped,
// or it is registered with its task), and a system call that began before its
// descriptor was closed by another thread. It reports whether there is any, and
// notes it.
func (l *lookup) keptUnseen() (found bool) {
	pids, err := listPIDs(l.root())
	if err != nil {
		return true
	}
	for _, pid := range pids {
		switch maps, err := l.mapsRing(pid); {
		case isRefusal(err):
			found = true
			l.gap(processGap("read "+l.path("PID/maps"), pid, err))
		case maps && !l.withRing[pid]:
			found = true
			l.gap(Gap{Op: "read io_uring", PID: pid, FD: -1, Err: "an instance without a descriptor may keep files", Scope: ScopeHolders})
		}
		tids, _ := listPIDs(l.path(strconv.Itoa(pid), "task"))
		for _, tid := range tids {
			if call, fd := l.callOnClosed(pid, tid); call != "" {
				found = true
				l.gap(Gap{Op: "find what a system call keeps", PID: pid, TID: tid, FD: fd, Err: fmt.Sprintf("it is in %s on descriptor %d, which has been closed", call, fd), Scope: ScopeHolders})
			}
		}
	}
	return found
}

// mapsRing reports whether a process has an io_uring instance in its memory.
func (l *lookup) mapsRing(pid int) (maps bool, err error) {
	err = eachLine(l.path(strconv.Itoa(pid), "maps"), func(line []byte) error {
		maps = maps || bytes.HasSuffix(line, []byte(" anon_inode:[io_uring]"))
		return nil
	})
	return maps, err
}

// callOnClosed returns the name of the system call on a descriptor that a
// thread waits in, when the descriptor is open no more; "" otherwise.
func (l *lookup) callOnClosed(pid, tid int) (call string, fd int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if tid == unix.Gettid() {
		return "", 0 // it would be found reading this of itself
	}
	task := l.path(strconv.Itoa(pid), "task", strconv.Itoa(tid))
	text, err := readFile(filepath.Join(task, "syscall"))
	if err != nil {
		return "", 0
	}
	number, args, ok := parseSyscall(string(text))
	known := waitCalls[number]
	if !ok || known.set != setFirst && known.set != setAccept {
		return "", 0
	}
	fd = int(int32(args[0]))
	if _, err := os.Readlink(filepath.Join(task, "fd", strconv.Itoa(fd))); !errors.Is(err, fs.ErrNotExist) {
		return "", 0
	}
	// A thread of the kernel's seems to be in read(2), and has no descriptors.
	const kernels = kernelThread | ioWorker | userWorker
	if stat, err := readStat(filepath.Join(task, "stat")); err != nil || stat.flags&kernels != 0 {
		return "", 0
	}
	// The thread itself may have ended meanwhile.
	if again, err := readFile(filepath.Join(task, "syscall")); err != nil || string(again) != string(text) {
		return "", 0
	}
	return known.name, fd
}
