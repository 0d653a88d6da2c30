package fdscan

// InetSocket is a socket of IPv4 or IPv6, whatever its protocol.
var InetSocket = registerKind(&Kind{
	Name: "inet", Title: "a socket of IPv4 or IPv6", Says: "protocol, addresses, state, and what is queued", Of: AnySocket,
	narrows: ofProtocol(
		"TCP", "TCPv6", "MPTCP", "MPTCPv6", "UDP", "UDPv6", "UDP-Lite", "UDPLITEv6", "RAW", "RAWv6", "PING", "PINGv6",
		"SCTP", "SCTPv6", "DCCP", "DCCPv6", "L2TP/IP", "L2TP/IPv6", "SMC", "SMC6",
	),
	tell: func(l *lister, d *Descriptor) string {
		if d.Socket == nil {
			return tellNamed(l, d)
		}
		return sentence(d.Socket.words(), d.elsewhere())
	},
})
