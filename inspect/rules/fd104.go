package rules

import (
	"fmt"
	"slices"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:       "FD104",
	Name:     "connection-shared",
	Severity: inspect.Warning,
	Title:    "a connection in a process that has no use for it: close sends no FIN",
	Text: `A connected socket lives until the last of its descriptors is closed. When a
second process keeps one, the first can close its own, and nothing happens: no
FIN is sent, the peer waits for an end that does not come, and the port stays in
use. Most often a server has forked while it had connections open, or has
forgotten to close its own copy after handing the connection to a child.

One connection in two processes is no fault in itself: servers that separate
privileges work like that. A holder is named here when its lack of use shows:

- a program that came by exec and has no call to use a socket with;
- a copy made by fork that keeps the listener in the same way, and accepts
  nothing;
- a copy made by fork of which every thread waits for something that is no
  descriptor, while another process waits on the connection;
- a server that waits for the next connection on its listener, while a child of
  its own waits on this one.

Not reported: a process that waits for a child (sshd, inetd), or that waits on
other descriptors without serving the listener; what a program has by exec from
one that does nothing but wait for its end, as a shell does; what arguments or
environment hand over; what is standard input or output.`,
	Cures: []inspect.Cure{
		{
			Language: "C", Text: "after fork, close in the parent what the child serves, and in the child what it does not; accept with SOCK_CLOEXEC, so that no program gets it by exec.",
			Before: "int c = accept(l, NULL, NULL);\nif (fork() == 0) {\n    serve(c);\n    _exit(0);\n}",
			After:  "int c = accept4(l, NULL, NULL, SOCK_CLOEXEC);\nif (fork() == 0) {\n    close(l);\n    serve(c);\n    _exit(0);\n}\nclose(c);",
		},
		{Language: "C++/Asio", Text: "in the child of a fork close every accepted socket besides the acceptor, then io_context.notify_fork(execution_context::fork_child). Asio sets FD_CLOEXEC on none of them."},
		{Language: "Go", Text: "package net sets FD_CLOEXEC. (*net.TCPConn).File() makes a copy: close it, and pass in ExtraFiles only what the child shall use."},
		{Language: "Python", Text: "after os.fork() close the connection in the process that does not serve it; multiprocessing.set_start_method('spawn') starts without any. shutdown(SHUT_RDWR) ends a connection whoever else holds it."},
		{Language: "Node", Text: "child_process.spawn() passes only what stdio names. After subprocess.send('socket', socket) the parent lets go of it unless keepOpen is set."},
		{Language: "Rust", Text: "std sets FD_CLOEXEC. With libc::fork() drop the TcpStream on the side that does not serve it."},
		{Language: "Java", Text: "ProcessBuilder closes descriptors above 2 in the child; native code that forks has to do so itself."},
		{Language: "Crystal", Text: "socket.close_on_exec = true for accepted and client sockets too: older versions set it for neither. After Process.fork close it on one side."},
		{Language: "shell", Text: "close it for the child: helper 5>&- (with the number of the descriptor)."},
	},
	Needs: inspect.SightSockets,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		type key struct {
			process *fdscan.Process
			why     string
		}
		index := map[key]*keptConnections{}
		var kept []*keptConnections
		listeners := listenersByPort(v)
		for _, s := range v.Sockets {
			if s.IsPort() || !s.Protocol.Stream() || s.Remote.Port == 0 {
				continue
			}
			for i, h := range s.Holders {
				why, user := uselessCopy(listeners[s.Local.Port], s, h)
				sameProcess := func(o *inspect.Holder) bool { return o.Process == h.Process }
				if why == "" || slices.ContainsFunc(s.Holders[:i], sameProcess) {
					continue
				}
				k := index[key{h.Process, why}]
				if k == nil {
					k = &keptConnections{socket: s, holder: h, why: why, user: user}
					index[key{h.Process, why}] = k
					kept = append(kept, k)
				}
				k.count++
			}
		}
		for _, k := range kept {
			f := inspect.NewFinding(r, k.socket, k.holder, k.message())
			f.Next = append([]string{fmt.Sprintf("stray close inode:%d -p %d", k.socket.Inode, k.holder.Process.PID)}, f.Next...)
			findings = append(findings, f)
		}
		return findings
	},
	Starved: func(v *inspect.View) string {
		if v.Sight&inspect.SightTables != 0 || slices.ContainsFunc(v.Sockets, func(s *inspect.Socket) bool { return !s.IsPort() && len(s.Holders) > 0 }) {
			return inspect.UnreadHolders(v.Snapshot)
		}
		return ""
	},
})

// Why a process has no use for a connection. The last two name who has.
const (
	cameAcrossExec = "it came across exec, and the program has no use for it"
	acceptsNothing = "it is a copy that fork made, and accepts nothing"
	usedByAnother  = "it is a copy that fork made; %s uses it"
	servedByChild  = "its child, %s, serves it"
)

// keptConnections are connections that a process keeps for one reason.
type keptConnections struct {
	socket *inspect.Socket // the first
	holder *inspect.Holder
	why    string
	user   *fdscan.Process // of the first; nil where why names nobody
	count  int
}

func (k *keptConnections) message() string {
	what, why := "the connection", k.why
	if k.count > 1 {
		what = fmt.Sprintf("%d connections, among them", k.count)
	}
	if k.user != nil {
		why = fmt.Sprintf(k.why, who(k.user))
	}
	return fmt.Sprintf("%s keeps %s %s by %s: %s", who(k.holder.Process), what, k.socket.Ends(), descriptors(k.socket, k.holder.Process, anyDescriptor), why)
}

// uselessCopy says why a holder has no use for a connection, and which process
// has; "" when that does not show. listeners are those of the connection's port.
func uselessCopy(listeners []*inspect.Socket, s *inspect.Socket, h *inspect.Holder) (why string, user *fdscan.Process) {
	used := func(o *inspect.Holder) bool {
		return o.Process != h.Process && o.Serving == inspect.Serves && !slices.Contains(h.SharesTableWith, o.Process.PID)
	}
	i := slices.IndexFunc(s.Holders, used)
	switch {
	case h.FD <= 2, h.Origin.Kind == inspect.Execed && waitsForChildren(h.Origin.From):
		return "", nil
	case h.Origin.Leak && h.Origin.Kind == inspect.Execed:
		return cameAcrossExec, nil
	case h.Origin.Leak:
		return acceptsNothing, nil
	case i < 0:
		return "", nil
	case h.Origin.Kind == inspect.Forked && h.Serving == inspect.Idle:
		return usedByAnother, s.Holders[i].Process
	}
	heir := s.Holders[i]
	if heir.Origin.From == h.Process && h.Serving.No() && servesListenerOf(listeners, s, h.Process) {
		return servedByChild, heir.Process
	}
	return "", nil
}

// listenersByPort are the listeners of the internet families.
func listenersByPort(v *inspect.View) map[uint16][]*inspect.Socket {
	listeners := map[uint16][]*inspect.Socket{}
	for _, s := range v.Sockets {
		if s.State == fdscan.Listen && s.Local.Port != 0 {
			listeners[s.Local.Port] = append(listeners[s.Local.Port], s)
		}
	}
	return listeners
}

// servesListenerOf reports that p waits for connections on the listener that
// takes those of c's kind.
func servesListenerOf(listeners []*inspect.Socket, c *inspect.Socket, p *fdscan.Process) bool {
	return slices.ContainsFunc(listeners, func(s *inspect.Socket) bool {
		return s.Accepts(c.Socket) && slices.ContainsFunc(s.Holders, func(h *inspect.Holder) bool { return h.Process == p && h.Serving == inspect.Serves })
	})
}
