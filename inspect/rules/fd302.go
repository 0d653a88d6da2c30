package rules

import "stray/inspect"

var _ = register(&inspect.Rule{
	ID:           "FD302",
	Name:         "silent-peer",
	Severity:     inspect.Warning,
	SeverityNote: "note for a connection that is idle and has no keepalive: it may be as healthy as any",
	Title:        "nobody answers at the far end",
	Text: `The peer has gone without a word: its machine sleeps or has lost its power, a
link is down, a firewall has forgotten the connection. What is written goes
into the send queue and is sent again and again, until the kernel gives up and
the program gets ETIMEDOUT: after net.ipv4.tcp_retries2 retransmissions, a
quarter of an hour by default, unless the socket has a TCP_USER_TIMEOUT.

It is recognised by data on its way, by retransmissions, and by the age of the
last acknowledgement (--silence); by keepalive probes or the probes of a
closed window that nobody answers; by a connect whose SYNs nobody answers.
Neither the backoff of the timer nor the age of the last data tells by itself:
with the link down the timer does not double, and a connection without traffic
is silent by right.

An idle connection without keepalive is never called dead: nobody can tell it
from a healthy one, which is what the note says (--idle). Should the peer
vanish, the program would not learn of it before it writes. Not reported: idle
connections to a peer on this machine, which the kernel would tell of.

Two looks (--for 3s) make it certain: nothing acknowledged in between, the
queue and the retransmissions growing.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "both of them, since each covers what the other does not: SO_KEEPALIVE with TCP_KEEPIDLE/INTVL/CNT for idle connections, and TCP_USER_TIMEOUT (milliseconds) for unacknowledged data, against which keepalive does nothing."},
		{Language: "C++/Asio", Text: "socket.set_option(asio::socket_base::keep_alive(true)); setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, …); and a steady_timer for each write. For a websocket: ping, and close when no pong comes in time."},
		{Language: "Go", Text: "net.KeepAliveConfig in net.Dialer or net.ListenConfig; TCP_USER_TIMEOUT by their Control; SetWriteDeadline before each write."},
		{Language: "Python", Text: "sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1), TCP_KEEPIDLE, TCP_USER_TIMEOUT; websockets: ping_interval and ping_timeout."},
		{Language: "Node", Text: "socket.setKeepAlive(true, 30000) and socket.setTimeout(…, () => socket.destroy()); ws: a ping every 30 s, terminate() without a pong."},
		{Language: "Java", Text: "SO_KEEPALIVE with jdk.net.ExtendedSocketOptions.TCP_KEEPIDLE and its kin; Netty: EpollChannelOption.TCP_USER_TIMEOUT."},
	},
	Needs: inspect.SightHealth,
	Check: func(r *inspect.Rule, v *inspect.View) []inspect.Finding {
		phrase := func(a inspect.Ailment) (string, string) {
			if a == inspect.Unguarded {
				return "", "are idle"
			}
			return " looks dead", "look dead"
		}
		return pileFindings(r, v, phrase, func(p *inspect.Pile, f *inspect.Finding) {
			proposeClose(v, p, f)
			proposeLook(v, p, f)
		})
	},
	Starved: inspect.UnseenHealth,
})
