package fdscan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"stray/internal/sockdiag"
)

// messages looks for sockets and pipes in SCM_RIGHTS messages that nobody has
// received: in the queues of unix sockets whose fdinfo says "scm_fds: N" (Linux
// 5.8). Only a copy of the receiving socket can tell which files those are.
// sees is false when there are messages that could not be looked into.
func (l *lookup) messages(ctx context.Context) (sees bool) {
	if l.Detached {
		return true
	}
	receivers, whole := l.unixInodes()
	want := Want{Sockets: receivers, AllSockets: !whole, PIDs: l.question.PIDs}
	if want.empty() {
		return true
	}
	sees = true
	peeked := map[uint64][]string{}
	err := l.walker().Walk(ctx, want, func(r Ref) {
		text, err := readFile(l.descriptorPath("fdinfo", r.PID, r.TID, r.FD))
		if err != nil {
			sees = sees && gone(err)
			return
		}
		count := parseFDInfo(text).SCMFiles
		if count == 0 {
			return
		}
		files, known := peeked[r.Inode]
		if !known {
			files, err = peekFiles(r)
			if err != nil || len(files) < count {
				l.gap(messageGap(r, count-len(files), err))
				sees = false
			}
			peeked[r.Inode] = files
		}
		p := l.process(r.PID)
		for i, link := range files {
			if p != nil {
				l.holdLink(link, &Holder{
					Process: p, TID: r.TID, FD: r.FD, Slot: i, Via: ViaMessage,
					Note: fmt.Sprintf("in a message that fd %d (unix socket:[%d]) has not received", r.FD, r.Inode),
				})
			}
		}
	}, func(g Gap) {
		sees = false
		l.gap(g)
	})
	if err != nil {
		l.gap(Gap{Op: "look for messages in flight", FD: -1, Err: reason(err), Scope: ScopeHolders})
		return false
	}
	return sees
}

// messageGap is for files in flight that could not be identified.
func messageGap(r Ref, files int, err error) Gap {
	g := Gap{Op: "peek at a message in flight", PID: r.PID, TID: r.TID, FD: r.FD, Scope: ScopeHolders}
	switch {
	case errors.Is(err, unix.EINVAL):
		g.Err = fmt.Sprintf("%d files wait in connections that have not been accepted", files)
	case err != nil:
		g = processGap(g.Op, r.PID, err)
		g.TID, g.FD = r.TID, r.FD
	default:
		g.Err = fmt.Sprintf("%d files are in later messages, which cannot be looked at", files)
	}
	return g
}

// unixInodes returns the unix sockets of every namespace; whole is false when
// some table could not be read.
func (l *lookup) unixInodes() (inodes map[uint64]bool, whole bool) {
	inodes, whole = map[uint64]bool{}, true
	l.eachNamespace(func(conn *sockdiag.Conn, err error) {
		if err != nil {
			whole = false
			return
		}
		rows, err := conn.Unix()
		whole = whole && err == nil
		for i := range rows {
			inodes[uint64(rows[i].Inode)] = true
		}
	})
	return inodes, whole
}

// eachNamespace calls f with a connection to each network namespace, or with
// the error that kept it from being made.
func (l *lookup) eachNamespace(f func(*sockdiag.Conn, error)) {
	call := func(conn *sockdiag.Conn, err error) {
		if err == nil {
			defer conn.Close()
		}
		f(conn, err)
	}
	call(l.dial())
	for _, ns := range l.namespaces() {
		if len(ns.paths) == 0 {
			f(nil, unix.EACCES)
			continue
		}
		call(l.enter(ns))
	}
}

// peekFiles returns the link texts, such as "socket:[41877]", of the files in
// the first message with files that the unix socket r has queued. MSG_PEEK
// leaves the queue as it was and hands out copies, which are closed at once.
func peekFiles(r Ref) ([]string, error) {
	const (
		maxFiles = 253     // SCM_MAX_FD
		maxBytes = 4 << 20 // of data before the message, in one queue
	)
	fd, err := copySocket(r, r.Inode)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	// A peek goes on over bytes without files only as far as the buffer does.
	queued, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
	if err != nil {
		return nil, fmt.Errorf("ioctl SIOCINQ: %w", err)
	}
	buf := make([]byte, min(max(queued, 1), maxBytes))
	control := make([]byte, unix.CmsgSpace(maxFiles*4)+1024)
	_, n, _, _, err := unix.Recvmsg(fd, buf, control, unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("recvmsg MSG_PEEK: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return nil, err
	}
	var links []string
	for i := range messages {
		if messages[i].Header.Level != unix.SOL_SOCKET {
			continue
		}
		switch messages[i].Header.Type {
		case unix.SCM_RIGHTS, unix.SCM_PIDFD: // the receiver may have set SO_PASSPIDFD
		default:
			continue
		}
		fds := descriptorsIn(messages[i].Data)
		for _, f := range fds {
			// Not fstat, which may ask a file server.
			link, _ := os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(f))
			if messages[i].Header.Type == unix.SCM_RIGHTS {
				links = append(links, link)
			}
			unix.Close(f)
		}
	}
	return links, nil
}

// descriptorsIn reads the integers of an SCM_RIGHTS message.
func descriptorsIn(data []byte) (fds []int) {
	for ; len(data) >= 4; data = data[4:] {
		fds = append(fds, int(int32(binary.NativeEndian.Uint32(data))))
	}
	return fds
}
