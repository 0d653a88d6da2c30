package sockdiag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ports asks for the rows of IPv4 TCP, and returns their local ports.
func ports(c *Conn) ([]uint16, error) {
	rows, err := c.Inet(InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: AllStates})
	var ports []uint16
	for _, r := range rows {
		ports = append(ports, r.Local.Port())
	}
	return ports, err
}

func TestDumpOfSeveralDatagrams(t *testing.T) {
	c, _ := connTo([][]byte{
		slices.Concat(listener(1, 0, 1), listener(2, 0, 1)),
		listener(3, 0, 1),
		slices.Concat(listener(4, 0, 1), done(1, 0)),
	})
	got, err := ports(c)
	if err != nil || !slices.Equal(got, []uint16{1, 2, 3, 4}) {
		t.Errorf("rows %v, error %v", got, err)
	}
}

func TestRequestsAreNumberedAndWhole(t *testing.T) {
	c, sent := connTo([][]byte{done(1, 0)}, [][]byte{done(2, 0)})
	for range 2 {
		if _, err := ports(c); err != nil {
			t.Fatal(err)
		}
	}
	for i, request := range sent.requests {
		if n := binary.NativeEndian.Uint32(request); int(n) != len(request) {
			t.Errorf("request %d says %d bytes and has %d", i, n, len(request))
		}
		if kind := binary.NativeEndian.Uint16(request[4:]); kind != sockDiagByFamily {
			t.Errorf("request %d is of type %d", i, kind)
		}
		if flags := binary.NativeEndian.Uint16(request[6:]); flags != unix.NLM_F_REQUEST|unix.NLM_F_DUMP {
			t.Errorf("request %d has flags %#x", i, flags)
		}
		if seq := binary.NativeEndian.Uint32(request[8:]); seq != uint32(i+1) {
			t.Errorf("request %d has number %d", i, seq)
		}
	}
}

// An interrupted dump may lack rows or show them twice: all of it is thrown
// away and asked for again.
func TestInterruptedDumpIsRepeated(t *testing.T) {
	for name, torn := range map[string][][]byte{
		"first row":   {listener(1, unix.NLM_F_DUMP_INTR, 1), slices.Concat(listener(2, 0, 1), done(1, 0))},
		"last row":    {slices.Concat(listener(1, 0, 1), listener(2, unix.NLM_F_DUMP_INTR, 1)), done(1, 0)},
		"end of dump": {listener(1, 0, 1), message(unix.NLMSG_DONE, unix.NLM_F_MULTI|unix.NLM_F_DUMP_INTR, 1, make([]byte, 4))},
	} {
		t.Run(name, func(t *testing.T) {
			c, sent := connTo(torn, [][]byte{slices.Concat(listener(3, 0, 2), done(2, 0))})
			got, err := ports(c)
			if err != nil || !slices.Equal(got, []uint16{3}) || len(sent.requests) != 2 {
				t.Errorf("rows %v, error %v, after %d requests", got, err, len(sent.requests))
			}
		})
	}
}

func TestDumpThatIsAlwaysInterrupted(t *testing.T) {
	var torn [][][]byte
	for seq := range uint32(maxTries) {
		torn = append(torn, [][]byte{slices.Concat(listener(uint16(seq+1), unix.NLM_F_DUMP_INTR, seq+1), done(seq+1, 0))})
	}
	c, sent := connTo(torn...)
	got, err := ports(c)
	if !errors.Is(err, ErrInterrupted) {
		t.Errorf("error %v, want ErrInterrupted", err)
	}
	if len(sent.requests) != maxTries {
		t.Errorf("%d tries, want %d", len(sent.requests), maxTries)
	}
	if !slices.Equal(got, []uint16{maxTries}) {
		t.Errorf("rows %v, want those of the last try", got)
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		reply []byte
		want  error
		text  string
	}{
		{refusal(1, unix.ENOENT), ErrUnsupported, "sock_diag tcp: not supported by this kernel (no such file or directory)"},
		{refusal(1, unix.EPROTONOSUPPORT), ErrUnsupported, "sock_diag tcp: not supported by this kernel (protocol not supported)"},
		{refusal(1, unix.EPERM), unix.EPERM, "sock_diag tcp: operation not permitted"},
		{refusal(1, unix.EINVAL), unix.EINVAL, "sock_diag tcp: invalid argument"},
		// The dump broke off in the middle: its end carries the error.
		{done(1, unix.ENOMEM), unix.ENOMEM, "sock_diag tcp: cannot allocate memory"},
		{done(1, unix.ENOENT), ErrUnsupported, "sock_diag tcp: not supported by this kernel (no such file or directory)"},
	} {
		c, sent := connTo([][]byte{tt.reply})
		_, err := ports(c)
		if !errors.Is(err, tt.want) || err.Error() != tt.text {
			t.Errorf("error %v, want %s", err, tt.text)
		}
		if len(sent.requests) != 1 {
			t.Errorf("%v: %d requests: it would be refused again", err, len(sent.requests))
		}
	}
}

func TestRowsBeforeAnErrorCome(t *testing.T) {
	c, _ := connTo([][]byte{listener(1, 0, 1), done(1, unix.ENOMEM)})
	got, err := ports(c)
	if !errors.Is(err, unix.ENOMEM) || !slices.Equal(got, []uint16{1}) {
		t.Errorf("rows %v, error %v", got, err)
	}
}

func TestTransportFails(t *testing.T) {
	c, _ := connTo([][]byte{listener(1, 0, 1)}) // the dump never ends
	got, err := ports(c)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !slices.Equal(got, []uint16{1}) {
		t.Errorf("rows %v, error %v", got, err)
	}
}

// What is left of a dump that was given up comes before the next reply.
func TestStaleMessagesAreSkipped(t *testing.T) {
	c, _ := connTo(
		[][]byte{refusal(1, unix.EPERM)},
		[][]byte{
			slices.Concat(listener(1, unix.NLM_F_DUMP_INTR, 1), done(1, 0)),
			slices.Concat(done(1, unix.ENOMEM), listener(2, 0, 2)),
			slices.Concat(refusal(1, unix.EPERM), done(2, 0)),
		},
	)
	if _, err := ports(c); !errors.Is(err, unix.EPERM) {
		t.Fatalf("error %v, want EPERM", err)
	}
	got, err := ports(c)
	if err != nil || !slices.Equal(got, []uint16{2}) {
		t.Errorf("rows %v, error %v", got, err)
	}
}

func TestMessagesOfOtherTypesAreSkipped(t *testing.T) {
	c, _ := connTo([][]byte{slices.Concat(message(unix.NLMSG_NOOP, 0, 1, nil), message(99, 0, 1, []byte("what")), listener(1, 0, 1), done(1, 0))})
	got, err := ports(c)
	if err != nil || !slices.Equal(got, []uint16{1}) {
		t.Errorf("rows %v, error %v", got, err)
	}
}

func TestMalformedReplies(t *testing.T) {
	long := listener(1, 0, 1)
	binary.NativeEndian.PutUint32(long, uint32(len(long)+4))
	short := listener(1, 0, 1)
	binary.NativeEndian.PutUint32(short, unix.NLMSG_HDRLEN-1)
	badAttribute := message(sockDiagByFamily, 0, 1, append(make([]byte, sizeofInetMsg), 200, 0, attrV6Only, 0))
	for name, tt := range map[string]struct {
		reply []byte
		want  string
	}{
		"datagram shorter than a header":   {long[:10], "10 bytes left"},
		"message longer than its datagram": {long, "message of 92 bytes in 88"},
		"message shorter than a header":    {short, "message of 15 bytes in 88"},
		"error without a number":           {message(unix.NLMSG_ERROR, 0, 1, nil), "short error message"},
		"row without its struct":           {slices.Concat(message(sockDiagByFamily, 0, 1, make([]byte, 71)), done(1, 0)), "inet_diag_msg: 71 bytes, want 72"},
		"attribute longer than its row":    {slices.Concat(badAttribute, done(1, 0)), "attribute of 200 bytes in 4"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := connTo([][]byte{tt.reply})
			rows, err := ports(c)
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(rows) != 0 {
				t.Errorf("rows %v, error %v, want %q", rows, err, tt.want)
			}
		})
	}
}

// The rest of the reply is read even when a row is bad, so that the next
// request finds the kernel ready.
func TestBadRowDoesNotHideTheOthers(t *testing.T) {
	c, sent := connTo([][]byte{
		slices.Concat(listener(1, 0, 1), message(sockDiagByFamily, 0, 1, []byte("bad")), listener(2, 0, 1)),
		slices.Concat(listener(3, 0, 1), done(1, 0)),
	})
	got, err := ports(c)
	if err == nil || !slices.Equal(got, []uint16{1, 2, 3}) {
		t.Errorf("rows %v, error %v", got, err)
	}
	if len(sent.pending) != 0 {
		t.Errorf("%d datagrams are left unread", len(sent.pending))
	}
}

// A message need not end on a multiple of four when it is the last one.
func TestUnpaddedLastMessage(t *testing.T) {
	end := done(1, 0)
	c, _ := connTo([][]byte{append(listener(1, 0, 1), end...)}, nil)
	if _, err := ports(c); err != nil {
		t.Fatal(err)
	}
	odd := message(99, 0, 1, []byte("odd"))
	c, _ = connTo([][]byte{odd[:unix.NLMSG_HDRLEN+3], done(1, 0)})
	if _, err := ports(c); err != nil {
		t.Error(err)
	}
}

func TestAttributes(t *testing.T) {
	b := appendAttribute(nil, 5, []byte("abc"))
	b = appendAttribute(b, 6, nil)
	b = appendAttribute(b, 7|unix.NLA_F_NESTED, []byte{1, 2, 3, 4})
	if len(b)%4 != 0 {
		t.Errorf("%d bytes, not padded", len(b))
	}
	got := map[uint16][]byte{}
	if err := attributes(b, func(kind uint16, value []byte) { got[kind] = value }); err != nil {
		t.Fatal(err)
	}
	want := map[uint16][]byte{5: []byte("abc"), 6: {}, 7: {1, 2, 3, 4}}
	if len(got) != len(want) {
		t.Errorf("attributes %v, want %v", got, want)
	}
	for kind, value := range want {
		if !bytes.Equal(got[kind], value) {
			t.Errorf("attribute %d: %q, want %q", kind, got[kind], value)
		}
	}
}
