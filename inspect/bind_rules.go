package inspect

import (
	"net/netip"
	"slices"
	"strconv"

	"stray/fdscan"
)

// bindSockets are the sockets of the caller's network namespace that have a
// part in the port, in the order of the snapshot.
func bindSockets(s *fdscan.Snapshot, proto fdscan.Protocol, port uint16) []*fdscan.Socket {
	if port == 0 {
		return nil // the kernel chooses one that is free
	}
	var found []*fdscan.Socket
	subflows := map[bindTwin]bool{}
	for _, o := range s.Sockets {
		switch {
		case !o.NetNSMine || o.Local.Port != port:
		case o.Protocol != proto && !(o.Protocol.Stream() && proto.Stream()):
		case o.State == fdscan.SynRecv && o.Inode == 0:
			// Still shaking hands in a listener's queue: it has no part of its own.
		default:
			found = append(found, o)
			if o.Protocol == fdscan.MPTCP {
				subflows[bindTwinOf(o)] = true
			}
		}
	}
	return slices.DeleteFunc(found, func(o *fdscan.Socket) bool {
		return o.Protocol == fdscan.TCP && subflows[bindTwinOf(o)]
	})
}

// bindTwin is what an MPTCP socket has in common with the TCP socket that holds
// the port for it: the address, and the inode or, before accept(2) and after
// close(2), the other end.
type bindTwin struct {
	inode         uint64
	local, remote fdscan.Endpoint
}

func bindTwinOf(o *fdscan.Socket) bindTwin {
	if o.Inode != 0 {
		return bindTwin{inode: o.Inode, local: o.Local}
	}
	return bindTwin{local: o.Local, remote: o.Remote}
}

// bindOld is an existing socket as bind(2) looks at it. What could not be read
// has been given one of its possible values: see bindReadings.
type bindOld struct {
	addr   netip.Addr // IPv4-mapped for an IPv4 address on an IPv6 socket
	v6only bool       // IPV6_V6ONLY
	// apart reports that it is bound to another device than the new socket.
	apart                bool
	listening, timeWait  bool
	reuseAddr, reusePort bool
	mine                 bool // it has the user of the new socket
}

// bindReadings returns every reading of the socket that agrees with what is
// known of it.
func bindReadings(o *fdscan.Socket, n netip.Addr, uid uint32) []bindOld {
	old := bindOld{
		addr:      o.Local.Addr.WithZone(""),
		listening: o.State == fdscan.Listen,
		// The kernel keeps an orphan in FIN_WAIT2 as it keeps one in
		// TIME_WAIT; only sock_diag's timer tells.
		timeWait: o.State == fdscan.TimeWait ||
			o.State == fdscan.FinWait2 && o.Inode == 0 && o.Timer != nil && o.Timer.Kind == "time_wait",
	}
	if old.addr.Is4() && o.Family == fdscan.Inet6 {
		old.addr = netip.AddrFrom16(old.addr.As16())
	}
	v6only := o.V6Only
	switch {
	case old.v4():
		v6only = new(false)
	case !old.addr.IsUnspecified() && bindUnconnected(o):
		v6only = new(true) // bind(2) to an IPv6 address sets it
	case !old.addr.IsUnspecified() && o.Protocol == fdscan.MPTCP && v6only != nil && !*v6only:
		v6only = nil // that one it sets on the subflow only
	}
	var mine *bool
	if o.UID != nil {
		mine = new(*o.UID == uid)
	}
	var readings []bindOld
	for _, old.v6only = range bindEither(v6only) {
		for _, old.apart = range bindEither(bindApart(o.Interface, n)) {
			for _, old.reuseAddr = range bindEither(o.ReuseAddr) {
				for _, old.reusePort = range bindEither(o.ReusePort) {
					for _, old.mine = range bindEither(mine) {
						readings = append(readings, old)
					}
				}
			}
		}
	}
	return readings
}

// bindEither returns the values that b may have.
func bindEither(b *bool) []bool {
	if b == nil {
		return []bool{false, true}
	}
	return []bool{*b}
}

// bindUnconnected reports whether the socket has its address from bind(2) or
// listen(2), and not from a connection.
func bindUnconnected(o *fdscan.Socket) bool {
	return o.State == fdscan.Listen || o.State == fdscan.Bound || o.State == fdscan.Close
}

// bindApart reports whether a socket of the device differs in device from a new
// one, nil when that cannot be told. A new socket has a device only when its
// address is link-local, and then that of the zone.
func bindApart(device uint32, n netip.Addr) *bool {
	if device == 0 || n.Zone() == "" {
		return new(false)
	}
	zone, err := strconv.ParseUint(n.Zone(), 10, 32)
	if err != nil {
		return nil
	}
	return new(uint32(zone) != device)
}

// v4 reports whether the socket's address is an IPv4 one, mapped or not.
func (old bindOld) v4() bool { return old.addr.Is4() || old.addr.Is4In6() }

// overlaps reports whether a new socket bound to n would share an address with
// the old one. A new IPv6 socket has no IPV6_V6ONLY.
func (old bindOld) overlaps(n netip.Addr) bool {
	if old.apart {
		return false
	}
	newV4 := n.Is4() || n.Is4In6()
	oldAny, newAny := old.addr.Unmap().IsUnspecified(), n.Unmap().IsUnspecified()
	switch {
	case old.v4() && newV4:
		return oldAny || newAny || old.addr.Unmap() == n.Unmap()
	case old.v4():
		return newAny
	case newV4 && oldAny:
		return !old.v6only
	case newV4:
		return n.Is4() && newAny && !old.v6only
	}
	return oldAny || newAny || old.addr == n.WithZone("")
}

// covers reports whether the kernel's short cut for SO_REUSEPORT, set up by
// binding the old socket, lets a new one at n through.
func (old bindOld) covers(n netip.Addr) bool {
	if old.addr.Unmap().IsUnspecified() {
		return old.overlaps(n)
	}
	return old.addr.Unmap() == n.Unmap().WithZone("")
}

// bindRival is what an existing socket says to a new one. For TCP reusePort is
// the answer without the short cut.
type bindRival struct {
	socket                      *fdscan.Socket
	plain, reuseAddr, reusePort Bindable
	// The rest is for SO_REUSEPORT: whether it has the option, and is of the
	// caller's user as well; whether binding it covered the new address for the
	// short cut; and in which families it has a part in the port.
	optioned, grouped Bindable
	covers            Bindable
	v4, v6            Bindable
}

// bindCompare asks an existing socket whether it lets a new one at n be.
func bindCompare(o *fdscan.Socket, n netip.Addr, stream bool, uid uint32) bindRival {
	readings := bindReadings(o, n, uid)
	ask := func(allows func(bindOld) bool) Bindable {
		yes := 0
		for _, old := range readings {
			if allows(old) {
				yes++
			}
		}
		switch yes {
		case len(readings):
			return BindYes
		case 0:
			return BindNo
		}
		return BindUnknown
	}
	return bindRival{
		socket: o,
		plain:  ask(func(old bindOld) bool { return !old.overlaps(n) }),
		reuseAddr: ask(func(old bindOld) bool {
			return !old.overlaps(n) || old.reuseAddr && !(stream && old.listening)
		}),
		reusePort: ask(func(old bindOld) bool {
			return !old.overlaps(n) || old.reusePort && (old.mine || old.timeWait)
		}),
		optioned: ask(func(old bindOld) bool { return old.reusePort }),
		grouped:  ask(func(old bindOld) bool { return old.reusePort && old.mine }),
		covers:   ask(func(old bindOld) bool { return old.covers(n) }),
		v4:       ask(func(old bindOld) bool { return old.v4() || old.addr.IsUnspecified() && !old.v6only }),
		v6:       ask(func(old bindOld) bool { return !old.v4() }),
	}
}

// bindCombine puts the answers of all sockets together.
func bindCombine(n netip.Addr, rivals []bindRival, stream bool) (plain, reuseAddr, reusePort Bindable) {
	plain, reuseAddr, reusePort = BindYes, BindYes, BindYes
	for _, r := range rivals {
		plain = bindWorse(plain, r.plain)
		reuseAddr = bindWorse(reuseAddr, r.reuseAddr)
		reusePort = bindWorse(reusePort, r.reusePort)
	}
	if !stream {
		reusePort = bindFirstMet(rivals)
	} else if reusePort != BindYes {
		if way := bindShortCut(n, rivals); way != BindNo {
			reusePort = way
		}
	}
	return plain, reuseAddr, reusePort
}

// bindWorse returns the graver of two answers.
func bindWorse(a, b Bindable) Bindable {
	switch {
	case a == BindNo || b == BindNo:
		return BindNo
	case a == BindUnknown || b == BindUnknown:
		return BindUnknown
	}
	return BindYes
}

// bindShortCut says whether TCP's short cut for SO_REUSEPORT takes a new socket
// at n past the others.
//
// Every bind(2) and listen(2) on the port sets the short cut anew: to its user
// and address, or to nothing without SO_REUSEPORT. An accepted connection has
// done neither; but with SO_REUSEPORT it had a listener that did, of a user and
// at an address that may have been others.
func bindShortCut(n netip.Addr, rivals []bindRival) Bindable {
	var refuse4, refuse6 bool // one that would refuse has a part in the family
	var hard4, hard6 bool     // and nothing that overlaps it was bound beside it or later
	for _, r := range rivals {
		refuses := r.reusePort != BindYes
		refuse4 = refuse4 || refuses && r.v4 != BindNo
		refuse6 = refuse6 || refuses && r.v6 != BindNo
		hard := bindUnconnected(r.socket) && r.reusePort == BindNo && r.reuseAddr == BindNo
		hard4 = hard4 || hard && r.v4 == BindYes
		hard6 = hard6 || hard && r.v6 == BindYes
	}
	sure, all, may := false, true, false
	for _, r := range rivals {
		// An oddity: a wildcard of one family covers [::] for both, although
		// a socket of the other family is in the way.
		odd := n == netip.IPv6Unspecified() && !(hard4 && r.v4 == BindYes) && !(hard6 && r.v6 == BindYes)
		late := odd || !hard4 && !hard6
		if !bindUnconnected(r.socket) {
			may = may || late && r.optioned != BindNo && r.socket.State != fdscan.SynSent
			continue
		}
		may = may || late && r.grouped != BindNo && r.covers != BindNo
		all = all && r.grouped == BindYes && r.covers == BindYes
		sure = sure || r.socket.State == fdscan.Listen &&
			(r.v4 == BindYes || !refuse4) && (r.v6 == BindYes || !refuse6)
	}
	switch {
	case sure && all:
		return BindYes
	case may:
		return BindUnknown
	}
	return BindNo
}

// bindFirstMet says whether UDP's first socket that overlaps lets a new one with
// SO_REUSEPORT be; those behind it are not asked. The kernel keeps IPv6 sockets
// with SO_REUSEPORT behind all others, and apart from that an order which
// nobody sees.
func bindFirstMet(rivals []bindRival) Bindable {
	behind := func(r bindRival) bool { return r.socket.Family == fdscan.Inet6 && r.optioned == BindYes }
	ahead := false
	for _, r := range rivals {
		ahead = ahead || r.plain == BindNo && r.optioned != BindUnknown && !behind(r)
	}
	shares, refuses := false, false
	for _, r := range rivals {
		if r.plain == BindYes || ahead && behind(r) {
			continue
		}
		shares = shares || r.reusePort != BindNo
		refuses = refuses || r.reusePort != BindYes
	}
	switch {
	case !refuses:
		return BindYes
	case !shares:
		return BindNo
	}
	return BindUnknown
}
