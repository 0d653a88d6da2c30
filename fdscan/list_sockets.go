package fdscan

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sockets finds what the tables say of every socket that is listed.
func (l *lister) sockets() {
	listed := map[uint64][]*Descriptor{}
	for _, d := range l.snap.Descriptors {
		if d.Kind == AnySocket {
			listed[d.Inode] = append(listed[d.Inode], d)
		}
	}
	if len(listed) == 0 {
		return
	}
	found, _ := l.tables(l.ctx)
	for _, s := range found {
		for _, d := range listed[s.Inode] {
			// The subflows of an MPTCP connection share its inode.
			if d.Socket == nil || s.Protocol == MPTCP {
				d.Socket = s
			}
		}
	}
	l.connectionEnds(found, listed)
	names := map[uint64]string{}
	for _, s := range found {
		if s.Protocol == Unix {
			names[s.Inode] = s.Local.Path
		}
	}
	rows := map[string]map[uint64][]Detail{}
	for _, inode := range slices.Sorted(maps.Keys(listed)) {
		var asked *Socket
		for _, d := range listed[inode] {
			if s := d.Socket; s != nil && s.Protocol == Unix && s.Peer != 0 {
				d.otherEnd, s.Remote.Path = s.Peer, names[s.Peer]
			}
			d.protocol = l.socketProtocol(d)
			l.narrow(d)
			l.addRow(d, rows)
			if d.Kind == InetSocket && d.Socket == nil && !l.Detached {
				// It is not bound, or of no use any more, or belongs to a
				// network namespace that has no process.
				if asked == nil {
					asked = l.unidentified(Ref{PID: d.Process.PID, TID: d.TID, FD: d.FD, Inode: inode})
				}
				if asked.Protocol != "" {
					d.Socket = asked
				}
			}
		}
	}
}

// connectionEnds finds the other end of each connection that is listed: where it
// is on this machine, a table has it too.
func (l *lister) connectionEnds(found []*Socket, listed map[uint64][]*Descriptor) {
	f := farEnds{}
	for _, s := range found {
		if len(listed[s.Inode]) > 0 && isConnection(s) {
			f[wayOf(s)], f[wayOf(s).back()] = nil, nil
		}
	}
	for _, s := range found {
		if isConnection(s) {
			f.add(s)
		}
	}
	for _, s := range found {
		if far := f.of(s); far != nil {
			for _, d := range listed[s.Inode] {
				d.otherEnd = far.Inode
			}
		}
	}
}

func isConnection(s *Socket) bool { return s.Protocol != Unix && s.Remote.Port != 0 }

// way is from where to where a connection leads.
type way struct {
	stream bool
	ends   ends
}

func wayOf(s *Socket) way {
	plain := func(e Endpoint) netip.AddrPort { return netip.AddrPortFrom(e.Addr.Unmap(), e.Port) }
	return way{s.Protocol.Stream(), ends{plain(s.Local), plain(s.Remote)}}
}

func (w way) back() way { return way{w.stream, ends{w.ends.remote, w.ends.local}} }

// farEnds are the rows of all tables by their way; of ways that are no key, none
// is kept.
type farEnds map[way][]*Socket

func (f farEnds) add(s *Socket) {
	w := wayOf(s)
	rows, wanted := f[w]
	// The subflows of an MPTCP connection share its inode.
	if wanted && !slices.ContainsFunc(rows, func(o *Socket) bool { return o.NetNS == s.NetNS && o.Inode == s.Inode }) {
		f[w] = append(rows, s)
	}
}

// of returns the other end of s; nil when there is none, or none for certain. In
// another network namespace it is the only row with these ends, and s the only
// one with the opposite: networks that do not know of one another may use the
// same addresses.
func (f farEnds) of(s *Socket) *Socket {
	there := f[wayOf(s).back()]
	if i := slices.IndexFunc(there, func(o *Socket) bool { return o.NetNS == s.NetNS }); i >= 0 {
		return there[i]
	}
	if len(there) != 1 || len(f[wayOf(s)]) != 1 || s.Remote.Addr.Unmap().IsLoopback() {
		return nil
	}
	return there[0]
}

// socketProtocol is what socket_protocols of the kernel call the protocol: of a
// socket that no table lists, its file tells it.
func (l *lister) socketProtocol(d *Descriptor) string {
	switch {
	case d.Socket != nil && d.Socket.Protocol == Unix:
		return "UNIX"
	case d.Socket != nil && d.Socket.Protocol != "":
		return "TCP" // any of IPv4 and IPv6 is of that kind
	case l.Detached:
		return ""
	}
	name := make([]byte, 64)
	n, err := unix.Getxattr(l.descriptorPath("fd", d.Process.PID, d.TID, d.FD), "system.sockprotoname", name)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(name[:n]), "\x00")
}

// addRow adds what the text table of a netlink or packet socket says of it. Each
// table is read once for each network namespace.
func (l *lister) addRow(d *Descriptor, rows map[string]map[uint64][]Detail) {
	file := map[string]string{"NETLINK": "netlink", "PACKET": "packet"}[d.protocol]
	if file == "" {
		return
	}
	key := fmt.Sprint(file, d.Process.NetNS)
	table, known := rows[key]
	if !known {
		path := l.path(strconv.Itoa(d.Process.PID), "net", file)
		var err error
		if table, err = readSocketTable(path); err != nil && !gone(err) {
			l.gap(detailGap("read /proc/PID/net/"+file, d.Process.PID, err))
		}
		rows[key] = table
	}
	d.Details = append(d.Details, table[d.Inode]...)
}

// readSocketTable reads a table of /proc/PID/net whose columns have names: the
// cells of each row, by the inode in its last column.
func readSocketTable(path string) (map[uint64][]Detail, error) {
	var names []string
	rows := map[uint64][]Detail{}
	err := eachLine(path, func(line []byte) error {
		fields := strings.Fields(string(line))
		if names == nil {
			names = fields
			return nil
		}
		if len(fields) != len(names) || len(fields) < 2 {
			return nil
		}
		inode, err := strconv.ParseUint(fields[len(fields)-1], 10, 64)
		if err != nil {
			return nil
		}
		// The first column is an address in the kernel, which is hidden.
		for i := 1; i < len(fields)-1; i++ {
			rows[inode] = append(rows[inode], Detail{names[i], fields[i]})
		}
		return nil
	})
	return rows, err
}

// elsewhere says that a socket belongs to another network namespace than its
// process.
func (d *Descriptor) elsewhere() string {
	if s := d.Socket; s != nil && s.NetNS != d.Process.NetNS && s.NetNS != 0 && d.Process.NetNS != 0 {
		return fmt.Sprintf("in network namespace net:[%d]", s.NetNS)
	}
	return ""
}

// words is the socket in one line.
func (s *Socket) words() string {
	parts := []string{s.identity()}
	if s.Backlog != nil {
		parts = append(parts, fmt.Sprintf("backlog %d of %d", s.Backlog.Queued, s.Backlog.Limit))
	}
	if s.peerClosed {
		parts = append(parts, "the other end is closed")
	}
	if n := s.Unread(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d B unread", n))
	}
	if s.SendQueue != nil && *s.SendQueue > 0 {
		what := "not acknowledged"
		if s.Protocol == Unix {
			what = "not received"
		}
		parts = append(parts, fmt.Sprintf("%d B %s", *s.SendQueue, what))
	}
	return strings.Join(parts, ", ")
}

// identity is what the socket is, and its state: "tcp 127.0.0.1:80 LISTEN",
// "unix stream /run/x.sock ESTABLISHED".
func (s *Socket) identity() string {
	text := string(s.Protocol)
	switch {
	case s.Dead():
		return text + ", reset or closed at both ends: of no use any more"
	case s.Protocol != Unix && s.Local.Port == 0:
		return text + ", not bound"
	case s.Protocol != Unix:
		text += " " + s.Local.text()
		if s.Remote.Port != 0 {
			text += " → " + s.Remote.text()
		}
		return text + " " + string(s.State)
	}
	for _, word := range []string{s.Type, s.Local.Path} {
		if word != "" {
			text += " " + word
		}
	}
	if s.Remote.Path != "" {
		text += " → " + s.Remote.Path
	}
	return text + " " + string(s.State)
}

func (e Endpoint) text() string {
	if !e.Addr.IsValid() {
		return "*:" + strconv.Itoa(int(e.Port))
	}
	return e.addrPort().String()
}

// queued is "123 B unread"; empty for none.
func queued(bytes, what string) string {
	if bytes == "" || bytes == "0" {
		return ""
	}
	return bytes + " B " + what
}

// askName asks a socket that no table tells of for its addresses: raw sockets,
// those of vsock and of other families. The copy that is asked changes nothing.
func (l *lister) askName(d *Descriptor) string {
	text := ""
	_ = l.borrow(d, func(fd int) { text = nameWords(fd) })
	return text
}

// borrow calls f with a copy of a descriptor.
func (l *lister) borrow(d *Descriptor, f func(fd int)) error {
	if l.Detached {
		return unix.ESRCH
	}
	fd, err := copyFD(Ref{PID: d.Process.PID, TID: d.TID, FD: d.FD})
	if err != nil {
		if !gone(err) && !errors.Is(err, unix.EBADF) {
			l.gap(detailGap("pidfd_getfd", d.Process.PID, err))
		}
		return err
	}
	defer unix.Close(fd)
	// The number may mean something else by now. (None of the kinds that are
	// borrowed lies in a file system that could keep fstat waiting.)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != d.Inode {
		return unix.ESTALE
	}
	f(fd)
	return nil
}

// nameWords are the type and the addresses of a socket.
func nameWords(fd int) string {
	types := map[int]string{unix.SOCK_STREAM: "stream", unix.SOCK_DGRAM: "dgram", unix.SOCK_SEQPACKET: "seqpacket"}
	kind, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	listening, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	local, _ := unix.Getsockname(fd)
	remote, _ := unix.Getpeername(fd)
	state := ""
	if listening != 0 {
		state = string(Listen)
	}
	return sentence(types[kind], addressWords(local), labelled("→", addressWords(remote)), state)
}

// addressWords writes an address; "" for none, and of families that have none.
func addressWords(address unix.Sockaddr) string {
	switch a := address.(type) {
	case *unix.SockaddrInet4, *unix.SockaddrInet6:
		e := endpoint(a)
		if e.Addr.IsUnspecified() {
			return ""
		}
		return e.Addr.String() // of a raw socket the port is the protocol
	case *unix.SockaddrVM:
		number := func(n uint32) string {
			if n == unix.VMADDR_CID_ANY {
				return "any"
			}
			return strconv.FormatUint(uint64(n), 10)
		}
		return number(a.CID) + ":" + number(a.Port)
	case *unix.SockaddrXDP:
		return fmt.Sprintf("interface %d queue %d", a.Ifindex, a.QueueID)
	}
	return ""
}
