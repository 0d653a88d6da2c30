package fdscan

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// PacketSocket reads and writes frames of a network interface (packet(7)).
var PacketSocket = registerKind(&Kind{
	Name: "packet", Title: "a socket for the frames of a network interface (packet)", Says: "type, protocol, interface, and what is queued (/proc/PID/net/packet)", Of: AnySocket,
	narrows: ofProtocol("PACKET"), tell: tellPacket,
})

// tellPacket tells of a row of /proc/PID/net/packet. Rmem is what the buffers take.
func tellPacket(_ *lister, d *Descriptor) string {
	types := map[string]string{fmt.Sprint(unix.SOCK_RAW): "raw", fmt.Sprint(unix.SOCK_DGRAM): "dgram", fmt.Sprint(unix.SOCK_PACKET): "packet"}
	protocol, iface := "", "every interface"
	switch p := d.detail("Proto"); p {
	case "", "0000":
	case fmt.Sprintf("%04x", unix.ETH_P_ALL):
		protocol = "every protocol"
	default:
		protocol = "protocol 0x" + p
	}
	if i := d.detail("Iface"); i != "0" {
		iface = labelled("interface", i)
	}
	return sentence(strings.TrimSpace("packet "+types[d.detail("Type")]), protocol, iface, queued(d.detail("Rmem"), "unread"))
}
