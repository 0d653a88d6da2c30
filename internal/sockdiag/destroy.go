package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sockDestroy is SOCK_DESTROY of linux/sock_diag.h (Linux 4.5, with
// CONFIG_INET_DIAG_DESTROY).
const sockDestroy = 21

// InetID names one socket: the struct inet_diag_sockid that a dump reports.
type InetID struct {
	Family        uint8
	Protocol      uint32 // unix.IPPROTO_TCP or _UDP
	Local, Remote netip.AddrPort
	Interface     uint32
	Cookie        uint64
}

// Destroy has the kernel abort a socket: its holders get ECONNABORTED, a peer
// gets a reset. The cookie makes sure that it is the one that was seen: ENOENT
// when that is gone. It needs CAP_NET_ADMIN in the namespace (EPERM), and a
// protocol that can be aborted (EOPNOTSUPP).
func (c *Conn) Destroy(id InetID) error {
	if id.Protocol > 255 {
		return fmt.Errorf("destroy socket: %w", unix.EOPNOTSUPP)
	}
	body := id.encode(0)
	c.seq++
	request := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	request = binary.NativeEndian.AppendUint16(request, sockDestroy)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	request = binary.NativeEndian.AppendUint32(request, c.seq)
	request = binary.NativeEndian.AppendUint32(request, 0)
	if err := c.transport.Send(append(request, body...)); err != nil {
		return fmt.Errorf("destroy socket: %w", err)
	}
	n, err := c.transport.Receive(c.buf)
	if err != nil {
		return fmt.Errorf("destroy socket: %w", err)
	}
	reply := c.buf[:n]
	if len(reply) < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(reply[4:]) != unix.NLMSG_ERROR {
		return errors.New("destroy socket: the answer is no acknowledgement")
	}
	if code := int32(binary.NativeEndian.Uint32(reply[unix.NLMSG_HDRLEN:])); code < 0 {
		return fmt.Errorf("destroy socket: %w", unix.Errno(-code))
	}
	return nil
}

func putAddress(b []byte, a netip.Addr) {
	switch {
	case a.Is4():
		four := a.As4()
		copy(b, four[:])
	case a.Is6():
		sixteen := a.As16()
		copy(b, sixteen[:])
	}
}
