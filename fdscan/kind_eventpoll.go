package fdscan

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// EventPoll is an epoll instance (epoll(7)).
var EventPoll = registerKind(&Kind{
	Name: "eventpoll", Title: "an epoll instance", Says: "what it watches: the descriptors as they are now, and for which events", Links: []string{"anon_inode:[eventpoll]"},
	tell: func(l *lister, d *Descriptor) string {
		if len(d.watches) == 0 {
			return "watches nothing"
		}
		return "watches " + several(d.watches, func(w Watch) string { return l.watched(w) + " for " + w.eventNames() })
	},
})

// watched says what an epoll instance watches, by the number that it had when it
// was registered. The number may mean another file by now, or none; what is
// watched is the file all the same, for as long as somebody keeps it open.
func (l *lister) watched(w Watch) string {
	now := l.entry(w.FD)
	switch {
	case now == nil && w.Inode == 0:
		return fmt.Sprintf("fd %d, which is closed", w.FD)
	case now == nil:
		return fmt.Sprintf("inode %d, once fd %d, which is closed", w.Inode, w.FD)
	case w.Inode == 0 || w.Inode == now.Inode && w.Device == kernelDevice(now.Device):
		return fmt.Sprintf("fd %d (%s)", w.FD, now.brief())
	}
	return fmt.Sprintf("inode %d, once fd %d, which is another file now (%s)", w.Inode, w.FD, now.brief())
}

// brief is what d refers to in a few words.
func (d *Descriptor) brief() string {
	switch {
	case d.Socket != nil:
		return d.Socket.identity()
	case d.protocol != "":
		return strings.ToLower(d.protocol)
	case strings.HasPrefix(d.Link, "anon_inode:"):
		return d.Kind.Name
	}
	return d.Link
}

// kernelDevice is a device number in the form in which epoll instances tell it.
func kernelDevice(device uint64) uint64 {
	return uint64(unix.Major(device))<<20 | uint64(unix.Minor(device))
}

// eventNames are the events of epoll_ctl(2) in short: "in out edge".
func (w Watch) eventNames() string {
	if !w.awaitsEvents() {
		return "nothing now"
	}
	return strings.Join(bitWords(w.Events, eventWords), " ")
}

// eventWords are the words for events. Errors are reported in any case.
var eventWords = []bitWord{
	{unix.EPOLLIN, "in"},
	{unix.EPOLLPRI, "pri"},
	{unix.EPOLLOUT, "out"},
	{unix.EPOLLRDHUP, "rdhup"},
	{unix.EPOLLEXCLUSIVE, "exclusive"},
	{unix.EPOLLWAKEUP, "wakeup"},
	{unix.EPOLLONESHOT, "oneshot"},
	{unix.EPOLLET, "edge"},
	{unix.EPOLLERR, ""},
	{unix.EPOLLHUP, ""},
}
