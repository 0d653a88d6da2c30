package fdscan

import (
	"bytes"
	"strconv"
)

// lacksMPTCP reports that no MPTCP socket is in a network namespace: then its
// tables need not be read, for which the kernel walks over its hash of listeners
// and that of all tokens, 1.5 ms however empty they are. The counts of
// /proc/PID/net/protocols are exact for what the tables list; before Linux 6.3
// they are 0 always.
func (l *lookup) lacksMPTCP(netns uint64) bool {
	if !KernelAtLeast(l.snap.Host.Kernel, 6, 6) {
		return false
	}
	if netns == l.snap.Host.NetNS {
		text, err := readFile(l.path("thread-self/net/protocols"))
		return err == nil && parseNoMPTCP(text)
	}
	for _, ns := range l.namespaces() {
		if ns.inode != netns {
			continue
		}
		if ns.pid == 0 {
			return l.lacksMPTCPAt(ns)
		}
		process := strconv.Itoa(ns.pid)
		text, err := readFile(l.path(process, "net/protocols"))
		if err != nil {
			return false
		}
		// The process may have ended, or gone elsewhere.
		link, err := readLink(l.path(process, "ns/net"))
		return err == nil && nsInode(link) == netns && parseNoMPTCP(text)
	}
	return false
}

// lacksMPTCPAt is for a namespace without a process.
func (l *lookup) lacksMPTCPAt(ns namespace) (lacks bool) {
	for _, path := range ns.paths {
		err := l.inNamespace(path, ns.inode, func() {
			text, err := readFile(l.path("thread-self/net/protocols"))
			lacks = err == nil && parseNoMPTCP(text)
		})
		if err == nil {
			return lacks
		}
	}
	return false
}

// parseNoMPTCP reads the lines "MPTCP size sockets …" and "MPTCPv6 …": false when
// there is a socket, or a line that cannot be read.
func parseNoMPTCP(text []byte) bool {
	for line := range bytes.Lines(text) {
		if fields := bytes.Fields(line); hasPrefix(line, "MPTCP") && (len(fields) < 3 || string(fields[2]) != "0") {
			return false
		}
	}
	return true
}
