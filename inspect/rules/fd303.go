package rules

import (
	"fmt"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:       "FD303",
	Name:     "stalled-send",
	Severity: inspect.Warning,
	Title:    "the kernel has taken bytes that do not get through",
	Text: `write(2) has succeeded, and the bytes lie in the kernel: the peer is there and
answers, but its receive buffer is full, since its program does not read. The
kernel probes the window for as long as the peer answers, which may be for
ever; the sender blocks, or queues ever more in its own memory.

It is recognised by a send queue from which no data has gone for some time
(--stalled), with the window's probe timer running. When the peer is on this
machine, in any network namespace, its process is named, whether it is
stopped, and how much it has not read.

When the sender's process closes such a connection, or dies, the kernel keeps
it: FIN_WAIT1 with all its bytes and no process. It goes when the peer reads
or dies, or when the kernel has probed long enough. What a program meant to
have sent may be lost with that: the orderly way is shutdown(SHUT_WR), wait
for the peer's end, and close after it.

Not reported: slow readers, who let something through now and then, and bulk
transfers, whose queue is full and moves.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "bound what is queued for one peer and disconnect it beyond; TCP_USER_TIMEOUT ends a connection whose window stays closed; shutdown(fd, SHUT_WR), read to the end, then close."},
		{Language: "C++/Asio", Text: "one async_write at a time, with a steady_timer beside it and a limit on the queue behind it; socket.shutdown(shutdown_send), async_read until eof, then close. Cap'n Proto: do not queue calls without waiting for answers: destroying a client with tens of thousands of them frees one promise chain recursively, which overflows the stack before 1.0.0. Wait for the last answer, shutdownWrite(), read the peer's end, then destroy."},
		{Language: "Go", Text: "SetWriteDeadline before each write; CloseWrite, io.Copy(io.Discard, conn), Close."},
		{Language: "Python", Text: "asyncio: await writer.drain() under a timeout, and transport.set_write_buffer_limits; writer.write_eof() before close."},
		{Language: "Node", Text: "stop writing while write() returns false, until 'drain'; socket.end() and wait for 'end'."},
	},
	Needs: inspect.SightHealth,
	Check: func(r *inspect.Rule, v *inspect.View) []inspect.Finding {
		phrase := func(a inspect.Ailment) (string, string) {
			if a == inspect.Orphaned {
				return " is left to the kernel", "are left to the kernel"
			}
			return " is stalled", "are stalled"
		}
		return pileFindings(r, v, phrase, func(p *inspect.Pile, f *inspect.Finding) {
			proposeClose(v, p, f)
			if command := abortCommand(v, p); command != "" {
				f.Next = append([]string{command}, f.Next...)
			}
			if q := stoppedPeer(p.Members[0].Socket); q != nil {
				f.Next = append([]string{fmt.Sprintf("kill -CONT %d", q.PID)}, f.Next...)
			}
		})
	},
	Starved: inspect.UnseenHealth,
})

// abortCommand ends a connection that no process owns, which takes the kernel; ""
// for several, and for one of another network namespace.
func abortCommand(v *inspect.View, p *inspect.Pile) string {
	s := p.Members[0]
	if s.Inode != 0 || len(p.Members) > 1 || !s.NetNSMine {
		return ""
	}
	return byLimits(v, fmt.Sprintf("stray close --destroy --rule FD303 %s", s.Address()))
}

// stoppedPeer is the process at the other end, if it is stopped by a signal.
func stoppedPeer(s *fdscan.Socket) *fdscan.Process {
	peer := inspect.PeerOf(s)
	if peer == nil {
		return nil
	}
	for _, h := range peer.Holders {
		if h.Process.State == 'T' {
			return h.Process
		}
	}
	return nil
}
