package rules

import "stray/inspect"

var _ = register(&inspect.Rule{
	ID:           "FD301",
	Name:         "close-wait",
	Severity:     inspect.Warning,
	SeverityNote: "error for a pile: ten of one process that is known (--pile); note for a unix socket, of which the kernel tells no age",
	Title:        "the peer has closed the connection, and this side has not",
	Text: `The far end has closed, so that the socket is in CLOSE_WAIT, and it stays
there until this process closes its descriptor: no timer of the kernel ends
that. Each keeps a descriptor, and its memory, for ever; a pile of them means
that some path through the program forgets to close, and ends at the limit of
open files.

It is recognised by its state and by how long nothing has come from the peer,
whose FIN was the last. With one byte in the receive queue the end has not
even been read: the program does not look at the connection any more. With
none it has read the end and goes on without closing.

Not reported: a connection on which something was sent within the same time,
as a server does that answers a client which has shut down its own side first;
and one that has only just been closed (--close-wait).

Of a unix socket the kernel tells no times. One look reports it when bytes are
left that nobody reads; two looks (--for) report each whose other end is closed.
Both are notes, and a warning when bytes stay unread between the looks: many
programs keep such a socket until they end. One without a name and without such
bytes, as each sshd keeps of a socketpair(2), is reported in a pile only.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "read until 0 or an error, and close on both: a connection that is not polled for reading is never seen to end. EPOLLRDHUP tells of it without reading."},
		{Language: "C++/Asio", Text: "keep an async_read_some pending on every connection; close the socket when it completes with asio::error::eof. A handler that returns without a new read, and without close, leaks it."},
		{Language: "Go", Text: "resp.Body.Close() on every path, also when the status is an error; defer conn.Close() beside every Accept and Dial."},
		{Language: "Python", Text: "with-blocks for sockets and responses; recv() that returns b'' is the end: close."},
		{Language: "Node", Text: "socket.on('end', () => socket.end()) with allowHalfOpen; otherwise read ('resume') what is not wanted, or the end is never seen."},
		{Language: "Java", Text: "try-with-resources around sockets, responses and streams; a pool needs eviction of idle connections."},
	},
	Needs: inspect.SightHealth,
	Check: func(r *inspect.Rule, v *inspect.View) []inspect.Finding {
		phrase := func(inspect.Ailment) (string, string) {
			return " is closed by its peer and kept", "are closed by their peers and kept"
		}
		return pileFindings(r, v, phrase, func(p *inspect.Pile, f *inspect.Finding) {
			if p.Process != nil && f.Severity == inspect.Warning && len(p.Members) >= v.Limits.Pile && v.Limits.Pile > 0 {
				f.Severity = inspect.Error
			}
			proposeClose(v, p, f)
		})
	},
	Starved: inspect.UnseenHealth,
})
