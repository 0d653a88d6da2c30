package inspect

import (
	"fmt"
	"net/netip"
	"slices"

	"stray/fdscan"
)

// Bindable answers one way of binding: "yes", "no" or "unknown".
type Bindable string

// The answers.
const (
	BindYes     Bindable = "yes"
	BindNo      Bindable = "no"
	BindUnknown Bindable = "unknown"
)

// BindVerdict says whether a new socket of the caller can bind an address and,
// for TCP, then listen on it.
type BindVerdict struct {
	Protocol fdscan.Protocol
	// Address is what would be bound: 0.0.0.0, :: (of both families),
	// 127.0.0.1, ::1, or a specific address that was asked for.
	Address netip.Addr
	Port    uint16
	// Plain is the answer for a socket without options, ReuseAddr and
	// ReusePort those for one that sets just SO_REUSEADDR or SO_REUSEPORT.
	Plain, ReuseAddr, ReusePort Bindable
	// Blockers are the sockets that make Plain a no, or may, in the order of
	// the snapshot. Whatever refuses another way is among them.
	Blockers []*fdscan.Socket
	// Because is one sentence for people, without a full stop: who says no,
	// and which option would help.
	Because string
}

// bindStandard are the addresses that programs bind when nobody tells them.
var bindStandard = []netip.Addr{
	netip.IPv4Unspecified(),
	netip.IPv6Unspecified(),
	netip.AddrFrom4([4]byte{127, 0, 0, 1}),
	netip.IPv6Loopback(),
}

// CanBind judges, by the rules of the kernel, whether the caller can bind the
// port: at 0.0.0.0, at [::] for both families, at the two loopback addresses,
// and at asked when that is valid and another. It returns nil for a protocol
// without ports.
//
// A new socket n and an existing one o of the same port space conflict when
// their addresses overlap and nothing excuses it. TCP and MPTCP are one port
// space, UDP and UDP-Lite are two more.
//
//	addresses overlap when
//	  they are the same, an IPv4-mapped one being its IPv4 address
//	  one is 0.0.0.0 and the other IPv4
//	  one is [::] and the other IPv6
//	  one is [::] without IPV6_V6ONLY and the other IPv4
//	  n is 0.0.0.0 and o a connection between IPv6 addresses whose socket lacks
//	    IPV6_V6ONLY: an oddity, but so it is
//
//	TCP: o is excused
//	  under SO_REUSEADDR, when o has it too and does not listen
//	  under SO_REUSEPORT, when o has it too and is of n's user or in TIME_WAIT
//	UDP: o is excused
//	  under SO_REUSEADDR, when o has it too
//	  under SO_REUSEPORT, when o has it too and is of n's user; of several that
//	    overlap the kernel asks the first it meets, and no other
//
// A connection has its local address, and its options from the listener or from
// its own socket. It counts as long as it lasts: in CLOSE_WAIT, as an orphan, in
// TIME_WAIT; whether its port was bound or drawn by connect(2) makes no
// difference, and tcp_tw_reuse speaks of connect(2) alone. Only SYN_RECV has no
// part in the port. listen(2) checks what bind(2) has checked once more, by the
// same rules.
//
// With SO_REUSEPORT TCP takes a short cut: where the last bind on the port set
// the option, n is of that user and n's address was covered by it, n is compared
// with nobody. Connections that a listener accepted under another user are
// passed that way. Where the snapshot does not tell, the answer is unknown. It
// does not tell either which devices belong to a VRF, which has TCP ports of its
// own: sockets bound to a device are taken to have no part in one.
//
// Measured on Linux 6.18. The rules are those of inet_csk_get_port and
// inet_rcv_saddr_equal (net/ipv4/inet_connection_sock.c), split between the
// port's and the address's bucket since 6.1, and of udp_lib_get_port
// (net/ipv4/udp.c).
func CanBind(s *fdscan.Snapshot, proto fdscan.Protocol, port uint16, asked netip.Addr) []BindVerdict {
	if proto == fdscan.Unix {
		return nil
	}
	addrs := bindStandard
	if asked.IsValid() && !slices.Contains(addrs, asked) {
		addrs = append(slices.Clip(addrs), asked)
	}
	olds := bindSockets(s, proto, port)
	verdicts := make([]BindVerdict, 0, len(addrs))
	for _, addr := range addrs {
		verdicts = append(verdicts, bindJudge(s, proto, port, addr, olds))
	}
	return verdicts
}

// bindJudge judges one address.
func bindJudge(s *fdscan.Snapshot, proto fdscan.Protocol, port uint16, addr netip.Addr, olds []*fdscan.Socket) BindVerdict {
	v := BindVerdict{Protocol: proto, Address: addr, Port: port}
	rivals := make([]bindRival, 0, len(olds))
	for _, old := range olds {
		r := bindCompare(old, addr, proto.Stream(), s.Host.UID)
		rivals = append(rivals, r)
		if r.plain != BindYes {
			v.Blockers = append(v.Blockers, old)
		}
	}
	v.Plain, v.ReuseAddr, v.ReusePort = bindCombine(addr, rivals, proto.Stream())
	obstacle, final := bindObstacle(s, port, addr)
	for _, answer := range []*Bindable{&v.Plain, &v.ReuseAddr, &v.ReusePort} {
		switch {
		case final:
			*answer = BindNo
		case obstacle != "":
			*answer = bindWorse(*answer, BindUnknown)
		}
	}
	v.Because = bindBecause(s, v, rivals, obstacle, final)
	return v
}

// bindObstacle returns what stands against the bind besides other sockets, as a
// clause: something final, or else something that only forbids to say yes.
func bindObstacle(s *fdscan.Snapshot, port uint16, addr netip.Addr) (clause string, final bool) {
	bind := s.Host.Bind
	switch {
	case addr.Is6() && !bind.IPv6:
		return "this host has no IPv6", true
	case port != 0 && port < bind.UnprivilegedPortStart && !bind.NetBindService:
		return fmt.Sprintf("ports below %d need CAP_NET_BIND_SERVICE", bind.UnprivilegedPortStart), true
	case addr.IsLinkLocalUnicast() && addr.Is6() && addr.Zone() == "":
		return "a link-local address cannot be bound without its interface", true
	case !s.TablesComplete:
		return "the socket tables of this network namespace could not be read whole", false
	case addr.Unmap().IsUnspecified():
		return "", false
	case bind.Addresses == nil && !addr.Unmap().IsLoopback() && !bindSeen(s, addr):
		return "whether " + addr.String() + " is an address of this host could not be read", false
	case bind.Addresses != nil && !bindOwn(bind.Addresses, addr.Unmap()) && !bindSeen(s, addr):
		return addr.String() + " is no address of this host", true
	}
	return "", false
}

// bindOwn reports whether addr is one of the host's. All of 127.0.0.0/8 is when
// any of it is.
func bindOwn(own []netip.Addr, addr netip.Addr) bool {
	return slices.ContainsFunc(own, func(a netip.Addr) bool {
		return a == addr || a.Is4() && a.IsLoopback() && addr.Is4() && addr.IsLoopback()
	})
}

// bindSeen reports whether a socket has the address, which then is one of this
// host.
func bindSeen(s *fdscan.Snapshot, addr netip.Addr) bool {
	return slices.ContainsFunc(s.Sockets, func(o *fdscan.Socket) bool {
		return o.NetNSMine && o.Local.Addr.Unmap() == addr.Unmap()
	})
}
