// Package wiretest joins two network namespaces by a wire that a test can pull,
// with a program at each end that does as it is told: for tests of connections
// that die.
//
// The program is the test binary itself. A package that uses it calls Main first
// thing in TestMain.
package wiretest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/osthread"
	"stray/internal/testenv"
)

// Wire is two network namespaces and the veth pair between them.
type Wire struct{ Near, Far *End }

// End is one end of a wire: a network namespace that lives as long as the test.
type End struct {
	// Address is that of its device; Device the name.
	Address, Device string
	// NetNS is the inode of the namespace.
	NetNS uint64
	fd    int
}

// New makes a wire: 10.77.0.1 at its near end, 10.77.0.2 at the far one, and
// timeouts of TCP that let a test be fast. It skips the test where it may not
// make network namespaces, or there is no ip(8).
func New(t testing.TB) *Wire {
	t.Helper()
	testenv.NeedNetNS(t)
	ip := testenv.NeedTool(t, "ip", "iproute2")
	w := &Wire{Near: newEnd(t, "10.77.0.1", "near"), Far: newEnd(t, "10.77.0.2", "far")}
	far, err := unix.FcntlInt(uintptr(w.Far.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(far), "far")
	defer file.Close()
	w.Near.run(t, &exec.Cmd{
		Path: ip, Args: strings.Fields("ip link add near type veth peer name far netns /proc/self/fd/3"), ExtraFiles: []*os.File{file},
	})
	for _, e := range []*End{w.Near, w.Far} {
		e.Run(t, ip, "address", "add", e.Address+"/24", "dev", e.Device)
		e.Run(t, ip, "link", "set", e.Device, "up")
		// An address of one's own is reached over loopback.
		e.Run(t, ip, "link", "set", "lo", "up")
		// Older kernels have neither: the tests wait longer then.
		e.sysctl("tcp_rto_min_us", "5000")
		e.sysctl("tcp_rto_max_ms", "1000")
	}
	return w
}

func newEnd(t testing.TB, address, device string) *End {
	e := &End{Address: address, Device: device}
	err := osthread.Discard(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		e.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { unix.Close(e.fd) })
	var st unix.Stat_t
	if err := unix.Fstat(e.fd, &st); err != nil {
		t.Fatal(err)
	}
	e.NetNS = st.Ino
	return e
}

// In calls f on a thread in the namespace of e.
func (e *End) In(f func() error) error {
	return osthread.Discard(func() error {
		if err := unix.Setns(e.fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		return f()
	})
}

// Run runs a program in the namespace of e.
func (e *End) Run(t testing.TB, argv ...string) {
	t.Helper()
	e.run(t, exec.Command(argv[0], argv[1:]...))
}

func (e *End) run(t testing.TB, c *exec.Cmd) {
	t.Helper()
	var out []byte
	err := e.In(func() (err error) {
		out, err = c.CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%q: %v\n%s", c.Args, err, out)
	}
}

// sysctl sets net.ipv4.name, where there is such a thing.
func (e *End) sysctl(name, value string) bool {
	return e.In(func() error { return os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0) }) == nil
}

// Sysctl sets net.ipv4.name.
func (e *End) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	if !e.sysctl(name, value) {
		t.Fatalf("set net.ipv4.%s to %s", name, value)
	}
}

// Down takes the device down, as a pulled cable does: sending fails here.
func (e *End) Down(t testing.TB) {
	t.Helper()
	e.Run(t, testenv.NeedTool(t, "ip", "iproute2"), "link", "set", e.Device, "down")
}

// Deafen has the end drop all packets that arrive, as a firewall does that has
// forgotten a connection: sending succeeds, and nobody answers.
func (e *End) Deafen(t testing.TB) {
	t.Helper()
	nft := testenv.NeedTool(t, "nft", "nftables")
	e.Run(t, nft, "add table inet deaf; add chain inet deaf in { type filter hook input priority 0; policy drop; }")
}
