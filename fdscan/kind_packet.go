package fdscan

// PacketSocket reads and writes frames of a network interface (packet(7)).
var PacketSocket = registerKind(&Kind{
	Name: "packet", Title: "a socket for the frames of a network interface (packet)", Says: "type, protocol, interface, and what is queued (/proc/PID/net/packet)", Of: AnySocket,
	narrows: ofProtocol("PACKET"), tell: (*lister).tellSocket,
})
