package rules

import (
	"fmt"
	"slices"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:       "FD101",
	Name:     "listener-crossed-exec",
	Severity: inspect.Error,
	Title:    "a listener in a program that did not open it and does not serve it",
	Text: `A program listens on a port and starts another one. The descriptor of the
listener lacks FD_CLOEXEC, so execve(2) carries it into the new program under
the same number. That program knows nothing of it, never accepts, and keeps the
port taken for as long as it runs: after the server has stopped, bind(2) says
"address already in use", and connections that arrive hang in a backlog that
nobody empties.

It is recognised by another executable than the other holders', FD_CLOEXEC
clear, and no thread that waits on the listener. A program without the calls to
listen or accept among its dynamic symbols cannot have opened it at all.

When a command is followed ("stray check"), every exec is seen, and what crosses
it is told even of programs that live for a moment.

Not reported: a descriptor that the arguments or the environment name
(LISTEN_FDS, NODE_CHANNEL_FD, /dev/fd/N …), and a program that serves it. A
program whose threads are busy, or wait in io_uring, is not accused.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), accept4(fd, …, SOCK_CLOEXEC), fcntl(fd, F_DUPFD_CLOEXEC, 0). Setting the flag afterwards with fcntl(F_SETFD) leaves a gap in which another thread can fork and exec."},
		{Language: "C++/Asio", Text: "Asio never sets it: after opening, fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC), and the same for each accepted socket; or close every descriptor above 2 in the child (close_range(3, ~0U, 0)) before exec."},
		{Language: "Go", Text: "package net sets it. With syscall.Socket or unix.Socket add SOCK_CLOEXEC; of (*net.TCPListener).File() pass only what the child shall serve, in ExtraFiles."},
		{Language: "Python", Text: "sockets are not inheritable since 3.4; do not call set_inheritable(True), and keep close_fds=True."},
		{Language: "Node", Text: "libuv sets it; handles that are passed in the stdio option of spawn() are meant to cross."},
		{Language: "Crystal", Text: "socket.close_on_exec = true after creation, for listeners and clients alike (the default since 1.7 for listeners)."},
		{Language: "shell", Text: "close it for the child: server-helper 5>&- (with the number of the descriptor)."},
	},
	Needs: inspect.SightSockets,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		eachPortHolder(v, func(s *inspect.Socket, h *inspect.Holder) {
			if h.Origin.Kind != inspect.Execed || !h.Origin.Leak {
				return
			}
			from := ""
			if h.Origin.From != nil {
				from = " of " + who(h.Origin.From)
			}
			f := inspect.NewFinding(r, s, h, fmt.Sprintf(
				"%s carries the %s %s%s across exec: %s FD_CLOEXEC", who(h.Process), s.Noun(), s.Address(), from, lacking(s, h.Process)))
			f.Next = append([]string{"stray close " + target(s) + " --holders leaked"}, f.Next...)
			findings = append(findings, f)
		})
		return append(findings, listenersCrossed(r, v, findings)...)
	},
	Starved: unreadListener,
})

// listenersCrossed are the listeners that crossed an exec while a command was
// followed, less those that are known already from who still holds them.
func listenersCrossed(r *inspect.Rule, v *inspect.View, known []inspect.Finding) (findings []inspect.Finding) {
	eachCrossing(v, func(c *fdscan.Crossing) {
		same := func(f inspect.Finding) bool { return f.Inode == c.Inode && f.Process.PID == c.Process.PID }
		if !isListener(c.Descriptor) || slices.ContainsFunc(known, same) {
			return
		}
		s := &inspect.Socket{Socket: c.Socket}
		message := fmt.Sprintf("%s carries the %s %s of %s across the exec of %q: fd %d lacks FD_CLOEXEC%s",
			who(c.Process), s.Noun(), s.Address(), who(c.From), command(c.Process), c.FD, others(c))
		findings = append(findings, crossing(r, c, message))
	})
	return findings
}
