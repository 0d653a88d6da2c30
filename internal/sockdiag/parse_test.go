package sockdiag

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseInet(t *testing.T) {
	b := make([]byte, sizeofInetMsg)
	b[0], b[1], b[2], b[3] = unix.AF_INET6, Established, 1, 7
	binary.BigEndian.PutUint16(b[4:], 18080)
	binary.BigEndian.PutUint16(b[6:], 40000)
	copy(b[8:], netip.IPv6Loopback().AsSlice())
	copy(b[24:], netip.MustParseAddr("2001:db8::5").AsSlice())
	binary.NativeEndian.PutUint32(b[40:], 3)
	binary.NativeEndian.PutUint32(b[44:], 0x89abcdef)
	binary.NativeEndian.PutUint32(b[48:], 0x01234567)
	binary.NativeEndian.PutUint32(b[52:], 1500)
	binary.NativeEndian.PutUint32(b[56:], 11)
	binary.NativeEndian.PutUint32(b[60:], 22)
	binary.NativeEndian.PutUint32(b[64:], 1000)
	binary.NativeEndian.PutUint32(b[68:], 41877)
	b = appendAttribute(b, 8, []byte{0}) // INET_DIAG_SHUTDOWN, of no interest
	b = appendAttribute(b, attrV6Only, []byte{1})
	b = appendAttribute(b, attrCgroupID, binary.NativeEndian.AppendUint64(nil, 1<<40))
	want := Inet{
		Family: unix.AF_INET6, State: Established, Timer: 1, Retrans: 7, V6Only: true, HasV6Only: true,
		Local: netip.MustParseAddrPort("[::1]:18080"), Remote: netip.MustParseAddrPort("[2001:db8::5]:40000"),
		Interface: 3, Cookie: 0x0123456789abcdef, Expires: 1500, RecvQueue: 11, SendQueue: 22, UID: 1000, Inode: 41877, CgroupID: 1 << 40,
	}
	got, err := parseInet(b)
	if diff := cmp.Diff(want, got, comparable); err != nil || diff != "" {
		t.Errorf("error %v, -want +got:\n%s", err, diff)
	}
}

// comparable makes cmp use == for addresses, which have no exported fields.
var comparable = cmp.Options{cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}

// Attributes too short for their meaning are those of a kernel that means
// something else by them.
func TestShortAttributesAreIgnored(t *testing.T) {
	b := make([]byte, sizeofInetMsg)
	b = appendAttribute(b, attrV6Only, nil)
	b = appendAttribute(b, attrCgroupID, make([]byte, 7))
	got, err := parseInet(b)
	if err != nil || got.HasV6Only || got.CgroupID != 0 {
		t.Errorf("row %+v, error %v", got, err)
	}
	b = make([]byte, sizeofUnixMsg)
	for _, kind := range []uint16{unixVFS, unixPeer, unixQueue, unixUID} {
		b = appendAttribute(b, kind, []byte{1, 2, 3})
	}
	if got, err := parseUnix(b); err != nil || got != (Unix{}) {
		t.Errorf("row %+v, error %v", got, err)
	}
}

func TestParseUnix(t *testing.T) {
	words := func(values ...uint32) (b []byte) {
		for _, v := range values {
			b = binary.NativeEndian.AppendUint32(b, v)
		}
		return b
	}
	b := []byte{unix.AF_UNIX, unix.SOCK_SEQPACKET, Listen, 0}
	b = append(b, words(41877, 0x89abcdef, 0x01234567)...)
	b = appendAttribute(b, unixName, []byte("\x00abstract\x00\xff"))
	b = appendAttribute(b, unixVFS, words(77, 8<<20|1))
	b = appendAttribute(b, unixPeer, words(41878))
	b = appendAttribute(b, unixQueue, words(3, 128))
	b = appendAttribute(b, unixUID, words(1000))
	want := Unix{
		Type: unix.SOCK_SEQPACKET, State: Listen, Inode: 41877, Cookie: 0x0123456789abcdef, Name: "\x00abstract\x00\xff",
		FileInode: 77, FileDevice: 8<<20 | 1, Peer: 41878, RecvQueue: 3, SendQueue: 128, UID: 1000, HasUID: true,
	}
	got, err := parseUnix(b)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, -want +got:\n%s", err, diff)
	}
}

// A short row has no value besides its error, wherever it is cut off.
func TestCutOffRows(t *testing.T) {
	inet := appendAttribute(make([]byte, sizeofInetMsg), attrCgroupID, make([]byte, 8))
	inet[0] = unix.AF_INET
	for n := range inet {
		if n == sizeofInetMsg {
			continue // no attributes is allowed
		}
		if row, err := parseInet(inet[:n]); err == nil || row != (Inet{}) {
			t.Errorf("%d bytes: row %+v, error %v", n, row, err)
		}
	}
	local := appendAttribute(make([]byte, sizeofUnixMsg), unixQueue, make([]byte, 8))
	for n := range local {
		if n == sizeofUnixMsg {
			continue
		}
		if row, err := parseUnix(local[:n]); err == nil || row != (Unix{}) {
			t.Errorf("%d bytes: row %+v, error %v", n, row, err)
		}
	}
}

func TestEncodeInetRequest(t *testing.T) {
	_, plain := InetRequest{Family: unix.AF_INET6, Protocol: unix.IPPROTO_UDP, States: AllStates}.encode(0)
	if len(plain) != 56 || plain[0] != unix.AF_INET6 || plain[1] != unix.IPPROTO_UDP {
		t.Errorf("request % x", plain)
	}
	if states := binary.NativeEndian.Uint32(plain[4:]); states != 1<<14-2 {
		t.Errorf("states %#x", states)
	}
	if !slices.Equal(plain[8:48], make([]byte, 40)) || binary.NativeEndian.Uint64(plain[48:]) != 1<<64-1 {
		t.Errorf("id % x is that of one socket", plain[8:])
	}
	_, multipath := InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_MPTCP, States: AllStates, PortLow: 80, PortHigh: 90}.encode(0)
	if multipath[1] != unix.IPPROTO_TCP {
		t.Errorf("protocol %d in one byte", multipath[1])
	}
	got := map[uint16]int{}
	err := attributes(multipath[56:], func(kind uint16, value []byte) {
		got[kind] = len(value)
		if kind == reqProtocol && binary.NativeEndian.Uint32(value) != unix.IPPROTO_MPTCP {
			t.Errorf("protocol % x in the attribute", value)
		}
	})
	if err != nil || !cmp.Equal(got, map[uint16]int{reqBytecode: 16, reqProtocol: 4}) {
		t.Errorf("attributes %v, error %v", got, err)
	}
}

// The filter lets exactly the range pass, by the rules of inet_diag_bc_run.
func TestBytecode(t *testing.T) {
	for _, r := range [][2]uint16{{1, 1}, {80, 80}, {80, 90}, {1, 65535}, {65535, 65535}} {
		code := InetRequest{PortLow: r[0], PortHigh: r[1]}.bytecode()
		for _, port := range []uint16{1, 79, 80, 81, 90, 91, 65534, 65535, r[0], r[1]} {
			want := r[0] <= port && port <= r[1]
			if got := passes(t, code, port); got != want {
				t.Errorf("range %d-%d: port %d passes: %v", r[0], r[1], port, got)
			}
		}
	}
}

// passes runs the two operations that the filter uses: a jump to the end of the
// code lets pass, one beyond rejects.
func passes(t *testing.T, code []byte, port uint16) bool {
	t.Helper()
	at := 0
	for at < len(code) {
		op, yes := code[at], int(code[at+1])
		no, operand := int(binary.NativeEndian.Uint16(code[at+2:])), binary.NativeEndian.Uint16(code[at+6:])
		holds := map[uint8]bool{opSourceGE: port >= operand, opSourceLE: port <= operand}
		if _, known := holds[op]; !known {
			t.Fatalf("operation %d", op)
		}
		if holds[op] {
			at += yes
		} else {
			at += no
		}
	}
	return at == len(code)
}
