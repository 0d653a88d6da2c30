package fdscan

import (
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"stray/internal/sockdiag"
)

// items counts the descriptors of a table by what they are.
func (w *Watcher) items(p *Process, table []*Descriptor) map[Item]int {
	w.identify(p, table)
	items := map[Item]int{}
	for _, d := range table {
		items[w.item(d)]++
	}
	// A path that is open once tells little, and there may be very many.
	for item, n := range items {
		if n == 1 && strings.HasPrefix(item.Target, "/") && item.Kind == Regular.Name {
			delete(items, item)
			dir, deleted := path.Dir(strings.TrimSuffix(item.Target, deletedSuffix)), ""
			if strings.HasSuffix(item.Target, deletedSuffix) {
				deleted = deletedSuffix
			}
			items[Item{item.Kind, strings.TrimSuffix(dir, "/") + "/…" + deleted}]++
		}
	}
	return items
}

const deletedSuffix = " (deleted)"

// item tells what a descriptor is.
func (w *Watcher) item(d *Descriptor) Item {
	item := Item{Kind: d.Kind.Name}
	switch {
	case strings.HasPrefix(d.Link, "socket:["):
		if known, ok := w.sockets[d.Inode]; ok {
			return known
		}
	case strings.HasPrefix(d.Link, "/"):
		item.Target = d.Link
		if d.Deleted {
			item.Target += deletedSuffix
		}
	}
	return item
}

// mostAsked is how often a socket is looked for in the tables. A socket in none
// of them is of another family, or neither bound nor connected.
const mostAsked = 3

// identify finds out what the sockets of a table are that were not met before.
func (w *Watcher) identify(p *Process, table []*Descriptor) {
	unknown := map[uint64]bool{}
	for _, d := range table {
		if _, known := w.sockets[d.Inode]; !known && strings.HasPrefix(d.Link, "socket:[") && w.asked[d.Inode] < mostAsked {
			unknown[d.Inode] = true
			w.asked[d.Inode]++
		}
	}
	if len(unknown) == 0 {
		return
	}
	conn, err := w.connect(p)
	if err != nil {
		if !gone(err) {
			w.lookup.gap(detailGap("sock_diag in the namespace", p.PID, err))
		}
		return
	}
	defer conn.Close()
	var listeners, asked []*Socket
	for _, s := range w.dump(conn) {
		if s.State == Listen {
			listeners = append(listeners, s)
		}
		if unknown[s.Inode] {
			asked = append(asked, s)
		}
	}
	for _, s := range asked {
		w.sockets[s.Inode] = Item{string(s.Protocol), socketTarget(s, listeners)}
	}
}

// connect opens sock_diag in the network namespace of a process.
func (w *Watcher) connect(p *Process) (*sockdiag.Conn, error) {
	if p.NetNS == w.lookup.snap.Host.NetNS || p.NetNS == 0 {
		return w.lookup.dial()
	}
	ns, err := os.Open(w.lookup.path(strconv.Itoa(p.PID), "ns/net"))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return w.lookup.dialIn(int(ns.Fd()))
}

// dump reads every table of a namespace. One that cannot be read leaves its
// sockets without a target.
func (w *Watcher) dump(conn *sockdiag.Conn) (sockets []*Socket) {
	for _, t := range inetTables {
		rows, err := conn.Inet(sockdiag.InetRequest{Family: t.family, Protocol: t.number, States: w.lookup.states()})
		if err != nil && !errors.Is(err, sockdiag.ErrUnsupported) {
			w.lookup.gap(Gap{Op: "sock_diag " + t.name(), FD: -1, Err: reason(err), Scope: ScopeDetail})
		}
		for i := range rows {
			sockets = append(sockets, inetSocket(t.protocol, &rows[i]))
		}
	}
	rows, err := conn.Unix()
	if err != nil {
		w.lookup.gap(Gap{Op: "sock_diag unix", FD: -1, Err: reason(err), Scope: ScopeDetail})
	}
	names := map[uint32]string{}
	for i := range rows {
		names[rows[i].Inode] = unixName(rows[i].Name)
	}
	for i := range rows {
		s := unixSocket(&rows[i])
		s.Remote.Path = names[rows[i].Peer]
		sockets = append(sockets, s)
	}
	return sockets
}

// socketTarget says what a socket is for, in words that are the same for all
// sockets of that purpose: the far end of what was connected, the near end of
// what was accepted.
func socketTarget(s *Socket, listeners []*Socket) string {
	switch {
	case s.State == Listen:
		return "listening on " + s.Local.name()
	case s.Remote.Port == 0 && s.Remote.Path == "" && s.Protocol != Unix:
		return "bound to " + s.Local.name()
	}
	var by *Socket
	for _, l := range listeners {
		// A specific address comes before a wildcard.
		if l.Accepts(s) && (by == nil || by.Local.Addr.IsUnspecified()) {
			by = l
		}
	}
	switch {
	case by != nil:
		return "accepted on " + by.Local.name()
	case s.Remote.Port != 0 || s.Remote.Path != "":
		return "to " + s.Remote.name()
	case s.Local.Path != "":
		return "bound to " + s.Local.Path
	}
	return ""
}

// name writes an address and a port, or the name of a unix socket.
func (e Endpoint) name() string {
	if !e.Addr.IsValid() {
		return e.Path
	}
	return Endpoint{Addr: e.Addr.Unmap(), Port: e.Port}.text()
}
