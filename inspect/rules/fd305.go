package rules

import "stray/inspect"

var _ = register(&inspect.Rule{
	ID:           "FD305",
	Name:         "half-closed",
	Severity:     inspect.Note,
	SeverityNote: "warning after ten minutes (--long)",
	Title:        "a connection shut down for writing waits for its peer's end",
	Text: `The process has called shutdown(SHUT_WR), the peer has acknowledged that and
does not close its own side: FIN_WAIT2 with a descriptor. For a connection
that no process holds the kernel ends that state after tcp_fin_timeout (60 s);
while a descriptor is open it lasts for ever, and keepalive is all that would
notice a peer that has gone.

It is recognised by the state and by how long nothing has come (--half-closed,
--long). Not reported: a peer that still sends.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "after shutdown(SHUT_WR), read to the end under a deadline (poll with a timeout), then close whatever has come."},
		{Language: "C++/Asio", Text: "a steady_timer beside the async_read that waits for eof; close when it fires."},
		{Language: "Go", Text: "conn.CloseWrite(), then SetReadDeadline before io.Copy(io.Discard, conn), then Close."},
		{Language: "Python", Text: "settimeout before the recv that waits for b''; in asyncio wait_for(reader.read(), …)."},
		{Language: "Node", Text: "socket.end() with socket.setTimeout(…, () => socket.destroy())."},
	},
	Needs: inspect.SightHealth,
	Check: func(r *inspect.Rule, v *inspect.View) []inspect.Finding {
		phrase := func(inspect.Ailment) (string, string) { return " is half closed", "are half closed" }
		return pileFindings(r, v, phrase, func(p *inspect.Pile, f *inspect.Finding) { proposeClose(v, p, f) })
	},
	Starved: inspect.UnseenHealth,
})
