package sockdiag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tcpInfoSizes are the sizes of struct tcp_info over the years, the last of a
// kernel to come: Linux 2.6, 4.1, 4.9, 4.19, 5.4, 6.2, 6.7, 6.18.
var tcpInfoSizes = []int{104, 136, 192, 224, 232, 240, 248, 280, 512}

// longInfo is a struct tcp_info in which each word is its own offset.
func longInfo(size int) []byte {
	b := make([]byte, size)
	for at := 8; at+4 <= size; at += 4 {
		binary.NativeEndian.PutUint32(b[at:], uint32(at))
	}
	b[2], b[3], b[4] = 2, 3, 4
	return b
}

// What a kernel reports is read as far as it goes, and what it does not is 0.
func TestTCPInfoOfEverySize(t *testing.T) {
	for _, size := range tcpInfoSizes {
		var info TCPInfo
		info.parse(longInfo(size))
		within := func(end int, v, whole uint64) uint64 {
			if end > size {
				return v // which has to be 0
			}
			return v - whole
		}
		wide := func(at uint64) uint64 { return at | (at+4)<<32 }
		for name, v := range map[string]uint64{
			"retransmits": uint64(info.Retransmits) - 2, "probes": uint64(info.Probes) - 3, "backoff": uint64(info.Backoff) - 4,
			"rto": uint64(info.RTO/time.Microsecond) - 8, "unacked": uint64(info.Unacked) - 24,
			"last_ack_recv":  uint64(info.LastAckRecv/time.Millisecond) - 56,
			"total_retrans":  within(104, uint64(info.TotalRetrans), 100),
			"bytes_acked":    within(128, info.BytesAcked, wide(120)),
			"notsent_bytes":  within(148, uint64(info.NotsentBytes), 144),
			"bytes_sent":     within(208, info.BytesSent, wide(200)),
			"snd_wnd":        within(232, uint64(info.SndWnd), 228),
			"total_rto_time": within(248, uint64(info.TotalRTOTime/time.Millisecond), 244),
			"size":           uint64(info.Size - size),
		} {
			if v != 0 {
				t.Errorf("%d bytes: %s is wrong: %+v", size, name, info)
			}
		}
	}
}

// connectionRow is a row as the kernel would send it, with attributes.
func connectionRow(attributes ...[]byte) []byte {
	b := make([]byte, sizeofInetMsg)
	b[0], b[1] = unix.AF_INET, Established
	return append(b, bytes.Join(attributes, nil)...)
}

func TestEachConnectionForgetsWhatWasInterrupted(t *testing.T) {
	info := appendAttribute(nil, attrInfo, longInfo(104))
	row := connectionRow(info, appendAttribute(nil, attrCongestion, []byte("cubic\x00")), appendAttribute(nil, attrShutdown, []byte{ShutRead}),
		appendAttribute(nil, attrMemory, longInfo(36)))
	c, r := connTo(
		[][]byte{message(sockDiagByFamily, unix.NLM_F_MULTI|unix.NLM_F_DUMP_INTR, 1, row), done(1, 0)},
		[][]byte{message(sockDiagByFamily, unix.NLM_F_MULTI, 2, row), done(2, 0)})
	var got []Connection
	err := c.EachConnection(InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: AllStates}, list(&got))
	if err != nil || len(got) != 1 {
		t.Fatalf("%d rows, error %v", len(got), err)
	}
	if c := got[0]; !c.HasTCP || c.TCP.Size != 104 || c.Congestion != "cubic" || c.Shutdown != ShutRead || !c.HasMemory || c.Memory.Drops != 32 || c.HasMPTCP {
		t.Errorf("row %+v", c)
	}
	if len(r.requests) != 2 || r.requests[0][unix.NLMSG_HDRLEN+2] != healthExtensions {
		t.Errorf("requests % x", r.requests)
	}
}

func TestFindConnection(t *testing.T) {
	id := InetID{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Local: netip.MustParseAddrPort("10.0.0.1:1"), Remote: netip.MustParseAddrPort("10.0.0.2:2")}
	exact := connectionRow()
	copy(exact[8:], []byte{10, 0, 0, 1})
	copy(exact[24:], []byte{10, 0, 0, 2})
	exact[5], exact[7] = 1, 2
	listening := connectionRow()
	for name, tt := range map[string]struct {
		reply []byte
		want  error
	}{
		"it":         {message(sockDiagByFamily, 0, 1, exact), nil},
		"a listener": {message(sockDiagByFamily, 0, 1, listening), ErrNotFound},
		"none":       {refusal(1, unix.ENOENT), ErrNotFound},
		"refused":    {refusal(1, unix.EPERM), unix.EPERM},
	} {
		c, _ := connTo([][]byte{tt.reply})
		var row Connection
		if err := c.FindConnection(id, &row); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// The kernel's own: a connection whose peer does not read shows both queues, and
// its end is found by its address.
func TestKernelTellsOfHealth(t *testing.T) {
	s := &scene{}
	listener := s.listen(unix.AF_INET, 0, at("127.0.0.1:0"))
	defer func() {
		for _, fd := range s.sockets {
			unix.Close(fd)
		}
	}()
	if s.err != nil {
		t.Fatal(s.err)
	}
	address, err := unix.Getsockname(listener)
	if err != nil {
		t.Fatal(err)
	}
	client := s.connect(listener, nil)
	s.accept(listener)
	if s.err != nil {
		t.Fatal(s.err)
	}
	if err := unix.SetNonblock(client, true); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for {
		if _, err := unix.Write(client, block); err != nil {
			break
		}
	}
	name, err := unix.Getsockname(client)
	if err != nil {
		t.Fatal(err)
	}
	port := func(a unix.Sockaddr) uint16 { return uint16(a.(*unix.SockaddrInet4).Port) }
	loopback := netip.MustParseAddr("127.0.0.1")
	c := kernel(t)
	id := InetID{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Local: netip.AddrPortFrom(loopback, port(name)), Remote: netip.AddrPortFrom(loopback, port(address))}
	var sender, receiver Connection
	if err := c.FindConnection(id, &sender); err != nil {
		t.Fatal(err)
	}
	id.Local, id.Remote = id.Remote, id.Local
	if err := c.FindConnection(id, &receiver); err != nil {
		t.Fatal(err)
	}
	if !sender.HasTCP || sender.TCP.NotsentBytes == 0 || sender.SendQueue < sender.TCP.NotsentBytes || sender.Congestion == "" || !sender.HasMemory {
		t.Errorf("sender %+v", sender)
	}
	if receiver.RecvQueue == 0 || receiver.TCP.BytesReceived == 0 {
		t.Errorf("receiver %+v", receiver)
	}
	id.Local = netip.AddrPortFrom(loopback, 1)
	if err := c.FindConnection(id, &receiver); !errors.Is(err, ErrNotFound) {
		t.Errorf("an end that does not exist: %v", err)
	}
	var rows, found int
	err = c.EachConnection(InetRequest{Family: unix.AF_UNSPEC, Protocol: unix.IPPROTO_TCP, States: AllStates}, Rows[Connection]{
		Begin: func() { rows, found = 0, 0 },
		Row: func(row *Connection) {
			rows++
			if row.Cookie == sender.Cookie && row.TCP.NotsentBytes > 0 {
				found++
			}
		},
	})
	if err != nil || found != 1 {
		t.Errorf("%d rows, %d of them the sender's, error %v", rows, found, err)
	}
}
