package act

import (
	"fmt"
	"slices"
	"strings"

	"stray/fdscan"
)

// Foresee says what the step will do, in lines for people: what is lost, who
// keeps the socket, and what the program sees next.
func (s *Step) Foresee() (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	switch s.Method {
	case Seal:
		say("the next exec in this process closes %s; nothing else changes", numbers(s.FDs()))
		return lines
	case Destroy:
		say("the kernel aborts it for all its holders: they see ECONNABORTED or EINVAL, a peer sees a reset; their descriptors stay")
		say("%s", s.lost())
		return lines
	case Half:
		say("the peer is told that nothing more comes (FIN); once it has closed its side, %s is parked", numbers(s.FDs()))
		if s.Others > 0 {
			say("shutting down acts on the connection itself: %s too", others(s.Others))
		}
	case Park, Close:
	}
	if s.Others > 0 {
		say("%s: the port stays taken, and nothing is lost", keeps(s.Others))
	} else if lost := s.lost(); lost != "" {
		say("%s", lost)
	}
	if s.Method == Close {
		say("the number is free at once: when the program opens something it may get it, and use it as this socket")
	} else {
		say("%s stays taken, by an inert object, until the program closes it", numbers(s.FDs()))
	}
	say("%s", s.sees())
	return lines
}

// lost is what goes with the last reference.
func (s *Step) lost() string {
	k := s.Socket
	switch {
	case k.Backlog != nil && k.Backlog.Queued > 0:
		return fmt.Sprintf("lost: %d connections in the backlog are reset", k.Backlog.Queued)
	case k.State == fdscan.Listen || k.State == fdscan.Bound:
		return "nothing is lost: no connection waits"
	}
	var parts []string
	if n := k.Unread(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes that were not read (the peer is reset)", n))
	}
	if n := k.SendQueue; n != nil && *n > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes that the peer has not acknowledged (--half lets it finish first)", *n))
	}
	if parts == nil {
		return "nothing is lost: both queues are empty"
	}
	return "at stake: " + strings.Join(parts, " and ")
}

// sees is what the program meets next, from what its threads do now.
func (s *Step) sees() string {
	e := s.Process().Evidence
	after := "EINVAL"
	if s.Method == Close {
		after = "EBADF"
	}
	if e != nil {
		for _, w := range e.Waits {
			if !slices.Contains(w.Inodes, s.Socket.Inode) {
				continue
			}
			switch w.Call {
			case "accept", "accept4":
				return fmt.Sprintf("thread %d waits in %s on it: the call is interrupted and returns %s", w.TID, w.Call, after)
			case "epoll_wait", "epoll_pwait", "epoll_pwait2":
				return fmt.Sprintf("thread %d waits in %s, which watches it: it is not told, and gets no more connections from it", w.TID, w.Call)
			}
			return fmt.Sprintf("thread %d waits in %s on it, and sees it hang up at its next call", w.TID, w.Call)
		}
	}
	return "no thread waits on it now; a call that uses it later gets " + after + " or ENOTCONN"
}

func numbers(fds []int) string {
	words := make([]string, len(fds))
	for i, fd := range fds {
		words[i] = fmt.Sprint(fd)
	}
	return "fd " + strings.Join(words, " and ")
}

func keeps(n int) string {
	if n == 1 {
		return "another holder keeps it"
	}
	return fmt.Sprintf("%d other holders keep it", n)
}

func others(n int) string {
	if n == 1 {
		return "another holder loses it"
	}
	return fmt.Sprintf("%d other holders lose it", n)
}
