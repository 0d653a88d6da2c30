package rules

import (
	"fmt"
	"slices"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:           "FD206",
	Name:         "dead-socket",
	Severity:     inspect.Warning,
	SeverityNote: "note for a socket whose peer has never acknowledged anything: its connect may have been refused just now",
	Title:        "a TCP socket that was connected, or tried to be, is no more, and is still open",
	Text: `The peer has reset the connection, or refused it, or both ends have been closed,
or the kernel has given up; the program has not noticed, or has not closed its
descriptor. The socket is in no table any more: ss and netstat do not show it.
What is left is a descriptor that leads nowhere, and another with each
connection that ends so, until the limit is reached.

It is recognised by a socket that no socket table of any network namespace
lists, whose state is CLOSE, and which has sent or received segments (tcp_info).
A fresh socket, that connect has not been called on, has not. SO_ERROR is not
read: that would take the error from the program.

Not reported: a socket that was closed while stray looked. One that stays is
seen again by the next scan.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "close(fd) on every error of read, write and connect, and on a read of 0; act on EPOLLHUP, EPOLLERR and EPOLLRDHUP even where nothing is waited for."},
		{Language: "C++/Asio", Text: "in a handler with an error let go of the session, so that its socket is closed; a socket without any operation pending learns of nothing: keep a read pending."},
		{
			Language: "Go", Text: "defer conn.Close() where the connection is made; a Read that fails does not close.",
			Before: "conn, err := net.Dial(\"tcp\", addr)\nif err != nil {\n    return err\n}\nreturn talk(conn)",
			After:  "conn, err := net.Dial(\"tcp\", addr)\nif err != nil {\n    return err\n}\ndefer conn.Close()\nreturn talk(conn)",
		},
		{Language: "Python", Text: "with socket.create_connection(addr) as s: …; close on ConnectionError too."},
		{Language: "Node", Text: "an 'error' handler does not keep 'close' from coming; call destroy() where allowHalfOpen is set."},
		{Language: "Rust", Text: "drop the TcpStream on an error in place of keeping it in a list."},
		{Language: "Java", Text: "try-with-resources; close the channel when a read returns -1 or throws, and cancel its key."},
		{Language: "Crystal", Text: "ensure socket.close around the loop that reads."},
	},
	Needs: inspect.SightSockets | inspect.SightTables,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		dead := map[*fdscan.Process][]*inspect.Socket{}
		var owners []*fdscan.Process
		for _, s := range v.Sockets {
			if !s.Dead() || len(s.Holders) == 0 {
				continue
			}
			p := s.Holders[0].Process
			if dead[p] == nil {
				owners = append(owners, p)
			}
			dead[p] = append(dead[p], s)
		}
		for _, p := range owners {
			s := dead[p][max(0, slices.IndexFunc(dead[p], func(s *inspect.Socket) bool { return s.Answered }))]
			by := descriptors(s, p, anyDescriptor)
			was := "was connected, or tried to be,"
			if s.Answered {
				was = "was connected"
			}
			message := fmt.Sprintf("%s keeps a dead TCP socket, %s: it %s from %s, and no table lists it any more", who(p), by, was, s.Address())
			if n := len(dead[p]); n > 1 {
				message = fmt.Sprintf("%s keeps %d dead TCP sockets, among them %s: it %s from %s, and no table lists them any more", who(p), n, by, was, s.Address())
			}
			f := inspect.NewFinding(r, s, s.Holders[0], message)
			if !s.Answered {
				f.Severity = inspect.Note
			}
			f.Evidence = []string{fmt.Sprintf("its state is CLOSE, and it has sent and received %d segments", *s.Segments)}
			f.Next = append([]string{fmt.Sprintf("stray close inode:%d -p %d", s.Inode, p.PID)}, f.Next...)
			findings = append(findings, f)
		}
		return findings
	},
	Starved: func(v *inspect.View) string {
		if slices.ContainsFunc(v.Gaps, func(g fdscan.Gap) bool { return g.Op == "pidfd_getfd" }) {
			return "sockets that no table lists could not be asked what they are"
		}
		return inspect.UnreadHolders(v.Snapshot)
	},
})
