package fdscan

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"sort"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace other than the caller's.
type namespace struct {
	inode uint64 // 0 when only /proc/PID/net tells it apart
	// pid is a process in it, 0 for one that only a mount keeps.
	pid int
	// path leads to it: /proc/PID/ns/net or a mount of nsfs; "" when it may
	// not be opened.
	path string
}

// namespaces finds the other network namespaces: one readlink for each
// process, and the mounts of nsfs (as "ip netns add" makes them). Where the
// link may not be read, the inode of /proc/PID/net/tcp, which every user may
// stat, still tells namespaces apart.
func (l *lookup) namespaces() []namespace {
	if !l.namespacesKnown {
		l.others, l.namespacesKnown = l.findNamespaces(), true
	}
	return l.others
}

func (l *lookup) findNamespaces() []namespace {
	pids, err := listPIDs(l.root())
	if err != nil {
		l.gap(Gap{Op: "list " + l.root(), FD: -1, Err: reason(err), Scope: ScopeElsewhere})
		return nil
	}
	byInode := map[uint64]namespace{}
	byTable := map[uint64]int{}
	mineTable := l.tableInode("self")
	for _, pid := range pids {
		name := strconv.Itoa(pid)
		link := l.path(name, "ns/net")
		text, err := os.Readlink(link)
		switch inode := nsInode(text); {
		case err == nil && inode != 0:
			if _, ok := byInode[inode]; !ok && inode != l.snap.Host.NetNS {
				byInode[inode] = namespace{inode: inode, pid: pid, path: link}
			}
		case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
			if t := l.tableInode(name); t != 0 && t != mineTable && byTable[t] == 0 {
				byTable[t] = pid
			}
		}
	}
	for _, m := range l.nsMounts() {
		if _, ok := byInode[m.inode]; !ok && m.inode != l.snap.Host.NetNS {
			byInode[m.inode] = m
		}
	}
	found := make([]namespace, 0, len(byInode)+len(byTable))
	for _, ns := range byInode {
		found = append(found, ns)
	}
	readable := map[uint64]bool{}
	for _, ns := range found {
		if ns.pid != 0 {
			readable[l.tableInode(strconv.Itoa(ns.pid))] = true
		}
	}
	for t, pid := range byTable {
		if !readable[t] {
			found = append(found, namespace{pid: pid})
		}
	}
	sort.Slice(found, func(i, j int) bool {
		a, b := found[i], found[j]
		return a.inode < b.inode || a.inode == b.inode && a.pid < b.pid
	})
	return found
}

// tableInode is the inode of a process's net/tcp: one for each namespace.
func (l *lookup) tableInode(pid string) uint64 {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, l.path(pid, "net/tcp"), unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st) != nil {
		return 0
	}
	return st.Ino
}

// nsMounts reads the namespaces that a mount keeps alive.
func (l *lookup) nsMounts() (found []namespace) {
	info, err := os.ReadFile(l.path("self/mountinfo"))
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(info) {
		if inode, path := parseNSMount(string(line)); inode != 0 {
			found = append(found, namespace{inode: inode, path: path})
		}
	}
	return found
}

// parseNSMount reads a line of /proc/PID/mountinfo whose root is "net:[N]".
func parseNSMount(line string) (inode uint64, path string) {
	fields := strings.Fields(line)
	if len(fields) < 5 {
		return 0, ""
	}
	if inode = nsInode(fields[3]); inode == 0 {
		return 0, ""
	}
	return inode, unescapeMount(fields[4])
}

// unescapeMount undoes the octal escapes of mountinfo: \040, \011, \012, \134.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// nsInode reads the number in "net:[4026531840]"; 0 for anything else.
func nsInode(link string) uint64 {
	rest, ok := strings.CutPrefix(link, "net:[")
	if !ok {
		return 0
	}
	return inodeOf([]byte(rest))
}

// procNet reads the tables of a namespace that may not be entered. They lack
// bound-only sockets, cookies and cgroups; what they have, every user may read.
func (l *lookup) procNet(ns namespace) {
	fs, err := procfs.NewFS(l.path(strconv.Itoa(ns.pid)))
	if err != nil {
		return // it has ended
	}
	if _, high, all := l.portRange(); !all && high == 0 {
		return
	}
	l.gap(Gap{
		Op: "enter network namespace", PID: ns.pid, FD: -1, Err: "read from /proc/PID/net instead, which lacks bound-only sockets",
		Needs: "CAP_SYS_ADMIN", Scope: ScopeElsewhere,
	})
	add := func(p Protocol, family Family, state uint64, local, remote netip.AddrPort, uid, inode uint64) {
		u := uint32(uid)
		s := &Socket{
			Protocol: p, Family: family, State: inetStates[uint8(state)], NetNS: ns.inode, UID: &u, Inode: inode,
			Local: Endpoint{Addr: local.Addr(), Port: local.Port()},
		}
		if remote.Port() != 0 {
			s.Remote = Endpoint{Addr: remote.Addr(), Port: remote.Port()}
		}
		if s.State == TimeWait {
			s.UID = nil
		}
		if l.wantsInet(s) {
			l.add(s)
		}
	}
	for family, read := range map[Family]func() (procfs.NetTCP, error){Inet: fs.NetTCP, Inet6: fs.NetTCP6} {
		rows, err := read()
		if err != nil {
			continue
		}
		for _, r := range rows {
			add(TCP, family, r.St, netAddr(r.LocalAddr, r.LocalPort), netAddr(r.RemAddr, r.RemPort), r.UID, r.Inode)
		}
	}
	for family, read := range map[Family]func() (procfs.NetUDP, error){Inet: fs.NetUDP, Inet6: fs.NetUDP6} {
		rows, err := read()
		if err != nil {
			continue
		}
		for _, r := range rows {
			add(UDP, family, r.St, netAddr(r.LocalAddr, r.LocalPort), netAddr(r.RemAddr, r.RemPort), r.UID, r.Inode)
		}
	}
}

func netAddr(ip []byte, port uint64) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(addr, uint16(port))
}
