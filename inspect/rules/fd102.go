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
		{Language: "C", Text: "after fork, in the child: close(listener). Or posix_spawn / vfork+exec with SOCK_CLOEXEC descriptors in place of a bare fork."},
		{Language: "C++/Asio", Text: "in the child: acceptor.close() and the accepted sockets too, then io_context.notify_fork(execution_context::fork_child); app.stop() alone does not close them in every version."},
		{Language: "Go", Text: "a Go program does not fork without exec; look for cgo, or a parent in another language."},
		{Language: "Python", Text: "os.fork / multiprocessing 'fork': close the server socket in the child, or multiprocessing.set_start_method('spawn')."},
		{Language: "Node", Text: "child_process never forks without exec; with cluster, let the primary own the listener."},
		{Language: "Crystal", Text: "Process.fork keeps every descriptor: close the server in the child, or use Process.new."},
		{Language: "shell", Text: "( exec 5>&-; … ) & closes descriptor 5 in the subshell."},
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
			findings = append(findings, f)
		})
		return findings
	},
	Starved: unreadListener,
})
