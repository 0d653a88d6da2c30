package sockdiag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The attributes of linux/inet_diag.h that tell of a connection's health. Each
// of them has to be asked for.
const (
	attrInfo       = 2
	attrCongestion = 4
	attrMemory     = 7
	attrShutdown   = 8
)

// healthExtensions is the idiag_ext of a request for them: a bit for each.
const healthExtensions = 1<<(attrInfo-1) | 1<<(attrCongestion-1) | 1<<(attrMemory-1) | 1<<(attrShutdown-1)

// Connection is a row of an inet table with what the kernel knows of its
// health. Rows of TIME_WAIT, of a handshake and of an orphan in FIN_WAIT2 have
// nothing of that.
type Connection struct {
	Inet
	TCP      TCPInfo   // meaningful when HasTCP
	MPTCP    MPTCPInfo // meaningful when HasMPTCP
	Memory   Memory    // meaningful when HasMemory
	HasTCP   bool
	HasMPTCP bool
	// HasMemory: Linux 4.7 and later.
	HasMemory bool
	// Shutdown is the way in which the socket is shut down: ShutRead, ShutWrite.
	Shutdown uint8
	// Congestion is the name of the congestion control.
	Congestion string
}

// The bits of Connection.Shutdown: RCV_SHUTDOWN and SEND_SHUTDOWN of
// include/net/sock.h.
const (
	ShutRead  = 1
	ShutWrite = 2
)

// EachConnection passes on the sockets that r asks for, each with its health.
func (c *Conn) EachConnection(r InetRequest, rows Rows[Connection]) error {
	var current Connection
	kind, body := r.encode(healthExtensions)
	err := c.dump(kind, body, rows.Begin, func(payload []byte) error {
		err := current.parse(payload, r.Protocol)
		if err == nil {
			rows.Row(&current)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("sock_diag %s: %w", r.name(), err)
	}
	return nil
}

// FindConnection asks for the one socket with these ends. ErrNotFound says that
// there is none; a listener, which the kernel finds in its place, is none.
// Family, Protocol, Local and Remote of id have to be set; a Cookie other than 0
// has to be the socket's.
func (c *Conn) FindConnection(id InetID, row *Connection) error {
	if id.Cookie == 0 {
		id.Cookie = ^uint64(0) // INET_DIAG_NOCOOKIE
	}
	found := false
	err := c.ask(sockDiagByFamily, unix.NLM_F_REQUEST, id.encode(healthExtensions), func(payload []byte) error {
		found = true
		return row.parse(payload, id.Protocol)
	})
	switch {
	case errors.Is(err, unix.ENOENT), err == nil && (!found || unmapped(row.Remote) != unmapped(id.Remote)):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("sock_diag: %w", err)
	}
	return nil
}

// ErrNotFound says that there is no such socket.
var ErrNotFound = errors.New("no such socket")

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// parse reads a struct inet_diag_msg and its attributes.
func (m *Connection) parse(b []byte, protocol uint32) error {
	congestion := m.Congestion
	*m = Connection{}
	if err := m.Inet.parse(b); err != nil {
		return err
	}
	err := attributes(b[sizeofInetMsg:], func(kind uint16, value []byte) {
		switch kind {
		case attrV6Only, attrCgroupID:
			m.attribute(kind, value)
		case attrInfo:
			if protocol == unix.IPPROTO_MPTCP {
				m.MPTCP.parse(value)
				m.HasMPTCP = true
			} else {
				m.TCP.parse(value)
				m.HasTCP = true
			}
		case attrMemory:
			m.Memory.parse(value)
			m.HasMemory = true
		case attrShutdown:
			if len(value) > 0 {
				m.Shutdown = value[0]
			}
		case attrCongestion:
			// Most rows name what the one before has named.
			name, _, _ := bytes.Cut(value, []byte{0})
			if m.Congestion = congestion; string(name) != congestion {
				m.Congestion = string(name)
			}
		}
	})
	if err != nil {
		*m = Connection{}
	}
	return err
}

// encode makes a struct inet_diag_req_v2 that names one socket.
func (id InetID) encode(extensions uint8) []byte {
	body := make([]byte, 56)
	body[0], body[1], body[2] = id.Family, uint8(id.Protocol), extensions
	if id.Protocol > 255 {
		body[1] = unix.IPPROTO_TCP
	}
	binary.NativeEndian.PutUint32(body[4:], AllStates)
	binary.BigEndian.PutUint16(body[8:], id.Local.Port())
	binary.BigEndian.PutUint16(body[10:], id.Remote.Port())
	putAddress(body[12:28], id.Local.Addr())
	putAddress(body[28:44], id.Remote.Addr())
	binary.NativeEndian.PutUint32(body[44:], id.Interface)
	binary.NativeEndian.PutUint32(body[48:], uint32(id.Cookie))
	binary.NativeEndian.PutUint32(body[52:], uint32(id.Cookie>>32))
	if id.Protocol > 255 {
		body = appendAttribute(body, reqProtocol, binary.NativeEndian.AppendUint32(nil, id.Protocol))
	}
	return body
}
