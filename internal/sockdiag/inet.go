package sockdiag

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The states of idiag_state: enum of include/net/tcp_states.h.
const (
	Established   = 1
	SynSent       = 2
	SynRecv       = 3
	FinWait1      = 4
	FinWait2      = 5
	TimeWait      = 6
	Close         = 7
	CloseWait     = 8
	LastAck       = 9
	Listen        = 10
	Closing       = 11
	NewSynRecv    = 12
	BoundInactive = 13 // asked for since Linux 6.8; answered as Close
)

// AllStates asks for every state, bound-only sockets included.
const AllStates = 1<<(BoundInactive+1) - 2

// The attributes of linux/inet_diag.h that are read or sent.
const (
	reqBytecode = 1
	reqProtocol = 3

	attrV6Only   = 11
	attrCgroupID = 21
)

// The operations of the filter bytecode (enum of linux/inet_diag.h).
const (
	opSourceGE = 2
	opSourceLE = 3
)

// sizeofInetMsg is the size of struct inet_diag_msg.
const sizeofInetMsg = 72

// InetRequest asks for the sockets of one family and protocol.
type InetRequest struct {
	// Family is unix.AF_INET, unix.AF_INET6 or, for TCP, unix.AF_UNSPEC: both
	// families by one walk over the table.
	Family   uint8
	Protocol uint32 // unix.IPPROTO_TCP, _UDP, _UDPLITE, _MPTCP
	States   uint32 // a bit for each state
	// PortLow and PortHigh bound the local port; both 0 asks for all.
	PortLow, PortHigh uint16
}

// Inet is one row of an inet table: struct inet_diag_msg and its attributes.
type Inet struct {
	Family  uint8
	State   uint8
	Timer   uint8 // 0 none, 1 retransmit, 2 keepalive, 3 TIME_WAIT, 4 window probe
	Retrans uint8
	// V6Only is IPV6_V6ONLY; meaningful when HasV6Only.
	V6Only, HasV6Only bool
	Local, Remote     netip.AddrPort
	Interface         uint32
	Cookie            uint64
	Expires           uint32 // milliseconds
	RecvQueue         uint32 // a listener's queued connections
	SendQueue         uint32 // a listener's backlog limit
	UID               uint32
	Inode             uint32
	CgroupID          uint64 // 0 when not reported (Linux 5.9)
}

// Inet returns the rows that r asks for; those that came before an error come
// with it.
func (c *Conn) Inet(r InetRequest) (rows []Inet, err error) {
	err = c.EachInet(r, list(&rows))
	return rows, err
}

// EachInet is Inet for a table that may be long.
func (c *Conn) EachInet(r InetRequest, rows Rows[Inet]) error {
	kind, body := r.encode(0)
	if err := dump(c, kind, body, parseInet, rows); err != nil {
		return fmt.Errorf("sock_diag %s: %w", r.name(), err)
	}
	return nil
}

func (r InetRequest) name() string {
	names := map[uint32]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_UDPLITE: "udplite", unix.IPPROTO_MPTCP: "mptcp"}
	if r.Family == unix.AF_INET6 {
		return names[r.Protocol] + "6"
	}
	return names[r.Protocol]
}

// encode makes a struct inet_diag_req_v2, or for both families the older
// inet_diag_req, and its attributes. extensions has a bit for each attribute that
// is wanted and does not come unasked.
func (r InetRequest) encode(extensions uint8) (kind uint16, b []byte) {
	const sizeofID = 48 // struct inet_diag_sockid, in both
	kind = sockDiagByFamily
	var id []byte
	if r.Family == unix.AF_UNSPEC && r.Protocol == unix.IPPROTO_TCP {
		kind = tcpDiagGetSock
		b = make([]byte, 60, 96)
		id = b[4 : 4+sizeofID]
		b[3] = extensions
		binary.NativeEndian.PutUint32(b[52:], r.States)
	} else {
		b = make([]byte, 56, 96)
		id = b[8 : 8+sizeofID]
		b[0], b[1], b[2] = r.Family, uint8(r.Protocol), extensions
		if r.Protocol > 255 {
			b[1] = unix.IPPROTO_TCP
		}
		binary.NativeEndian.PutUint32(b[4:], r.States)
	}
	// The cookie INET_DIAG_NOCOOKIE: not one socket.
	for i := sizeofID - 8; i < sizeofID; i++ {
		id[i] = 0xff
	}
	if r.PortLow|r.PortHigh != 0 {
		b = appendAttribute(b, reqBytecode, r.bytecode())
	}
	if r.Protocol > 255 {
		b = appendAttribute(b, reqProtocol, binary.NativeEndian.AppendUint32(nil, r.Protocol))
	}
	return kind, b
}

// bytecode lets a socket pass whose source port lies in the range. Each test is
// two struct inet_diag_bc_op: the operation with the distances to jump when it
// holds (yes, one byte) and when not (no), and then the port in the place of no.
// A jump to 4 beyond the end rejects.
func (r InetRequest) bytecode() []byte {
	const end = 16
	op := func(b []byte, code uint8, port uint16) []byte {
		no := uint16(end + 4 - len(b))
		b = append(b, code, 8)
		b = binary.NativeEndian.AppendUint16(b, no)
		b = append(b, 0, 0)
		return binary.NativeEndian.AppendUint16(b, port)
	}
	return op(op(make([]byte, 0, end), opSourceGE, r.PortLow), opSourceLE, r.PortHigh)
}

func parseInet(b []byte) (Inet, error) {
	var m Inet
	if err := m.parse(b); err != nil {
		return Inet{}, err
	}
	if err := attributes(b[sizeofInetMsg:], m.attribute); err != nil {
		return Inet{}, err
	}
	return m, nil
}

// parse reads a struct inet_diag_msg, without its attributes.
func (m *Inet) parse(b []byte) error {
	if len(b) < sizeofInetMsg {
		return fmt.Errorf("parse inet_diag_msg: %d bytes, want %d", len(b), sizeofInetMsg)
	}
	*m = Inet{
		Family: b[0], State: b[1], Timer: b[2], Retrans: b[3],
		Interface: binary.NativeEndian.Uint32(b[40:]),
		// The cookie is two 32-bit words, the low one first.
		Cookie:    uint64(binary.NativeEndian.Uint32(b[44:])) | uint64(binary.NativeEndian.Uint32(b[48:]))<<32,
		Expires:   binary.NativeEndian.Uint32(b[52:]),
		RecvQueue: binary.NativeEndian.Uint32(b[56:]),
		SendQueue: binary.NativeEndian.Uint32(b[60:]),
		UID:       binary.NativeEndian.Uint32(b[64:]),
		Inode:     binary.NativeEndian.Uint32(b[68:]),
	}
	m.Local = addrPort(m.Family, b[8:24], binary.BigEndian.Uint16(b[4:]))
	m.Remote = addrPort(m.Family, b[24:40], binary.BigEndian.Uint16(b[6:]))
	return nil
}

// attribute reads one of those that come unasked.
func (m *Inet) attribute(kind uint16, value []byte) {
	switch {
	case kind == attrV6Only && len(value) >= 1:
		m.V6Only, m.HasV6Only = value[0] != 0, true
	case kind == attrCgroupID && len(value) >= 8:
		m.CgroupID = binary.NativeEndian.Uint64(value)
	}
}

func addrPort(family uint8, b []byte, port uint16) netip.AddrPort {
	if family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[:16])), port)
}
