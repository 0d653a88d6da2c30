package rules

import (
	"cmp"
	"fmt"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:           "FD103",
	Name:         "listener-inheritable",
	Severity:     inspect.Note,
	SeverityNote: "warning when it has leaked into another program",
	Title:        "a listener without FD_CLOEXEC in the process that opened it: the next exec leaks it",
	Text: `The listener is where it belongs, but lacks FD_CLOEXEC. Every program that this
process starts from now on inherits it (see FD101), unless the code that starts
it closes the descriptor.

A note, since a process that never starts another program loses nothing by it. A
warning once it has leaked into another program.

Before sealing it: servers that replace themselves by exec, on an upgrade or a
reload (nginx and php-fpm on USR2, socket activation), need it inheritable.

Not reported: a descriptor that came by socket activation or was named in
arguments or environment, which has to survive exec to arrive at all; and a
descriptor that the process's own workers serve across exec. Nor is a holder
accused whose ancestor of the same name may not be read, as the master of a
server is for other users: it may have opened the listener.`,
	Cures: []inspect.Cure{
		{
			Language: "C",
			Text:     "SOCK_CLOEXEC where the socket is made, and accept4 for what it accepts; on a live descriptor fcntl(fd, F_SETFD, FD_CLOEXEC).",
			Before: `int fd = socket(AF_INET, SOCK_STREAM, 0);
int conn = accept(fd, NULL, NULL);`,
			After: `int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);`,
		},
		{
			Language: "C++/Asio",
			Text:     "Asio never sets it: set it after opening.",
			Before:   "tcp::acceptor acceptor(io, endpoint);",
			After: `tcp::acceptor acceptor(io, endpoint);
fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);`,
		},
		{
			Language: "Go",
			Text:     "package net sets it. With a socket call of its own the program has to.",
			Before:   "fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)",
			After:    "fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)",
		},
		{
			Language: "Python",
			Text:     "sockets are not inheritable since 3.4: something has made this one so.",
			Before:   "listener.set_inheritable(True)",
			After:    "listener.set_inheritable(False)",
		},
		{Language: "Node", Text: "libuv sets it: look for a native addon, or for a parent that has handed the descriptor over."},
		{
			Language: "Rust",
			Text:     "std::net sets it, and so does socket2 but for new_raw.",
			Before:   "let socket = socket2::Socket::new_raw(Domain::IPV4, Type::STREAM, None)?;",
			After:    "let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None)?;",
		},
		{Language: "Java", Text: "the children of ProcessBuilder inherit nothing, whatever the flag says; those that native code starts do."},
		{
			Language: "Crystal",
			Text:     "set it after creation.",
			Before:   `server = TCPServer.new("0.0.0.0", 8080)`,
			After: `server = TCPServer.new("0.0.0.0", 8080)
server.close_on_exec = true`,
		},
		{
			Language: "shell",
			Text:     "a shell cannot set it: close the descriptor for each program that is not to have it.",
			Before:   "helper",
			After:    "helper 5>&-",
		},
	},
	Needs: inspect.SightSockets,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		eachPortHolder(v, func(s *inspect.Socket, h *inspect.Holder) {
			if s.State != fdscan.Listen || h.Origin.Kind != inspect.Opened || !inheritable(s, h.Process) {
				return
			}
			opened := "opened"
			switch master, doubt := unreadOpener(v, h); {
			case master != nil:
				return
			case doubt:
				opened = "probably opened"
			}
			severity := inspect.Note
			message := fmt.Sprintf("%s %s the listener %s without FD_CLOEXEC (%s): the next program that it starts inherits it", who(h.Process), opened, s.Address(), descriptors(s, h.Process, anyDescriptor))
			for _, heir := range s.Holders {
				switch {
				case heir.Origin.From != h.Process || heir.Origin.Kind != inspect.Execed && !servesAcrossExec(heir, h):
				case heir.Origin.Kind == inspect.Intended:
					return // it has to be inheritable
				case heir.Origin.Leak:
					severity = inspect.Warning
					message = fmt.Sprintf("%s %s the listener %s without FD_CLOEXEC (%s), and %s has inherited it", who(h.Process), opened, s.Address(), descriptors(s, h.Process, anyDescriptor), who(heir.Process))
				}
			}
			f := inspect.NewFinding(r, s, h, message)
			f.Severity = severity
			tellOpening(v, &f, h.Opening)
			// Servers that replace themselves by exec, on an upgrade or a
			// reload, need it inheritable: nothing to be told in passing.
			if severity > inspect.Note {
				f.Next = append([]string{fmt.Sprintf("stray seal %s -p %d", target(s), h.Process.PID)}, f.Next...)
			}
			findings = append(findings, f)
		})
		return findings
	},
	Starved: func(v *inspect.View) (why string) {
		eachPortHolder(v, func(s *inspect.Socket, h *inspect.Holder) {
			if s.State != fdscan.Listen || h.Origin.Kind != inspect.Opened || !inheritable(s, h.Process) {
				return
			}
			if master, _ := unreadOpener(v, h); master != nil {
				why = fmt.Sprintf("%s, which could not be read, may have opened %s", who(master), s.Describe())
			}
		})
		return cmp.Or(unreadListener(v), why)
	},
})

// unreadOpener returns the ancestor of a holder that has probably opened what it
// has: one of the same name whose descriptors could not be read. It is nil when
// there is none; doubt reports that another may have, who could not be read or not
// even be seen.
func unreadOpener(v *inspect.View, h *inspect.Holder) (master *fdscan.Process, doubt bool) {
	unread := map[int]bool{}
	for _, g := range v.Gaps {
		if g.Scope == fdscan.ScopeHolders {
			unread[g.PID] = true // 0 for those that cannot be seen
		}
	}
	if h.Origin.Certain || len(unread) == 0 {
		return nil, false
	}
	doubt = unread[0]
	for q := v.Parent(h.Process); q != nil; q = v.Parent(q) {
		switch {
		case !unread[q.PID]:
		case q.Comm == h.Process.Comm:
			return q, true
		default:
			doubt = true
		}
	}
	return nil, doubt
}

// lacking lists the descriptors by which p holds s that lack FD_CLOEXEC, and says
// so: "fd 5 lacks", "fd 5 and 9 lack".
func lacking(s *inspect.Socket, p *fdscan.Process) string {
	text := descriptors(s, p, func(h *inspect.Holder) bool { return h.CloseOnExec != nil && !*h.CloseOnExec })
	if strings.Contains(text, " and ") {
		return text + " lack"
	}
	return text + " lacks"
}

// inheritable reports that p holds s by a descriptor without FD_CLOEXEC.
func inheritable(s *inspect.Socket, p *fdscan.Process) bool {
	for _, h := range s.Holders {
		if h.Process == p && h.CloseOnExec != nil && !*h.CloseOnExec {
			return true
		}
	}
	return false
}

// servesAcrossExec reports that heir serves what it got from h across exec.
func servesAcrossExec(heir, h *inspect.Holder) bool {
	return heir.Origin.Kind == inspect.Intended && heir.Process.StackStart != h.Process.StackStart
}
