// Package sockdiag asks the kernel for its socket tables over netlink
// (sock_diag(7)). It knows the wire format and nothing of processes.
package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"stray/internal/osthread"
)

// sockDiagByFamily is SOCK_DIAG_BY_FAMILY of linux/sock_diag.h.
const sockDiagByFamily = 20

// tcpDiagGetSock is TCPDIAG_GETSOCK of linux/inet_diag.h, the older request. It
// knows TCP only, and is the one that walks the table once for both families.
const tcpDiagGetSock = 18

// receiveBuffer is what the kernel fills at most in one go: netlink_dump
// never makes a datagram larger than 32 KiB.
const receiveBuffer = 32 << 10

// maxTries bounds how often an interrupted dump is asked for again.
const maxTries = 4

// ErrInterrupted says that a table changed during each of several dumps
// (NLM_F_DUMP_INTR): what was received may lack rows.
var ErrInterrupted = errors.New("table changed while it was dumped")

// ErrUnsupported says that this kernel has no such table: the module is absent
// (ENOENT) or the protocol is unknown to it.
var ErrUnsupported = errors.New("not supported by this kernel")

// Transport carries datagrams to and from NETLINK_SOCK_DIAG. The kernel is one
// implementation; recorded bytes are another.
type Transport interface {
	Send(request []byte) error
	// Receive fills buf with one datagram and returns its length.
	Receive(buf []byte) (int, error)
	Close() error
}

// Conn asks questions of one network namespace.
type Conn struct {
	transport Transport
	buf       []byte
	seq       uint32
}

// NewConn returns a Conn that speaks through t.
func NewConn(t Transport) *Conn {
	return &Conn{transport: t, buf: make([]byte, receiveBuffer)}
}

// Dial opens a Conn to the network namespace of the calling thread.
func Dial() (*Conn, error) {
	t, err := dial()
	if err != nil {
		return nil, err
	}
	return NewConn(t), nil
}

// DialIn opens a Conn to the network namespace that nsfd refers to. It needs
// CAP_SYS_ADMIN in that namespace and in the caller's. A netlink socket stays in
// the namespace in which it was made, so the thread that enters it is used once
// and thrown away.
func DialIn(nsfd int) (*Conn, error) {
	var c *Conn
	err := osthread.Discard(func() (err error) {
		if err := unix.Setns(nsfd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		c, err = Dial()
		return err
	})
	return c, err
}

// Close closes the transport.
func (c *Conn) Close() error { return c.transport.Close() }

// Rows takes the rows of a reply, one by one, so that a table need not fit into
// memory.
type Rows[T any] struct {
	// Begin is called before the first row; and again when the kernel says that
	// the table has changed meanwhile: the dump is repeated, and the rows so far
	// do not count.
	Begin func()
	// Row is called with each row, which it may not keep.
	Row func(*T)
}

// list takes rows into a slice.
func list[T any](rows *[]T) Rows[T] {
	return Rows[T]{Begin: func() { *rows = (*rows)[:0] }, Row: func(row *T) { *rows = append(*rows, *row) }}
}

// dump asks for a table and passes on its rows; those that came before an error
// too.
func dump[T any](c *Conn, kind uint16, body []byte, parse func(payload []byte) (T, error), rows Rows[T]) error {
	var row T
	return c.dump(kind, body, rows.Begin, func(payload []byte) (err error) {
		if row, err = parse(payload); err == nil {
			rows.Row(&row)
		}
		return err
	})
}

// dump asks for a table and calls row with each of its rows. When the kernel
// says that the table changed meanwhile, the dump is repeated: before each, begin
// is called. A row that cannot be parsed is an error, but the reply is read to
// its end all the same: before that the kernel takes no other request (EBUSY).
func (c *Conn) dump(kind uint16, body []byte, begin func(), row func(payload []byte) error) (err error) {
	for range maxTries {
		begin()
		err = c.ask(kind, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, body, row)
		if !errors.Is(err, ErrInterrupted) {
			break
		}
	}
	return err
}

// ask sends one request and calls row with each row of the reply. The reply to
// anything but a dump is one row or an error.
func (c *Conn) ask(kind, flags uint16, body []byte, row func(payload []byte) error) error {
	c.seq++
	request := make([]byte, 0, unix.NLMSG_HDRLEN+len(body))
	request = binary.NativeEndian.AppendUint32(request, uint32(unix.NLMSG_HDRLEN+len(body)))
	request = binary.NativeEndian.AppendUint16(request, kind)
	request = binary.NativeEndian.AppendUint16(request, flags)
	request = binary.NativeEndian.AppendUint32(request, c.seq)
	request = binary.NativeEndian.AppendUint32(request, 0)
	request = append(request, body...)
	if err := c.transport.Send(request); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	var broken error
	answered := false
	one := func(payload []byte) {
		answered = true
		if err := row(payload); err != nil && broken == nil {
			broken = err
		}
	}
	interrupted := false
	for {
		n, err := c.transport.Receive(c.buf)
		if err != nil {
			return fmt.Errorf("receive reply: %w", err)
		}
		done, intr, err := c.datagram(c.buf[:n], one)
		interrupted = interrupted || intr
		done = done || answered && flags&unix.NLM_F_DUMP == 0
		switch {
		case err != nil:
			return err
		case done && interrupted:
			return ErrInterrupted
		case done:
			return broken
		}
	}
}

// datagram walks the messages of one datagram.
func (c *Conn) datagram(b []byte, row func(payload []byte)) (done, interrupted bool, err error) {
	for len(b) > 0 {
		if len(b) < unix.NLMSG_HDRLEN {
			return false, interrupted, fmt.Errorf("parse reply: %d bytes left, a header has %d", len(b), unix.NLMSG_HDRLEN)
		}
		length := int(binary.NativeEndian.Uint32(b))
		if length < unix.NLMSG_HDRLEN || length > len(b) {
			return false, interrupted, fmt.Errorf("parse reply: message of %d bytes in %d", length, len(b))
		}
		kind := binary.NativeEndian.Uint16(b[4:])
		flags := binary.NativeEndian.Uint16(b[6:])
		seq := binary.NativeEndian.Uint32(b[8:])
		payload := b[unix.NLMSG_HDRLEN:length]
		b = b[min(align4(length), len(b)):]
		if seq != c.seq {
			continue // the rest of an earlier dump that was given up
		}
		interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
		switch kind {
		case unix.NLMSG_DONE:
			// The payload is the error of a dump that broke off.
			if len(payload) >= 4 {
				err = kernelError(int32(binary.NativeEndian.Uint32(payload)))
			}
			return true, interrupted, err
		case unix.NLMSG_ERROR:
			if len(payload) < 4 {
				return false, interrupted, errors.New("parse reply: short error message")
			}
			return true, interrupted, kernelError(int32(binary.NativeEndian.Uint32(payload)))
		case sockDiagByFamily, tcpDiagGetSock:
			row(payload)
		}
	}
	return false, interrupted, nil
}

// kernelError turns a negative errno of the kernel into an error.
func kernelError(code int32) error {
	if code >= 0 {
		return nil
	}
	errno := syscall.Errno(-code)
	switch errno {
	case unix.ENOENT, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT:
		return fmt.Errorf("%w (%w)", ErrUnsupported, errno)
	}
	return errno
}

func align4(n int) int { return (n + 3) &^ 3 }

// attributeKind masks NLA_F_NESTED and NLA_F_NET_BYTEORDER off an attribute type.
const attributeKind = 0x3fff

// attributes calls f for each netlink attribute of b.
func attributes(b []byte, f func(kind uint16, value []byte)) error {
	for len(b) > 0 {
		if len(b) < unix.SizeofNlAttr {
			return fmt.Errorf("parse attributes: %d bytes left", len(b))
		}
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofNlAttr || length > len(b) {
			return fmt.Errorf("parse attributes: attribute of %d bytes in %d", length, len(b))
		}
		f(binary.NativeEndian.Uint16(b[2:])&attributeKind, b[unix.SizeofNlAttr:length])
		b = b[min(align4(length), len(b)):]
	}
	return nil
}

func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// socket is the Transport to the kernel.
type socket int

func dial() (Transport, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("socket NETLINK_SOCK_DIAG: %w", err)
	}
	// A larger receive buffer lets the kernel put more into each datagram;
	// a refusal costs speed only.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	return socket(fd), nil
}

func (s socket) Send(request []byte) error {
	return unix.Sendto(int(s), request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

func (s socket) Receive(buf []byte) (int, error) {
	for {
		n, from, errno := s.receive(buf)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return 0, errno
		case n > len(buf):
			return 0, fmt.Errorf("datagram of %d bytes, larger than %d", n, len(buf))
		case n == 0:
			return 0, errors.New("connection ended")
		}
		// Port 0 is the kernel; a privileged process may write here too.
		if from.Family == unix.AF_NETLINK && from.Pid == 0 {
			return n, nil
		}
	}
}

// receive is recvfrom(2); n is the length of the datagram even if it does not fit
// (MSG_TRUNC). It allocates nothing: a table comes in thousands of datagrams.
func (s socket) receive(buf []byte) (n int, from unix.RawSockaddrNetlink, errno unix.Errno) {
	size := uint32(unix.SizeofSockaddrNetlink)
	r, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)),
		unix.MSG_TRUNC, uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)))
	return int(r), from, errno
}

func (s socket) Close() error { return unix.Close(int(s)) }
