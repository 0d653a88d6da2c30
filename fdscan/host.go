package fdscan

import (
	"bytes"
	"cmp"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// host reads the facts about the machine that belong to every answer.
func (l *lookup) host() error {
	h := &l.snap.Host
	l.snap.TakenAt = time.Now().UTC()
	if _, err := os.Stat(l.path("self/stat")); err != nil && !l.Detached {
		return err
	}
	h.Name = l.sysctl("kernel/hostname")
	h.Kernel = cmp.Or(l.Kernel, l.sysctl("kernel/osrelease"))
	h.BootID = l.sysctl("kernel/random/boot_id")
	h.UID = uint32(os.Geteuid())
	if text, err := os.Readlink(l.path("thread-self/ns/net")); err == nil {
		h.NetNS = nsInode(text)
	}
	h.Started = l.bootTime()
	h.Bind = l.bindConditions()
	for _, option := range l.hidepid() {
		l.gap(Gap{Op: "list " + l.root(), FD: -1, Err: "mounted with " + option + ": processes of other users are hidden", Needs: "CAP_SYS_PTRACE", Scope: ScopeHolders})
	}
	return nil
}

// sysctl reads a value below /proc/sys; "" when it cannot be read.
func (l *lookup) sysctl(name string) string {
	b, err := readFile(l.path("sys", name))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

// bootTime is btime of /proc/stat, which process start times count from.
func (l *lookup) bootTime() time.Time {
	b, err := readFile(l.path("stat"))
	if err != nil {
		return time.Time{}
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("btime ")); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64)
			return time.Unix(n, 0).UTC()
		}
	}
	return time.Time{}
}

func (l *lookup) bindConditions() BindConditions {
	c := BindConditions{UnprivilegedPortStart: 1024}
	if n, err := strconv.ParseUint(l.sysctl("net/ipv4/ip_unprivileged_port_start"), 10, 16); err == nil {
		c.UnprivilegedPortStart = uint16(n)
	}
	if f := strings.Fields(l.sysctl("net/ipv4/ip_local_port_range")); len(f) == 2 {
		low, _ := strconv.ParseUint(f[0], 10, 16)
		high, _ := strconv.ParseUint(f[1], 10, 16)
		c.EphemeralLow, c.EphemeralHigh = uint16(low), uint16(high)
	}
	_, err := os.Stat(l.path("thread-self/net/if_inet6"))
	c.IPv6 = err == nil
	c.Addresses = addresses()
	c.NetBindService = HasCapability(unix.CAP_NET_BIND_SERVICE)
	return c
}

// addresses asks for the addresses of the interfaces of this network namespace
// (rtnetlink(7), RTM_GETADDR); nil when they cannot be read.
func addresses() (list []netip.Addr) {
	reply, err := syscall.NetlinkRIB(unix.RTM_GETADDR, unix.AF_UNSPEC)
	if err != nil {
		return nil
	}
	messages, err := syscall.ParseNetlinkMessage(reply)
	if err != nil {
		return nil
	}
	for i := range messages {
		if messages[i].Header.Type != unix.RTM_NEWADDR {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(&messages[i])
		if err != nil {
			return nil
		}
		// On a point-to-point link IFA_ADDRESS is the other end's; IFA_LOCAL,
		// which IPv4 always has, is ours.
		var local, address netip.Addr
		for _, a := range attributes {
			switch addr, _ := netip.AddrFromSlice(a.Value); a.Attr.Type {
			case unix.IFA_LOCAL:
				local = addr
			case unix.IFA_ADDRESS:
				address = addr
			}
		}
		if local.IsValid() {
			address = local
		}
		list = append(list, address)
	}
	return list
}

// HasCapability reports whether a capability is in the caller's effective set
// (capget(2)).
func HasCapability(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

// seesAllPIDs reports that this process is in the initial pid namespace, the only
// one from which every process can be seen.
func (l *lookup) seesAllPIDs() bool {
	const initial = "pid:[4026531836]" // PROC_PID_INIT_INO of include/linux/proc_ns.h
	namespace, err := os.Readlink(l.path("thread-self/ns/pid"))
	return err == nil && namespace == initial
}

// hidepid returns the hidepid option of the mount at root, when it hides
// processes from this caller (proc(5)).
func (l *lookup) hidepid() []string {
	if l.snap.Host.UID == 0 || HasCapability(unix.CAP_SYS_PTRACE) {
		return nil
	}
	info, err := readFile(l.path("self/mountinfo"))
	if err != nil {
		return nil
	}
	var found []string
	for line := range bytes.Lines(info) {
		if o := parseHidepid(string(line), l.root()); o != "" {
			found = []string{o} // the last mount covers the others
		}
	}
	return found
}

// parseHidepid reads the hidepid option of a mountinfo line about root; "" when
// it is another mount, or hides nothing.
func parseHidepid(line, root string) string {
	before, after, ok := strings.Cut(line, " - ")
	fields := strings.Fields(before)
	if !ok || len(fields) < 5 || unescapeMount(fields[4]) != root {
		return ""
	}
	rest := strings.Fields(after)
	if len(rest) < 3 || rest[0] != "proc" {
		return ""
	}
	for o := range strings.SplitSeq(rest[2], ",") {
		switch o {
		case "hidepid=2", "hidepid=invisible", "hidepid=4", "hidepid=ptraceable", "hidepid=1", "hidepid=noaccess":
			return o
		}
	}
	return ""
}

// listsBound reports whether sock_diag shows sockets that are bound and nothing
// else: since Linux 6.8.
func (l *lookup) listsBound() bool { return KernelAtLeast(l.snap.Host.Kernel, 6, 8) }

// KernelAtLeast compares a uname release such as "6.18.44-amd64" with a version.
// A release that cannot be read counts as old.
func KernelAtLeast(release string, major, minor int) bool {
	a, rest, _ := strings.Cut(release, ".")
	b := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		b = rest[:i]
	}
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	if err1 != nil || err2 != nil {
		return false
	}
	return x > major || x == major && y >= minor
}
