package fdscan

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// hiddenNamespaces finds the network namespaces that an open descriptor keeps, or
// a mount in another mount namespace: it takes a look at every descriptor.
func (l *lookup) hiddenNamespaces(pids []int) (found []namespace) {
	var mu sync.Mutex
	walker := ProcWalker{Root: l.root()}
	// A context that ends is told by whoever asks next.
	_ = walker.walk(l.ctx, pids, func() *shard {
		s := &shard{root: walker.Root, gap: l.gap, dents: make([]byte, direntBuffer), link: make([]byte, Want{}.longestLink())}
		s.see = func(_ int, _ []byte, r Ref, link []byte) {
			if !hasPrefix(link, "net:[") {
				return
			}
			mu.Lock()
			found = append(found, namespace{inode: nsInode(string(link)), paths: []string{s.name(r.PID, r.TID, "fd/"+strconv.Itoa(r.FD))}})
			mu.Unlock()
		}
		return s
	})
	seen := map[string]bool{}
	if own, err := os.Readlink(l.path("self/ns/mnt")); err == nil {
		seen[own] = true // findNamespaces reads those
	}
	for _, pid := range pids {
		process := strconv.Itoa(pid)
		mounts, err := os.Readlink(l.path(process, "ns/mnt"))
		if err != nil || seen[mounts] {
			continue
		}
		seen[mounts] = true
		for _, m := range l.nsMounts(process) {
			for i, path := range m.paths {
				m.paths[i] = filepath.Join(l.path(process, "root"), path)
			}
			found = append(found, m)
		}
	}
	return found
}

// unlistedAnywhere finds a descriptor of each socket that no table lists.
func (c *connections) unlistedAnywhere(ctx context.Context) (refs []Ref, err error) {
	known, _ := c.listed()
	err = c.walker().Walk(ctx, Want{AllSockets: true}, func(r Ref) {
		if !known[r.Inode] {
			known[r.Inode] = true
			refs = append(refs, r)
		}
	}, c.gap)
	return refs, err
}

// unshown finds the descriptors of the processes that were named whose sockets no
// table has shown: most are of other families, or have not been connected yet.
func (c *connections) unshown(ctx context.Context) (refs []Ref, err error) {
	want := Want{Sockets: map[uint64]bool{}, PIDs: c.ask.PIDs}
	for inode, shown := range c.held {
		if !shown {
			want.Sockets[inode] = true
		}
	}
	if len(want.Sockets) == 0 {
		return nil, ctx.Err()
	}
	err = c.walker().Walk(ctx, want, func(r Ref) {
		if !c.held[r.Inode] { // each is asked once
			c.held[r.Inode] = true
			refs = append(refs, r)
		}
	}, c.gap)
	return refs, err
}

// ownerless adds the network namespaces that nothing but sockets keeps, those that
// refs refer to among them, and returns what it has added (SIOCGSKNS). The
// descriptors that keep them meanwhile are in c.opened.
func (c *connections) ownerless(refs []Ref) (added []namespace) {
	entered := map[uint64]bool{c.snap.Host.NetNS: true}
	for _, ns := range c.namespaces() {
		entered[ns.inode] = true
	}
	for _, r := range refs {
		fd, err := copySocket(r, r.Inode)
		if err != nil {
			if !gone(err) {
				c.gap(detailGap("pidfd_getfd", r.PID, err))
			}
			continue
		}
		ns := namespaceOf(fd)
		unix.Close(fd)
		switch {
		case ns == nil:
		case entered[ns.inode]:
			unix.Close(ns.fd)
		default:
			entered[ns.inode] = true
			c.opened = append(c.opened, ns.fd)
			added = append(added, namespace{inode: ns.inode, paths: []string{c.path("self/fd", strconv.Itoa(ns.fd))}})
		}
	}
	c.others = append(c.others, added...)
	return added
}
