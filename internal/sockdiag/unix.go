package sockdiag

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// What to show of a unix socket (UDIAG_SHOW_* of linux/unix_diag.h).
const (
	unixShowName  = 0x01
	unixShowVFS   = 0x02
	unixShowPeer  = 0x04
	unixShowQueue = 0x10
	unixShowUID   = 0x40
)

// The attributes of a unix_diag reply.
const (
	unixName  = 0
	unixVFS   = 1
	unixPeer  = 2
	unixQueue = 4
	unixShut  = 6
	unixUID   = 7
)

// sizeofUnixMsg is the size of struct unix_diag_msg.
const sizeofUnixMsg = 16

// Unix is one row of the unix table: struct unix_diag_msg and its attributes.
type Unix struct {
	Type  uint8 // unix.SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET
	State uint8 // Established, Listen or Close
	Inode uint32
	// Cookie is SO_COOKIE.
	Cookie uint64
	// Name is the bound name as raw bytes: a path, with a NUL behind it, or
	// an abstract name, which begins with NUL.
	Name string
	// FileInode and FileDevice identify the file of a bound path; the device
	// is the kernel's own number, major<<20 | minor.
	FileInode, FileDevice uint32
	Peer                  uint32 // the peer's inode, 0 for none
	// PeerGone reports a socket that is connected to one that has been closed.
	PeerGone bool
	// Shutdown is the way in which it is shut down: ShutRead, ShutWrite.
	Shutdown uint8
	// RecvQueue is bytes (a listener's queued connections), SendQueue bytes
	// (a listener's backlog limit).
	RecvQueue, SendQueue uint32
	UID                  uint32
	HasUID               bool // Linux 5.3
}

// Unix returns the unix sockets of the namespace; those that came before an
// error come with it.
func (c *Conn) Unix() (rows []Unix, err error) {
	err = c.EachUnix(list(&rows))
	return rows, err
}

// EachUnix is Unix for a table that may be long.
func (c *Conn) EachUnix(rows Rows[Unix]) error {
	b := make([]byte, 24)
	b[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0))
	binary.NativeEndian.PutUint32(b[12:], unixShowName|unixShowVFS|unixShowPeer|unixShowQueue|unixShowUID)
	if err := dump(c, sockDiagByFamily, b, parseUnix, rows); err != nil {
		return fmt.Errorf("sock_diag unix: %w", err)
	}
	return nil
}

func parseUnix(b []byte) (Unix, error) {
	if len(b) < sizeofUnixMsg {
		return Unix{}, fmt.Errorf("parse unix_diag_msg: %d bytes, want %d", len(b), sizeofUnixMsg)
	}
	m := Unix{
		Type: b[1], State: b[2],
		Inode:  binary.NativeEndian.Uint32(b[4:]),
		Cookie: uint64(binary.NativeEndian.Uint32(b[8:])) | uint64(binary.NativeEndian.Uint32(b[12:]))<<32,
	}
	err := attributes(b[sizeofUnixMsg:], func(kind uint16, value []byte) {
		switch {
		case kind == unixName:
			m.Name = string(value)
		case kind == unixVFS && len(value) >= 8:
			m.FileInode = binary.NativeEndian.Uint32(value)
			m.FileDevice = binary.NativeEndian.Uint32(value[4:])
		case kind == unixPeer && len(value) >= 4:
			m.Peer = binary.NativeEndian.Uint32(value)
			m.PeerGone = m.Peer == 0
		case kind == unixShut && len(value) >= 1:
			m.Shutdown = value[0]
		case kind == unixQueue && len(value) >= 8:
			m.RecvQueue = binary.NativeEndian.Uint32(value)
			m.SendQueue = binary.NativeEndian.Uint32(value[4:])
		case kind == unixUID && len(value) >= 4:
			m.UID, m.HasUID = binary.NativeEndian.Uint32(value), true
		}
	})
	if err != nil {
		return Unix{}, err
	}
	return m, nil
}
