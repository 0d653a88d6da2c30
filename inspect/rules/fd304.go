package rules

import (
	"fmt"

	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:           "FD304",
	Name:         "backlog-full",
	Severity:     inspect.Error,
	SeverityNote: "warning while the backlog is not full, or full for a moment only; note for a listener of a group one of which does not accept",
	Title:        "connections wait for a listener that does not accept them",
	Text: `The kernel completes handshakes by itself and queues the connections until the
program accepts them: the client believes that it is connected, sends its
request and hangs. When the queue is full the kernel drops further handshakes,
and clients retry their SYN after 1, 3 and 7 seconds.

Nobody accepts: the program hangs or is stopped, or the listener is a copy in
a child that does not serve it (FD102), which takes connections all the same.
It is recognised by the age of what waits (--waiting) and, where that can be
seen, by the threads of the holders.

Of several listeners of one address (SO_REUSEPORT), no table tells for which of
them a connection waits; the length of each queue is known. One that hangs while
another is busy is told of by two looks (--for 3s); before, each of them is
mentioned in a note.

A queue that is full and young is a burst, or a limit that is too low:
listen(2)'s argument, cut to net.core.somaxconn. As many half-open handshakes
as the backlog takes, most of which the kernel has answered more than once, are
a SYN flood, or answers that do not arrive.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "accept until EAGAIN in every turn of the loop, and do no work there that can block; listen(fd, SOMAXCONN)."},
		{Language: "C++/Asio", Text: "start the next async_accept in the handler of the last, also after an error; after fork, close the acceptor in the child."},
		{Language: "Go", Text: "one goroutine that does nothing but Accept; the backlog is net.core.somaxconn."},
		{Language: "Python", Text: "backlog= of asyncio.start_server and of the server's configuration (gunicorn --backlog); no blocking call in the event loop."},
		{Language: "Node", Text: "server.listen({backlog: 4096}); what blocks the event loop blocks accept."},
	},
	Needs: inspect.SightHealth,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		for _, p := range v.Piles(r.ID) {
			for _, s := range p.Members {
				one := *p
				one.Members = []*inspect.Socket{s}
				for _, d := range s.Diagnoses {
					one.Worst = d
				}
				if len(s.Holders) > 0 {
					one.FD = s.Holders[0].FD
				}
				message := fmt.Sprintf("listener %s: %s", s.Address(), one.Worst.Text)
				if p.Process != nil {
					message = fmt.Sprintf("%s: listener %s fd %d: %s", who(p.Process), s.Address(), one.FD, one.Worst.Text)
				}
				f := inspect.NewPileFinding(r, v.Host, &one, message)
				if d := one.Worst; d.Severity == inspect.Note && v.Sight&inspect.SightTrend == 0 {
					f.Next = append([]string{byLimits(v, fmt.Sprintf("stray conns --for 3s %d", s.Local.Port))}, f.Next...)
				}
				f.Next = append([]string{"stray who " + target(s)}, f.Next...)
				findings = append(findings, f)
			}
		}
		return findings
	},
	Starved: inspect.UnseenHealth,
})
