package sockdiag

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// Every parser returns an error or a value, and never both; none panics.

func FuzzParseInet(f *testing.F) {
	for _, name := range recordings {
		for _, m := range messages(readDatagrams(f, name)) {
			f.Add(m[unix.NLMSG_HDRLEN:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		row, err := parseInet(b)
		if err != nil && row != (Inet{}) {
			t.Errorf("error %v with row %+v", err, row)
		}
		if err == nil && (row.Family != b[0] || !row.Local.Addr().IsValid() || !row.Remote.Addr().IsValid()) {
			t.Errorf("row %+v", row)
		}
	})
}

func FuzzParseUnix(f *testing.F) {
	for _, m := range messages(readDatagrams(f, "unix")) {
		f.Add(m[unix.NLMSG_HDRLEN:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		row, err := parseUnix(b)
		if err != nil && row != (Unix{}) {
			t.Errorf("error %v with row %+v", err, row)
		}
		if len(row.Name) > len(b) {
			t.Errorf("name of %d bytes in a row of %d", len(row.Name), len(b))
		}
	})
}

func FuzzAttributes(f *testing.F) {
	f.Add(appendAttribute(appendAttribute(nil, 1, []byte("one")), 2, nil))
	f.Add([]byte{3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		read := 0
		err := attributes(b, func(_ uint16, value []byte) { read += align4(unix.SizeofNlAttr + len(value)) })
		if whole := read >= len(b); whole != (err == nil) {
			t.Errorf("%d of %d bytes read, error %v", read, len(b), err)
		}
	})
}

// FuzzReply cuts the input into datagrams, each behind its length in two bytes:
// whatever the transport brings, a dump ends.
func FuzzReply(f *testing.F) {
	for _, name := range append([]string{"unix"}, recordings...) {
		var b []byte
		for _, datagram := range readDatagrams(f, name) {
			b = binary.LittleEndian.AppendUint16(b, uint16(len(datagram)))
			b = append(b, datagram...)
		}
		f.Add(b)
	}
	f.Add([]byte{0, 0, 3, 0, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		var datagrams [][]byte
		for len(b) >= 2 {
			n := min(int(binary.LittleEndian.Uint16(b)), len(b)-2)
			datagrams = append(datagrams, b[2:2+n])
			b = b[2+n:]
		}
		c, _ := connTo(datagrams)
		_, _ = c.Inet(InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP})
		c, _ = connTo(datagrams)
		_, _ = c.Unix()
	})
}

func FuzzParseConnection(f *testing.F) {
	for _, name := range recordings {
		for _, m := range messages(readDatagrams(f, name)) {
			f.Add(m[unix.NLMSG_HDRLEN:], uint32(unix.IPPROTO_TCP))
		}
	}
	for _, size := range tcpInfoSizes {
		f.Add(connectionRow(appendAttribute(nil, attrInfo, longInfo(size)), appendAttribute(nil, attrMemory, longInfo(size%40+8))), uint32(unix.IPPROTO_MPTCP))
	}
	f.Fuzz(func(t *testing.T, b []byte, protocol uint32) {
		var row Connection
		if err := row.parse(b, protocol); err != nil && row != (Connection{}) {
			t.Errorf("error %v with row %+v", err, row)
		}
		if row.TCP.LastAckRecv < 0 || row.TCP.BusyTime < 0 || row.MPTCP.LastDataRecv < 0 {
			t.Errorf("a time before now: %+v", row)
		}
	})
}
