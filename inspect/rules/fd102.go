package rules

import (
	"fmt"

	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:           "FD102",
	Name:         "listener-kept-by-fork",
	Severity:     inspect.Error,
	SeverityNote: "warning while the process that opened it is alive and nobody else serves it",
	Title:        "a forked copy keeps a listener that it does not serve",
	Text: `A server forks, and the child keeps a copy of the listener without serving it.
Closing the server's own descriptor then does not close the socket: the port
stays taken after the server has stopped, SYNs complete into the backlog, and
clients hang until they time out.

FD_CLOEXEC cannot cure this: it acts at exec, and there is none. The copy has to
be closed in the child, right after fork, or the child has to be made before the
server listens.

It is recognised by one image in both processes (fork keeps the place of the
stack, exec draws a new one), and by every thread of the copy waiting for
something that is no descriptor: pause, nanosleep, a private futex, a child. A
copy whose server has gone is recognised by a process group or session whose
leader has exited, and is reported as "probably".

Not reported: workers that serve, a master whose workers do, and workers that
wait for their turn in an accept mutex (a shared futex, semop, flock).`,
	Cures: []inspect.Cure{
		{
			Language: "C",
			Text:     "close it in the child, right after fork. Or posix_spawn, with descriptors that have SOCK_CLOEXEC, in place of a bare fork.",
			Before: `if (fork() == 0)
    work();`,
			After: `if (fork() == 0) {
    close(listener);
    work();
}`,
		},
		{
			Language: "C++/Asio",
			Text:     "close the acceptor and the accepted sockets in the child; app.stop() alone does not in every version. Asio has to be told of a fork in any case: the child shares the epoll instance of its parent.",
			Before: `if (fork() == 0) {
    app.stop();
    work();
}`,
			After: `io.notify_fork(asio::io_context::fork_prepare);
if (fork() == 0) {
    io.notify_fork(asio::io_context::fork_child);
    acceptor.close();
    socket.close();  // the connection whose handler forks
    work();
} else {
    io.notify_fork(asio::io_context::fork_parent);
}`,
		},
		{Language: "Go", Text: "a Go program does not fork without exec: look for cgo, or for a parent in another language."},
		{
			Language: "Python",
			Text:     "close it in the child of os.fork. For multiprocessing, multiprocessing.set_start_method(\"spawn\") makes children that inherit nothing.",
			Before: `if os.fork() == 0:
    work()`,
			After: `if os.fork() == 0:
    listener.close()
    work()`,
		},
		{Language: "Node", Text: "child_process never forks without exec; with cluster, let the primary own the listener."},
		{
			Language: "Rust",
			Text:     "drop it in the child.",
			Before: `if let ForkResult::Child = unsafe { fork()? } {
    work();
    exit(0);
}`,
			After: `if let ForkResult::Child = unsafe { fork()? } {
    drop(listener);
    work();
    exit(0);
}`,
		},
		{Language: "Java", Text: "the JVM does not fork without exec: look for native code that does."},
		{
			Language: "Crystal",
			Text:     "Process.fork keeps every descriptor: close the server in the child, or use Process.new, which executes a program.",
			Before: `Process.fork do
  work
end`,
			After: `Process.fork do
  server.close
  work
end`,
		},
		{
			Language: "shell",
			Text:     "a subshell is a fork: close the descriptor in it, by its number.",
			Before:   "( work ) &",
			After:    "( exec 5>&-; work ) &",
		},
	},
	Needs: inspect.SightSockets,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		eachPortHolder(v, func(s *inspect.Socket, h *inspect.Holder) {
			if h.Origin.Kind != inspect.Forked || !h.Origin.Leak {
				return
			}
			message := fmt.Sprintf("%s keeps the %s %s by %s, a copy that fork made, and does not serve it", who(h.Process), s.Noun(), s.Address(), descriptors(s, h.Process, anyDescriptor))
			severity := inspect.Error
			switch {
			case s.Served == inspect.Serves:
				message += "; another process does"
			case h.Origin.OpenerExited:
				message += "; its opener has exited: the port stays taken"
			case h.Origin.OpenerAlive || h.Origin.From != nil:
				severity = inspect.Warning
			}
			f := inspect.NewFinding(r, s, h, message)
			f.Severity = severity
			f.Next = append([]string{"stray close " + target(s) + " --holders leaked"}, f.Next...)
			tellOpening(v, &f, h.Opening)
			findings = append(findings, f)
		})
		return findings
	},
	Starved: unreadListener,
})
