package fdscan

import (
	"bytes"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace other than the caller's.
type namespace struct {
	inode uint64 // 0 when only /proc/PID/net tells it apart
	// pid is a process in it, 0 for one that only a mount keeps.
	pid int
	// paths lead to it: /proc/PID/ns/net and mounts of nsfs; none when it may
	// not be opened. There are several, since processes end.
	paths []string
}

// maxPaths is how many ways into one namespace are remembered.
const maxPaths = 4

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
	root, err := unix.Open(l.root(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(root)
	var path, link [64]byte
	byInode := map[uint64]namespace{}
	byTable := map[uint64]int{}
	mineTable := l.tableInode("thread-self")
	for _, pid := range pids {
		// A process costs one system call and no allocation here.
		n, errno := readlinkat(root, append(strconv.AppendInt(path[:0], int64(pid), 10), "/ns/net\x00"...), link[:])
		switch {
		case errno == 0 && hasPrefix(link[:n], "net:["):
			inode := inodeOf(link[len("net:["):n])
			if ns := byInode[inode]; inode != l.snap.Host.NetNS && len(ns.paths) < maxPaths {
				byInode[inode] = namespace{inode: inode, pid: pid, paths: append(ns.paths, l.path(strconv.Itoa(pid), "ns/net"))}
			}
		case errno == unix.EACCES, errno == unix.EPERM:
			if t := l.tableInode(strconv.Itoa(pid)); t != 0 && t != mineTable && byTable[t] == 0 {
				byTable[t] = pid
			}
		}
	}
	kept := l.nsMounts("self")
	if l.question.Deep {
		kept = append(kept, l.hiddenNamespaces(pids)...)
	}
	for _, m := range kept {
		if ns := byInode[m.inode]; m.inode != l.snap.Host.NetNS {
			ns.inode, ns.paths = m.inode, append(m.paths, ns.paths[:min(len(ns.paths), maxPaths)]...)
			byInode[m.inode] = ns
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

// nsMounts reads the namespaces that a mount keeps alive which a process sees.
func (l *lookup) nsMounts(process string) (found []namespace) {
	info, err := readFile(l.path(process, "mountinfo"))
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(info) {
		if inode, path := parseNSMount(string(line)); inode != 0 {
			found = append(found, namespace{inode: inode, paths: []string{path}})
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
