package sockdiag

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// replay is a Transport that answers each request with the next reply, a list
// of datagrams. Sequence numbers are those of the recording: a new Conn numbers
// its requests from 1.
type replay struct {
	replies  [][][]byte
	requests [][]byte
	pending  [][]byte
}

func (r *replay) Send(request []byte) error {
	r.requests = append(r.requests, request)
	if len(r.replies) > 0 {
		r.pending = append(r.pending, r.replies[0]...)
		r.replies = r.replies[1:]
	}
	return nil
}

func (r *replay) Receive(buf []byte) (int, error) {
	if len(r.pending) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(buf, r.pending[0])
	r.pending = r.pending[1:]
	return n, nil
}

func (r *replay) Close() error { return nil }

// connTo returns a Conn whose requests are answered by replies, in order.
func connTo(replies ...[][]byte) (*Conn, *replay) {
	r := &replay{replies: replies}
	return NewConn(r), r
}

// message frames a payload as netlink does.
func message(kind, flags uint16, seq uint32, payload []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, payload...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// done is the message that ends a dump, with its error.
func done(seq uint32, errno unix.Errno) []byte {
	return message(unix.NLMSG_DONE, unix.NLM_F_MULTI, seq, binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))))
}

// refusal is the message that answers a request that cannot be carried out.
func refusal(seq uint32, errno unix.Errno) []byte {
	payload := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	// The header of the request follows.
	return message(unix.NLMSG_ERROR, 0, seq, append(payload, make([]byte, unix.NLMSG_HDRLEN)...))
}

// listener is a row as the kernel would send it.
func listener(port uint16, flags uint16, seq uint32) []byte {
	b := make([]byte, sizeofInetMsg)
	b[0], b[1] = unix.AF_INET, Listen
	binary.BigEndian.PutUint16(b[4:], port)
	return message(sockDiagByFamily, unix.NLM_F_MULTI|flags, seq, b)
}

// readDatagrams reads recorded datagrams: one for each paragraph of hexadecimal
// digits; lines that begin with '#' are comments.
func readDatagrams(t testing.TB, name string) (datagrams [][]byte) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text) + "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
		case line != "":
			digits.WriteString(strings.ReplaceAll(line, " ", ""))
		case digits.Len() > 0:
			b, err := hex.DecodeString(digits.String())
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			datagrams = append(datagrams, b)
			digits.Reset()
		}
	}
	return datagrams
}

// writeDatagrams is the inverse of readDatagrams.
func writeDatagrams(t testing.TB, name, comment string, datagrams [][]byte) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", comment)
	for _, datagram := range datagrams {
		b.WriteString("\n")
		for i := 0; i < len(datagram); i += 16 {
			fmt.Fprintf(&b, "% x\n", datagram[i:min(i+16, len(datagram))])
		}
	}
	if err := os.WriteFile("testdata/"+name+".hex", []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// messages cuts datagrams into their messages.
func messages(datagrams [][]byte) (all [][]byte) {
	for _, b := range datagrams {
		for len(b) > 0 {
			n := align4(int(binary.NativeEndian.Uint32(b)))
			all, b = append(all, b[:n]), b[n:]
		}
	}
	return all
}
