package inspect_test

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/testenv"
)

// The live tests make real sockets in every state in a network namespace of
// their own, ask the kernel whether another can be bound and listen beside
// them, and hold CanBind to its answers.

var (
	bindAny4   = netip.IPv4Unspecified()
	bindAny6   = netip.IPv6Unspecified()
	bindLoop4  = netip.MustParseAddr("127.0.0.1")
	bindOther4 = netip.MustParseAddr("127.0.0.2")
	bindLoop6  = netip.IPv6Loopback()
	bindMapped = netip.MustParseAddr("::ffff:127.0.0.1")
	bindMapAny = netip.MustParseAddr("::ffff:0.0.0.0")

	bindPlaces  = []bindPlace{{bindAny4, false}, {bindAny6, false}, {bindAny6, true}, {bindLoop4, false}, {bindLoop6, false}, {bindOther4, false}, {bindMapped, false}}
	bindTargets = []netip.Addr{bindAny4, bindAny6, bindLoop4, bindLoop6, bindOther4, bindMapped, bindMapAny}

	// Fewer will do where sockets stand in pairs.
	bindPairPlaces  = []bindPlace{{bindAny4, false}, {bindAny6, false}, {bindAny6, true}, {bindLoop4, false}, {bindLoop6, false}}
	bindPairTargets = []netip.Addr{bindAny4, bindAny6, bindLoop4, bindLoop6}
)

// bindEveryOption are all options, for root and a stranger.
func bindEveryOption() (all []bindOptions) {
	for _, uid := range []int{0, bindStranger} {
		for _, reuseAddr := range []bool{false, true} {
			for _, reusePort := range []bool{false, true} {
				all = append(all, bindOptions{reuseAddr, reusePort, uid})
			}
		}
	}
	return all
}

// bindRun asks beside each of the scenes, which are made for every place with
// every option.
func bindRun(t *testing.T, places []bindPlace, scenes func(p bindPlace, o bindOptions) []bindScene) {
	t.Parallel()
	bindNetwork(t, func(t *testing.T, n *bindNet) {
		var c bindCases
		for _, p := range places {
			for _, o := range bindEveryOption() {
				for _, scene := range scenes(p, o) {
					scene.name = fmt.Sprintf("%s at %v %+v", scene.name, p, o)
					c.run(n, scene, bindTargets)
				}
			}
		}
		c.check(t)
	})
}

func TestBindLiveUnconnected(t *testing.T) {
	bindRun(t, bindPlaces, func(p bindPlace, o bindOptions) []bindScene {
		return []bindScene{
			{"bound", fdscan.TCP, func(w *bindWorld) { w.see(fdscan.TCP, w.bound(fdscan.TCP, p, o), fdscan.Bound) }},
			{"listening", fdscan.TCP, func(w *bindWorld) { w.see(fdscan.TCP, w.listener(fdscan.TCP, p, o), fdscan.Listen) }},
			{"listening, then shut down", fdscan.TCP, func(w *bindWorld) {
				fd := w.listener(fdscan.TCP, p, o)
				w.must(unix.Shutdown(fd, unix.SHUT_RDWR), "shutdown")
				w.see(fdscan.TCP, fd, fdscan.Bound)
			}},
			{"listening on one device", fdscan.TCP, func(w *bindWorld) {
				fd := w.bound(fdscan.TCP, p, o)
				w.must(unix.BindToDevice(fd, "lo"), "SO_BINDTODEVICE")
				w.must(unix.Listen(fd, 16), "listen")
				w.see(fdscan.TCP, fd, fdscan.Listen).Interface = 1
			}},
		}
	})
}

// Accepted connections and outgoing ones look alike in a snapshot.
func TestBindLiveConnected(t *testing.T) {
	bindRun(t, bindPlaces, func(p bindPlace, o bindOptions) []bindScene {
		scenes := bindOutgoingScenes(p, o)
		for _, from := range bindClients(p) {
			scenes = append(scenes, bindQueuedScene(p, o, from))
			for _, uid := range []int{0, bindStranger} {
				scenes = append(scenes, bindAcceptedScenes(p, o, from, uid)...)
			}
		}
		return scenes
	})
}

// bindClients are the addresses at which clients reach a listener.
func bindClients(p bindPlace) []netip.Addr {
	switch {
	case p.addr == bindAny4:
		return []netip.Addr{bindLoop4, bindOther4}
	case p.addr == bindAny6 && !p.v6only:
		return []netip.Addr{bindLoop4, bindOther4, bindLoop6}
	}
	return []netip.Addr{bindReach(p.addr)}
}

// bindAcceptedScenes are those with a connection that the user has accepted.
func bindAcceptedScenes(p bindPlace, o bindOptions, from netip.Addr, uid int) (scenes []bindScene) {
	add := func(name string, make func(w *bindWorld, listener, server, client int)) {
		scenes = append(scenes, bindScene{fmt.Sprintf("%s accepted by %d from %v", name, uid, from), fdscan.TCP, func(w *bindWorld) {
			l := w.listener(fdscan.TCP, p, o)
			client := w.client(fdscan.TCP, from)
			make(w, l, w.accepted(l, uid), client)
		}})
	}
	alone := func(name string, make func(w *bindWorld, server, client int)) {
		add(name, func(w *bindWorld, listener, server, client int) {
			w.drop(listener)
			make(w, server, client)
		})
	}
	alone("established", func(w *bindWorld, server, _ int) { w.see(fdscan.TCP, server, fdscan.Established) })
	alone("close_wait", func(w *bindWorld, server, client int) {
		w.drop(client)
		w.until(server, bindCloseWait)
		w.see(fdscan.TCP, server, fdscan.CloseWait)
	})
	alone("fin_wait1 without a holder", func(w *bindWorld, server, _ int) {
		w.stuff(server)
		w.see(fdscan.TCP, server, fdscan.FinWait1).Inode = 0
		w.drop(server)
	})
	alone("fin_wait2", func(w *bindWorld, server, client int) {
		w.finWait2(server, client)
		w.see(fdscan.TCP, server, fdscan.FinWait2)
	})
	alone("fin_wait2 without a holder", func(w *bindWorld, server, client int) {
		w.finWait2(server, client)
		bindBury(w.see(fdscan.TCP, server, fdscan.FinWait2))
		w.drop(server)
	})
	alone("fin_wait2 without a holder, lingering", func(w *bindWorld, server, client int) {
		w.must(unix.SetsockoptInt(server, unix.IPPROTO_TCP, unix.TCP_LINGER2, 120), "TCP_LINGER2")
		w.finWait2(server, client)
		s := w.see(fdscan.TCP, server, fdscan.FinWait2)
		s.Inode, s.Timer = 0, &fdscan.Timer{Kind: "keepalive"}
		w.drop(server)
	})
	alone("time_wait", func(w *bindWorld, server, client int) {
		w.timeWait(server, client, w.see(fdscan.TCP, server, fdscan.TimeWait))
	})
	add("listening, established", func(w *bindWorld, listener, server, _ int) {
		w.see(fdscan.TCP, listener, fdscan.Listen)
		w.see(fdscan.TCP, server, fdscan.Established)
	})
	add("listening, time_wait", func(w *bindWorld, listener, server, client int) {
		w.see(fdscan.TCP, listener, fdscan.Listen)
		w.timeWait(server, client, w.see(fdscan.TCP, server, fdscan.TimeWait))
	})
	if o.reusePort && !p.addr.IsUnspecified() {
		// What was bound with SO_REUSEPORT leaves its mark when it is gone.
		wildcard := bindPlace{addr: bindAny6}
		if p.addr.Is4() {
			wildcard.addr = bindAny4
		}
		scenes = append(scenes, bindScene{fmt.Sprintf("listening after a wildcard, established accepted by %d", uid), fdscan.TCP, func(w *bindWorld) {
			before := w.listener(fdscan.TCP, wildcard, o)
			l := w.listener(fdscan.TCP, p, o)
			w.drop(before)
			w.client(fdscan.TCP, from)
			w.see(fdscan.TCP, l, fdscan.Listen)
			w.see(fdscan.TCP, w.accepted(l, uid), fdscan.Established)
		}})
	}
	return scenes
}

// bindQueuedScene is a listener with a connection that nobody has accepted.
func bindQueuedScene(p bindPlace, o bindOptions, from netip.Addr) bindScene {
	return bindScene{fmt.Sprintf("listening, one from %v in the queue", from), fdscan.TCP, func(w *bindWorld) {
		listener := w.listener(fdscan.TCP, p, o)
		client := w.client(fdscan.TCP, from)
		w.poll(listener, unix.POLLIN)
		queued := *w.see(fdscan.TCP, listener, fdscan.Listen)
		queued.State, queued.Inode = fdscan.Established, 0
		queued.Local.Addr = from
		if p.addr.Is6() {
			queued.Local.Addr = netip.AddrFrom16(from.As16())
		}
		local, err := unix.Getsockname(client)
		w.must(err, "getsockname")
		queued.Remote = bindEndpoint(local)
		w.sockets = append(w.sockets, &queued)
	}}
}

// bindOutgoingScenes are those with an outgoing connection, whose port was
// bound before or drawn by connect(2).
func bindOutgoingScenes(p bindPlace, o bindOptions) (scenes []bindScene) {
	for _, bound := range []bool{false, true} {
		add := func(name string, make func(w *bindWorld)) {
			scenes = append(scenes, bindScene{fmt.Sprintf("%s, outgoing, bound %t,", name, bound), fdscan.TCP, make})
		}
		add("established", func(w *bindWorld) {
			fd, _ := w.outgoing(p, o, bound)
			w.see(fdscan.TCP, fd, fdscan.Established)
		})
		add("time_wait", func(w *bindWorld) {
			fd, server := w.outgoing(p, o, bound)
			w.timeWait(fd, server, w.see(fdscan.TCP, fd, fdscan.TimeWait))
		})
		add("syn_sent", func(w *bindWorld) {
			to := bindSockaddr(bindReach(p.addr), w.net.deaf(p.addr))
			var fd int
			connect := func() {
				if err := unix.Connect(fd, to); err != unix.EINPROGRESS {
					w.must(err, "connect")
				}
			}
			if bound {
				fd = w.bound(fdscan.TCP, p, o)
				connect()
			} else {
				fd = w.socket(fdscan.TCP, p, o)
				w.drawing(connect)
			}
			w.until(fd, bindSynSent)
			w.see(fdscan.TCP, fd, fdscan.SynSent)
		})
	}
	return scenes
}

func TestBindLiveUDP(t *testing.T) {
	bindRun(t, bindPlaces, func(p bindPlace, o bindOptions) []bindScene { return bindUDPScenes(fdscan.UDP, p, o) })
}

func TestBindLiveUDPLite(t *testing.T) {
	testenv.NeedUDPLite(t)
	bindRun(t, bindPlaces, func(p bindPlace, o bindOptions) []bindScene { return bindUDPScenes(fdscan.UDPLite, p, o) })
}

func bindUDPScenes(proto fdscan.Protocol, p bindPlace, o bindOptions) []bindScene {
	to := bindSockaddr(bindReach(p.addr), bindPeerPort)
	return []bindScene{
		{"bound", proto, func(w *bindWorld) { w.see(proto, w.bound(proto, p, o), fdscan.Bound) }},
		{"bound to one device", proto, func(w *bindWorld) {
			fd := w.bound(proto, p, o)
			w.must(unix.BindToDevice(fd, "lo"), "SO_BINDTODEVICE")
			w.see(proto, fd, fdscan.Bound).Interface = 1
		}},
		{"bound and connected", proto, func(w *bindWorld) {
			fd := w.bound(proto, p, o)
			w.must(unix.Connect(fd, to), "connect")
			w.see(proto, fd, fdscan.Established)
		}},
		{"connected", proto, func(w *bindWorld) {
			fd := w.socket(proto, p, o)
			w.drawing(func() { w.must(unix.Connect(fd, to), "connect") })
			w.see(proto, fd, fdscan.Established)
		}},
	}
}

// An MPTCP socket holds its port through a TCP socket. The snapshot may have
// either of them or both.
func TestBindLiveMPTCP(t *testing.T) {
	testenv.NeedMPTCP(t)
	bindRun(t, bindPlaces, func(p bindPlace, o bindOptions) (scenes []bindScene) {
		for i, rows := range [][]fdscan.Protocol{{fdscan.MPTCP}, {fdscan.TCP}, {fdscan.MPTCP, fdscan.TCP}} {
			see := func(w *bindWorld, fd int, state fdscan.State) {
				for _, row := range rows {
					if s := w.see(row, fd, state); row == fdscan.TCP && state == fdscan.Established {
						s.V6Only = nil // sock_diag does not report it
					}
				}
			}
			asked := []fdscan.Protocol{fdscan.TCP, fdscan.MPTCP}[i%2]
			scenes = append(scenes, bindScene{fmt.Sprintf("listening, seen as %v,", rows), asked, func(w *bindWorld) {
				see(w, w.listener(fdscan.MPTCP, p, o), fdscan.Listen)
			}})
			for _, from := range bindClients(p) {
				for _, uid := range []int{0, bindStranger} {
					scenes = append(scenes, bindScene{fmt.Sprintf("accepted by %d from %v, seen as %v,", uid, from, rows), asked, func(w *bindWorld) {
						l := w.listener(fdscan.MPTCP, p, o)
						w.client(fdscan.MPTCP, from)
						fd := w.accepted(l, uid)
						w.drop(l)
						see(w, fd, fdscan.Established)
					}})
				}
			}
		}
		return scenes
	})
}

// What is bound in one port space is nothing to the others.
func TestBindLiveSpaces(t *testing.T) {
	testenv.NeedUDPLite(t)
	bindRun(t, bindPairPlaces, func(p bindPlace, o bindOptions) (scenes []bindScene) {
		spaces := []fdscan.Protocol{fdscan.TCP, fdscan.UDP, fdscan.UDPLite}
		for _, has := range spaces {
			for _, asked := range spaces {
				scenes = append(scenes, bindScene{fmt.Sprintf("%s bound, %s asked,", has, asked), asked, func(w *bindWorld) {
					w.see(has, w.bound(has, p, o), fdscan.Bound)
				}})
			}
		}
		return scenes
	})
}

// With more than ten sockets on a port UDP looks through them in another way.
func TestBindLiveCrowd(t *testing.T) {
	bindRun(t, bindPairPlaces, func(p bindPlace, o bindOptions) (scenes []bindScene) {
		if p.addr == bindAny4 || p.addr == bindAny6 && !p.v6only {
			return nil // that leaves no room for others
		}
		for _, proto := range []fdscan.Protocol{fdscan.TCP, fdscan.UDP} {
			for _, first := range []bool{false, true} {
				scenes = append(scenes, bindScene{fmt.Sprintf("%s crowd, first %t,", proto, first), proto, func(w *bindWorld) {
					one := func() { w.see(proto, w.bound(proto, p, o), fdscan.Bound) }
					if first {
						one()
					}
					for i := range byte(12) {
						place := bindPlace{addr: netip.AddrFrom4([4]byte{127, 0, 1, i})}
						w.see(proto, w.bound(proto, place, bindOptions{reuseAddr: true, reusePort: true}), fdscan.Bound)
					}
					if !first {
						one()
					}
				}})
			}
		}
		return scenes
	})
}

// bindPart is one of two sockets that stand side by side.
type bindPart struct {
	what    string
	place   bindPlace
	options bindOptions
}

// bindParts are all of them that do one of these things.
func bindParts(what ...string) (all []bindPart) {
	for _, place := range bindPairPlaces {
		for _, options := range bindEveryOption() {
			for _, what := range what {
				all = append(all, bindPart{what, place, options})
			}
		}
	}
	return all
}

func (p bindPart) make(w *bindWorld, proto fdscan.Protocol) {
	switch p.what {
	case "bound":
		w.see(proto, w.bound(proto, p.place, p.options), fdscan.Bound)
	case "listening":
		w.see(proto, w.listener(proto, p.place, p.options), fdscan.Listen)
	case "connected":
		fd := w.bound(proto, p.place, p.options)
		w.must(unix.Connect(fd, bindSockaddr(bindReach(p.place.addr), bindPeerPort)), "connect")
		w.see(proto, fd, fdscan.Established)
	case "accepted":
		l := w.listener(proto, p.place, p.options)
		if len(w.sockets) > 0 && w.sockets[0].State == fdscan.Listen && p.options.reusePort {
			w.must(unix.EADDRINUSE, "accept from either of two listeners")
		}
		w.client(proto, bindReach(p.place.addr))
		w.see(proto, w.accepted(l, 0), fdscan.Established)
		w.drop(l)
	}
}

// bindPairs asks beside every two parts that the kernel lets stand together.
func bindPairs(t *testing.T, proto fdscan.Protocol, first, second []bindPart) {
	t.Parallel()
	if testing.Short() {
		t.Skip("many pairs")
	}
	bindNetwork(t, func(t *testing.T, n *bindNet) {
		c := bindCases{pairs: true}
		for _, a := range first {
			for _, b := range second {
				c.run(n, bindScene{fmt.Sprintf("%+v, then %+v", a, b), proto, func(w *bindWorld) {
					a.make(w, proto)
					b.make(w, proto)
				}}, bindPairTargets)
			}
		}
		c.check(t)
	})
}

func TestBindLivePairs(t *testing.T) {
	bindPairs(t, fdscan.TCP, bindParts("bound", "listening"), bindParts("bound", "listening"))
}

func TestBindLiveLeftoversFirst(t *testing.T) {
	bindPairs(t, fdscan.TCP, bindParts("accepted"), bindParts("bound", "listening"))
}

func TestBindLiveLeftoversLast(t *testing.T) {
	bindPairs(t, fdscan.TCP, bindParts("bound", "listening"), bindParts("accepted"))
}

func TestBindLivePairsUDP(t *testing.T) {
	bindPairs(t, fdscan.UDP, bindParts("bound", "connected"), bindParts("bound", "connected"))
}
