package fdscan

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/osthread"
)

// network reads what TCP goes by in a network namespace. /proc/sys/net shows that
// of the thread which reads it, so that a thread has to go there.
func (l *lookup) network(inode uint64) *Network {
	n := &Network{NetNS: inode}
	if inode == l.snap.Host.NetNS || l.Detached {
		l.readNetwork(n)
		return n
	}
	for _, ns := range l.namespaces() {
		if ns.inode != inode {
			continue
		}
		for _, path := range ns.paths {
			if l.inNamespace(path, inode, func() { l.readNetwork(n) }) == nil {
				return n
			}
		}
		if ns.pid != 0 {
			n.ListenOverflows, n.ListenDrops = l.listenCounters(strconv.Itoa(ns.pid))
		}
	}
	return n
}

// inNamespace calls f on a thread that has entered the network namespace at path
// (setns(2), CAP_SYS_ADMIN), which is thrown away after it.
func (l *lookup) inNamespace(path string, inode uint64, f func()) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != inode {
		return unix.ESRCH
	}
	return osthread.Discard(func() error {
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return err
		}
		f()
		return nil
	})
}

// readNetwork reads n in the namespace of the calling thread.
func (l *lookup) readNetwork(n *Network) {
	n.ListenOverflows, n.ListenDrops = l.listenCounters("thread-self")
	value := func(name string, otherwise int) int {
		v, err := strconv.Atoi(l.sysctl("net/ipv4/" + name))
		if err != nil {
			return otherwise
		}
		n.Known = true
		return v
	}
	// Where a name is absent, the kernel has what was a constant then.
	n.Retries2, n.SynRetries, n.OrphanRetries = value("tcp_retries2", 15), value("tcp_syn_retries", 6), value("tcp_orphan_retries", 0)
	n.SynLinear = value("tcp_syn_linear_timeouts", 0)
	n.RTOMin = time.Duration(value("tcp_rto_min_us", 200_000)) * time.Microsecond
	n.RTOMax = time.Duration(value("tcp_rto_max_ms", 120_000)) * time.Millisecond
	n.KeepaliveInterval = time.Duration(value("tcp_keepalive_intvl", 75)) * time.Second
	n.KeepaliveProbes = value("tcp_keepalive_probes", 9)
}

// listenCounters reads ListenOverflows and ListenDrops of /proc/PID/net/netstat.
func (l *lookup) listenCounters(pid string) (overflows, drops *uint64) {
	text, err := os.ReadFile(l.path(pid, "net/netstat"))
	if err != nil {
		return nil, nil
	}
	counters := parseNetstat(text)
	return counters["ListenOverflows"], counters["ListenDrops"]
}

// parseNetstat reads the counters of TcpExt: a line with their names and, below
// it, one with their values.
func parseNetstat(text []byte) map[string]*uint64 {
	counters := map[string]*uint64{}
	var names []string
	for line := range bytes.Lines(text) {
		rest, ok := strings.CutPrefix(string(line), "TcpExt:")
		if !ok {
			continue
		}
		words := strings.Fields(rest)
		if names == nil {
			names = words
			continue
		}
		for i := range min(len(names), len(words)) {
			if n, err := strconv.ParseUint(words[i], 10, 64); err == nil {
				counters[names[i]] = &n
			}
		}
		break
	}
	return counters
}
