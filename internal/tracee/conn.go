package tracee

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// request is the one thing that the caller says to its helper. The end of the
// connection, at whatever time, says that it is to abort and to let go.
type request struct {
	Target    Target
	Options   Options
	Operation string
	Plan      json.RawMessage
}

// reply is what the helper says; one field is set.
type reply struct {
	// Ready comes unasked, once the helper is proof against signals.
	Ready bool        `json:",omitempty"`
	Stuck *StuckError `json:",omitempty"`
	// Final is the last word: the target has been let go.
	Final *finalReply `json:",omitempty"`
}

type finalReply struct {
	Report  Report
	Result  json.RawMessage `json:",omitempty"`
	Failure *failure        `json:",omitempty"`
}

// conn is one end of the connection: a SOCK_SEQPACKET socket, one message in
// each packet.
type conn int

// packetSize limits messages, plans and results above all. It is what the
// smallest usual socket buffer takes.
const packetSize = 128 << 10

func (c conn) send(message any) error {
	packet, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(packet) > packetSize {
		return fmt.Errorf("a message of %d bytes is too long", len(packet))
	}
	return unix.Sendto(int(c), packet, unix.MSG_NOSIGNAL, nil)
}

// errSilence is the error when the time to receive something is over.
var errSilence = errors.New("it does not answer")

// receive waits for the next message; io.EOF is the end of the connection.
func (c conn) receive(message any) error {
	buffer := make([]byte, packetSize)
	for {
		n, _, err := unix.Recvfrom(int(c), buffer, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN: // SO_RCVTIMEO
			return errSilence
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		}
		return json.Unmarshal(buffer[:n], message)
	}
}

// limit sets how long receive waits.
func (c conn) limit(d time.Duration) error {
	timeout := unix.NsecToTimeval(d.Nanoseconds())
	return unix.SetsockoptTimeval(int(c), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
}
