package sockdiag

import (
	"encoding/binary"
	"time"
)

// TCPInfo is struct tcp_info of linux/tcp.h, under its own names: what TCP knows
// of one connection. What an older kernel does not report is 0.
type TCPInfo struct {
	// Size is how many bytes of the struct the kernel has reported: 232 in
	// Linux 5.4, 280 in 6.18.
	Size int
	// Retransmits counts the retransmissions of the oldest segment since the
	// last acknowledgement; Backoff how often its timer has doubled. Probes are
	// those (of a closed window, or keepalive) that nobody has answered.
	Retransmits, Probes, Backoff uint8
	RTO                          time.Duration // the timer as it is, with its backoff
	SndMSS                       uint32
	// Unacked, Sacked, Lost and Retrans are segments on their way. Of a
	// listener, Unacked is the length of its accept queue and Sacked the limit.
	Unacked, Sacked, Lost, Retrans uint32
	// LastDataSent, LastDataRecv and LastAckRecv are how long ago a segment
	// with data was sent (for the first time or again), one with data has
	// arrived, and any has.
	LastDataSent, LastDataRecv, LastAckRecv time.Duration
	RTT, RTTVar                             time.Duration
	SndCwnd                                 uint32 // segments
	TotalRetrans                            uint32 // segments sent again in the connection's life
	BytesAcked, BytesReceived               uint64 // Linux 4.1
	SegsOut, SegsIn                         uint32 // Linux 4.2
	// NotsentBytes are those of the send queue that were never sent (Linux 4.6).
	NotsentBytes uint32
	MinRTT       time.Duration // Linux 4.6
	DeliveryRate uint64        // bytes a second, Linux 4.9
	// BusyTime is how long data was on its way or waiting; RwndLimited and
	// SndbufLimited how much of that the peer's window and the own send buffer
	// held it up (Linux 4.9).
	BusyTime, RwndLimited, SndbufLimited time.Duration
	BytesSent, BytesRetrans              uint64 // Linux 4.19
	SndWnd                               uint32 // the peer's window in bytes, Linux 5.4
	// TotalRTORecoveries counts the times that the retransmission timer has
	// fired and been recovered from, one that lasts included, and TotalRTOTime
	// is what they took (Linux 6.7).
	TotalRTORecoveries uint16
	TotalRTOTime       time.Duration
}

// parse reads as much of the struct as b holds: kernels have only ever added to
// its end.
func (t *TCPInfo) parse(b []byte) {
	f := fields(b)
	const ms, us = time.Millisecond, time.Microsecond
	*t = TCPInfo{
		Size:        len(b),
		Retransmits: f.u8(2), Probes: f.u8(3), Backoff: f.u8(4),
		RTO: f.time(8, us), SndMSS: f.u32(16),
		Unacked: f.u32(24), Sacked: f.u32(28), Lost: f.u32(32), Retrans: f.u32(36),
		LastDataSent: f.time(44, ms), LastDataRecv: f.time(52, ms), LastAckRecv: f.time(56, ms),
		RTT: f.time(68, us), RTTVar: f.time(72, us), SndCwnd: f.u32(80),
		TotalRetrans: f.u32(100), BytesAcked: f.u64(120), BytesReceived: f.u64(128),
		SegsOut: f.u32(136), SegsIn: f.u32(140), NotsentBytes: f.u32(144), MinRTT: f.time(148, us),
		DeliveryRate: f.u64(160), BusyTime: f.long(168, us), RwndLimited: f.long(176, us), SndbufLimited: f.long(184, us),
		BytesSent: f.u64(200), BytesRetrans: f.u64(208), SndWnd: f.u32(228),
		TotalRTORecoveries: f.u16(242), TotalRTOTime: f.time(244, ms),
	}
}

// MPTCPInfo is struct mptcp_info of linux/mptcp.h, under its own names.
type MPTCPInfo struct {
	Size int // bytes that the kernel has reported
	// Subflows are those besides the first (mptcpi_subflows), SubflowsTotal all
	// of them (Linux 6.6).
	Subflows, SubflowsTotal uint8
	// Undelivered is what was written and the peer has not acknowledged
	// (write_seq less snd_una).
	Undelivered uint64
	// BytesAcked counts what the peer has acknowledged of the whole (Linux 6.5).
	BytesAcked, BytesReceived uint64
	// LastDataSent, LastDataRecv and LastAckRecv are how long ago (Linux 6.10).
	LastDataSent, LastDataRecv, LastAckRecv time.Duration
}

func (m *MPTCPInfo) parse(b []byte) {
	f := fields(b)
	*m = MPTCPInfo{
		Size: len(b), Subflows: f.u8(0), SubflowsTotal: f.u8(80), Undelivered: f.u64(16) - f.u64(24), BytesReceived: f.u64(64), BytesAcked: f.u64(72),
		LastDataSent: f.time(84, time.Millisecond), LastDataRecv: f.time(88, time.Millisecond), LastAckRecv: f.time(92, time.Millisecond),
	}
}

// Memory is the part of SK_MEMINFO (linux/sock_diag.h) that is of use, in bytes
// of memory, which is more than the bytes of data.
type Memory struct {
	RmemAlloc, Rcvbuf uint32
	WmemQueued        uint32
	Sndbuf            uint32
	// Drops counts what was thrown away for want of room (Linux 4.7): the
	// datagrams of a socket, the connections of a listener.
	Drops uint32
}

func (m *Memory) parse(b []byte) {
	f := fields(b)
	*m = Memory{RmemAlloc: f.u32(0), Rcvbuf: f.u32(4), Sndbuf: f.u32(12), WmemQueued: f.u32(20), Drops: f.u32(32)}
}

// fields reads the fields of a struct at their offsets; one that lies beyond its
// end, as in the struct of an older kernel, is 0.
type fields []byte

func (f fields) u8(at int) uint8 {
	if at >= len(f) {
		return 0
	}
	return f[at]
}

func (f fields) u16(at int) uint16 {
	if at+2 > len(f) {
		return 0
	}
	return binary.NativeEndian.Uint16(f[at:])
}

func (f fields) u32(at int) uint32 {
	if at+4 > len(f) {
		return 0
	}
	return binary.NativeEndian.Uint32(f[at:])
}

func (f fields) u64(at int) uint64 {
	if at+8 > len(f) {
		return 0
	}
	return binary.NativeEndian.Uint64(f[at:])
}

func (f fields) time(at int, unit time.Duration) time.Duration {
	return time.Duration(f.u32(at)) * unit
}

// long is time of a field with 64 bits. What no duration can hold is 0.
func (f fields) long(at int, unit time.Duration) time.Duration {
	const most = 1 << 53
	if n := f.u64(at); n < most {
		return time.Duration(n) * unit
	}
	return 0
}
