package rules

import "stray/inspect"

var _ = register(&inspect.Rule{
	ID:       "FD306",
	Name:     "receive-overflow",
	Severity: inspect.Warning,
	Title:    "a datagram socket drops what arrives",
	Text: `The receive queue of a datagram socket is full, since its process does not
read fast enough or not at all, and the kernel throws further datagrams away
without telling anybody. The number is that of SO_MEMINFO, counted since the
socket was opened.

One look reports a queue that is full now. Whether a queue that has dropped
once drops still takes two looks (--for 3s).`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "recvmmsg(2) until EAGAIN in each turn; SO_RCVBUF, up to net.core.rmem_max, for bursts; close what nobody reads."},
		{Language: "C++/Asio", Text: "start the next async_receive_from in the handler of the last; socket.set_option(receive_buffer_size(…))."},
		{Language: "Go", Text: "one goroutine that does nothing but read; SetReadBuffer."},
		{Language: "Python", Text: "setsockopt(SOL_SOCKET, SO_RCVBUF, …); no blocking call in the event loop."},
	},
	Needs: inspect.SightHealth,
	Check: func(r *inspect.Rule, v *inspect.View) []inspect.Finding {
		phrase := func(inspect.Ailment) (string, string) { return " overflows", "overflow" }
		return pileFindings(r, v, phrase, nil)
	},
	Starved: inspect.UnseenHealth,
})
