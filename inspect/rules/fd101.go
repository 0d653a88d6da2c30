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
		{
			Language: "C",
			Text:     "SOCK_CLOEXEC where the socket is made, and accept4 for what it accepts; fcntl(fd, F_DUPFD_CLOEXEC, 0) in place of dup. Setting the flag afterwards with fcntl(F_SETFD) leaves a gap in which another thread can fork and exec.",
			Before: `int fd = socket(AF_INET, SOCK_STREAM, 0);
int conn = accept(fd, NULL, NULL);`,
			After: `int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);`,
		},
		{
			Language: "C++/Asio",
			Text:     "Asio never sets it: set it after opening, and on each accepted socket too. Or close every descriptor above 2 in the child before exec: close_range(3, ~0U, 0).",
			Before: `tcp::acceptor acceptor(io, endpoint);
acceptor.async_accept(on_accept);`,
			After: `tcp::acceptor acceptor(io, endpoint);
fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
acceptor.async_accept([](error_code e, tcp::socket socket) {
    fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
    on_accept(e, std::move(socket));
});`,
		},
		{
			Language: "Go",
			Text:     "package net sets it. With a socket call of its own the program has to; of (*net.TCPListener).File() pass only what the child shall serve, in ExtraFiles.",
			Before:   "fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)",
			After:    "fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)",
		},
		{
			Language: "Python",
			Text:     "sockets are not inheritable since 3.4: leave that as it is, and close_fds too. A child that shall serve gets the descriptor in pass_fds.",
			Before: `listener.set_inheritable(True)
subprocess.Popen(["helper"], close_fds=False)`,
			After: `subprocess.Popen(["helper"])`,
		},
		{
			Language: "Node",
			Text:     "libuv sets it. What crosses is what the stdio option of spawn names.",
			Before:   "spawn('helper', [], { stdio: ['ignore', 'inherit', 'inherit', fd] })",
			After:    "spawn('helper', [], { stdio: ['ignore', 'inherit', 'inherit'] })",
		},
		{
			Language: "Rust",
			Text:     "std::net sets it, and so does socket2 but for new_raw. With libc or nix name SOCK_CLOEXEC.",
			Before:   "let socket = socket2::Socket::new_raw(Domain::IPV4, Type::STREAM, None)?;",
			After:    "let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None)?;",
		},
		{
			Language: "Java",
			Text:     "ProcessBuilder closes every descriptor above 2 in the child. What leaks is started by native code (JNI, JNA) that forks and executes by itself.",
			Before:   `LibC.INSTANCE.system("helper &");`,
			After:    `new ProcessBuilder("helper").inheritIO().start();`,
		},
		{
			Language: "Crystal",
			Text:     "set it after creation, on listeners and clients alike (the default since 1.7 for listeners).",
			Before: `server = TCPServer.new("0.0.0.0", 8080)
Process.new("helper")`,
			After: `server = TCPServer.new("0.0.0.0", 8080)
server.close_on_exec = true
Process.new("helper")`,
		},
		{
			Language: "shell",
			Text:     "close it for the child, by its number.",
			Before:   "helper &",
			After:    "helper 5>&- &",
		},
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
			tellOpening(v, &f, h.Opening)
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
		findings = append(findings, crossing(r, v, c, message))
	})
	return findings
}
