package inspect_test

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/testenv"
)

// bindPlace is where a first socket is bound.
type bindPlace struct {
	addr   netip.Addr
	v6only bool // IPV6_V6ONLY
}

func (p bindPlace) String() string {
	if p.v6only {
		return p.addr.String() + " (v6only)"
	}
	return p.addr.String()
}

// bindOptions are the options of a first socket, and the user who makes it.
type bindOptions struct {
	reuseAddr, reusePort bool
	uid                  int
}

// bindStranger is a user other than the one who asks, who is root.
const bindStranger = 1000

// bindScene is a situation on one port that can be made again and again.
type bindScene struct {
	name string
	// proto is that of the new socket.
	proto fdscan.Protocol
	make  func(w *bindWorld)
}

// bindNet is a network namespace of its own, in which a listener for each
// family answers connections.
type bindNet struct {
	t         testing.TB
	next      uint16
	listeners [2]int
	// full are the ports of listeners that answer no more, 0 before they exist.
	full [2]uint16
}

// The ports: the peers', those that scenes bind, and those that connect(2) draws.
const (
	bindPeerPort  = 1000
	bindFirstPort = 1100
	bindLastPort  = 59999
	bindDrawLow   = 60000
	bindDrawHigh  = 65000
)

// bindPeers are the places of the listeners that answer.
var bindPeers = [2]bindPlace{{bindAny4, false}, {bindAny6, true}}

// bindNetwork runs f in a new network namespace, on a thread that ends with the
// test.
func bindNetwork(t *testing.T, f func(t *testing.T, n *bindNet)) {
	testenv.NeedRoot(t)
	testenv.NeedNetNS(t)
	testenv.NeedIPv6(t)
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread outlives the test. While it is taken here, the
		// subtest runs on another.
		defer runtime.UnlockOSThread()
		t.Run("thread", func(t *testing.T) { bindNetwork(t, f) })
		return
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("unshare: %v", err)
	}
	bindUp(t)
	n := &bindNet{t: t, next: bindFirstPort}
	n.draw(bindDrawLow, bindDrawHigh)
	for i, p := range bindPeers {
		w := &bindWorld{net: n, port: bindPeerPort}
		t.Cleanup(w.close)
		n.listeners[i] = w.listener(fdscan.TCP, p, bindOptions{})
	}
	f(t, n)
}

// bindUp sets the loopback device up, which gives it its addresses.
func bindUp(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("socket: %v", err)
	}
	defer unix.Close(fd)
	up, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	up.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, up); err != nil {
		t.Fatalf("set lo up: %v", err)
	}
}

// draw sets the range from which connect(2) draws ports.
func (n *bindNet) draw(low, high uint16) {
	// /proc/sys/net shows the namespace of the thread that opens it.
	fd, err := unix.Open("/proc/sys/net/ipv4/ip_local_port_range", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		n.t.Fatalf("open ip_local_port_range: %v", err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, fmt.Appendf(nil, "%d %d", low, high)); err != nil {
		n.t.Fatalf("write ip_local_port_range: %v", err)
	}
}

// bindFamily is 0 for an address that is reached over IPv4, else 1.
func bindFamily(addr netip.Addr) int {
	if addr.Unmap().Is4() {
		return 0
	}
	return 1
}

// deaf returns the port of a listener whose queue is full: a connection to it
// stays in SYN_SENT.
func (n *bindNet) deaf(addr netip.Addr) uint16 {
	f := bindFamily(addr)
	if n.full[f] == 0 {
		n.full[f] = bindPeerPort + 1
		w := &bindWorld{net: n, port: n.full[f]}
		n.t.Cleanup(w.close)
		fd := w.bound(fdscan.TCP, bindPeers[f], bindOptions{})
		w.must(unix.Listen(fd, 0), "listen")
		w.client(fdscan.TCP, bindReach(bindPeers[f].addr))
	}
	return n.full[f]
}

// build makes the scene on a fresh port. It returns nil when the kernel does
// not let its sockets stand side by side.
func (n *bindNet) build(scene bindScene) (w *bindWorld) {
	w = &bindWorld{net: n, port: n.next}
	if n.next++; n.next > bindLastPort {
		n.t.Fatal("out of ports")
	}
	defer func() {
		if r := recover(); r != nil {
			w.close()
			refused, ok := r.(bindRefused)
			if !ok {
				panic(r)
			}
			if !errors.Is(refused.err, unix.EADDRINUSE) {
				n.t.Fatalf("%s: %v", scene.name, refused.err)
			}
			w = nil
		}
	}()
	scene.make(w)
	return w
}

// bindWorld is one scene, made.
type bindWorld struct {
	net     *bindNet
	port    uint16
	fds     []int
	sockets []*fdscan.Socket  // what a snapshot would have of it
	looks   map[string]string // see look
}

// bindRefused unwinds the making of a scene.
type bindRefused struct{ err error }

func (w *bindWorld) must(err error, doing string) {
	if err != nil {
		panic(bindRefused{fmt.Errorf("%s: %w", doing, err)})
	}
}

func (w *bindWorld) close() {
	for _, fd := range w.fds {
		unix.Close(fd)
	}
	w.fds = nil
}

// drop closes one descriptor now.
func (w *bindWorld) drop(fd int) {
	w.fds = slices.DeleteFunc(w.fds, func(f int) bool { return f == fd })
	unix.Close(fd)
}

// bindAs runs f with the file system user id, which owns the sockets that f
// makes. It is the thread's alone.
func bindAs(uid int, f func()) {
	unix.Setfsuid(uid)
	defer unix.Setfsuid(0)
	f()
}

// socket makes an unbound socket with the options.
func (w *bindWorld) socket(proto fdscan.Protocol, p bindPlace, o bindOptions) (fd int) {
	var err error
	bindAs(o.uid, func() { fd, err = bindSocket(proto, p.addr) })
	w.must(err, "socket")
	w.fds = append(w.fds, fd)
	if p.v6only {
		w.must(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1), "IPV6_V6ONLY")
	}
	if o.reuseAddr {
		w.must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), "SO_REUSEADDR")
	}
	if o.reusePort {
		w.must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), "SO_REUSEPORT")
	}
	return fd
}

// bound makes a socket that is bound to the scene's port.
func (w *bindWorld) bound(proto fdscan.Protocol, p bindPlace, o bindOptions) int {
	fd := w.socket(proto, p, o)
	w.must(unix.Bind(fd, bindSockaddr(p.addr, w.port)), "bind")
	return fd
}

// listener makes a socket that listens on the scene's port.
func (w *bindWorld) listener(proto fdscan.Protocol, p bindPlace, o bindOptions) int {
	fd := w.bound(proto, p, o)
	w.must(unix.Listen(fd, 16), "listen")
	return fd
}

// client connects to the address at the scene's port.
func (w *bindWorld) client(proto fdscan.Protocol, to netip.Addr) int {
	fd, err := bindSocket(proto, to)
	w.must(err, "socket")
	w.fds = append(w.fds, fd)
	w.connect(fd, to, w.port)
	return fd
}

// connect connects and waits until the handshake is done.
func (w *bindWorld) connect(fd int, to netip.Addr, port uint16) {
	err := unix.Connect(fd, bindSockaddr(to, port))
	if err == unix.EINPROGRESS {
		w.poll(fd, unix.POLLOUT)
		var failed int
		failed, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && failed != 0 {
			err = unix.Errno(failed)
		}
	}
	w.must(err, "connect")
}

// accepted takes a connection from the listener as the user.
func (w *bindWorld) accepted(listener, uid int) (fd int) {
	w.poll(listener, unix.POLLIN)
	var err error
	bindAs(uid, func() { fd, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) })
	w.must(err, "accept")
	w.fds = append(w.fds, fd)
	return fd
}

// drawing makes f draw the scene's port when it connects.
func (w *bindWorld) drawing(f func()) {
	w.net.draw(w.port, w.port)
	defer w.net.draw(bindDrawLow, bindDrawHigh)
	f()
}

// outgoing makes a socket that is connected to the peer from the scene's port:
// bound to it, or having drawn it.
func (w *bindWorld) outgoing(p bindPlace, o bindOptions, bound bool) (fd, server int) {
	if bound {
		fd = w.bound(fdscan.TCP, p, o)
		w.connect(fd, bindReach(p.addr), bindPeerPort)
	} else {
		fd = w.socket(fdscan.TCP, p, o)
		w.drawing(func() { w.connect(fd, bindReach(p.addr), bindPeerPort) })
	}
	return fd, w.accepted(w.net.listeners[bindFamily(p.addr)], 0)
}
