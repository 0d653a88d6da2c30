package fdscan

import "strings"

// InetSocket is a socket of IPv4 or IPv6, whatever its protocol.
var InetSocket = registerKind(&Kind{
	Name: "inet", Title: "a socket of IPv4 or IPv6", Says: "protocol, addresses, state, and what is queued", Of: AnySocket,
	narrows: ofProtocol(
		"TCP", "TCPv6", "MPTCP", "MPTCPv6", "UDP", "UDPv6", "UDP-Lite", "UDPLITEv6", "RAW", "RAWv6", "PING", "PINGv6",
		"SCTP", "SCTPv6", "DCCP", "DCCPv6", "L2TP/IP", "L2TP/IPv6", "SMC", "SMC6",
	),
	tell: func(l *lister, d *Descriptor) string {
		switch {
		case d.Socket != nil:
			return sentence(d.Socket.words(), d.elsewhere())
		case strings.HasPrefix(d.protocol, "RAW"):
			return tellNamed(l, d)
		}
		return strings.ToLower(strings.TrimSuffix(d.protocol, "v6")) + ", in no table: not bound yet, or closed"
	},
})
