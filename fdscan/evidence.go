package fdscan

import (
	"bytes"
	"cmp"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// evidence reads what tells how the holders came by what they hold.
func (l *lookup) evidence() error {
	l.tablesShared()
	l.flags()
	i, err := l.interrogate()
	if err != nil {
		return err
	}
	l.relatives()
	l.options()
	l.creators()
	if l.survey != nil && l.survey.meanwhile != nil {
		l.survey.meanwhile(l.snap.Read)
	}
	return i.watch()
}

// eachHolder yields every holder of the answer.
func (l *lookup) eachHolder(yield func(*Holder) bool) {
	for _, s := range l.snap.Sockets {
		for _, h := range s.Holders {
			if !yield(h) {
				return
			}
		}
	}
	for _, o := range l.snap.Objects {
		for _, h := range o.Holders {
			if !yield(h) {
				return
			}
		}
	}
}

// descriptorPath is the path of a descriptor in the directory "fd" or "fdinfo"
// of a process, or of the thread that has a table of its own.
func (l *lookup) descriptorPath(directory string, pid, tid, fd int) string {
	if tid != 0 {
		return l.path(strconv.Itoa(pid), "task", strconv.Itoa(tid), directory, strconv.Itoa(fd))
	}
	return l.path(strconv.Itoa(pid), directory, strconv.Itoa(fd))
}

// flags reads the flags of every holder, and drops those whose descriptor is of
// another file by now.
func (l *lookup) flags() {
	type holding struct {
		socket *Socket // nil for a file
		holder *Holder
		stays  bool
	}
	var all []holding
	for _, s := range l.snap.Sockets {
		if l.survey.isAlone(s) {
			continue
		}
		for _, h := range s.Holders {
			all = append(all, holding{socket: s, holder: h})
		}
	}
	for _, o := range l.snap.Objects {
		for _, h := range o.Holders {
			all = append(all, holding{holder: h})
		}
	}
	sideBySide(len(all), func(i int) {
		inode := l.readFlags(all[i].holder)
		all[i].stays = inode == 0 || all[i].socket == nil || inode == all[i].socket.Inode
	})
	l.snap.Sockets = slices.DeleteFunc(l.snap.Sockets, func(s *Socket) bool {
		if l.survey.isAlone(s) {
			return false
		}
		held := len(s.Holders)
		s.Holders = slices.DeleteFunc(s.Holders, func(*Holder) bool {
			stays := all[0].stays
			all = all[1:]
			return !stays
		})
		return l.survey != nil && held > 0 && len(s.Holders) == 0 // closed meanwhile
	})
}

// readFlags reads FD_CLOEXEC of an entry in a descriptor table, and O_ASYNC of
// what it refers to. It returns the inode of that; 0 when it is not told.
func (l *lookup) readFlags(h *Holder) (inode uint64) {
	if h.Via != ViaTable && h.Via != ViaThread {
		return 0
	}
	text, err := readFile(l.descriptorPath("fdinfo", h.Process.PID, h.TID, h.FD))
	if err != nil {
		if !gone(err) {
			g := detailGap("read fdinfo", h.Process.PID, err)
			g.TID, g.FD = h.TID, h.FD
			l.gap(g)
		}
		return 0
	}
	info := parseFDInfo(text)
	h.CloseOnExec = new(info.CloseOnExec())
	h.SignalDriven = info.Flags&unix.O_ASYNC != 0
	return info.Inode
}

// relatives reads the ancestors of every holder, and the leaders of their
// process groups and sessions; one that is missing afterwards has ended.
func (l *lookup) relatives() {
	var pids []int
	for _, p := range l.snap.Processes {
		if p != nil {
			pids = append(pids, p.PID)
		}
	}
	slices.Sort(pids)
	for _, pid := range pids {
		p := l.snap.Processes[pid]
		l.process(p.Group)
		l.process(p.Session)
		for p != nil {
			l.process(p.PPID)
			p = l.snap.Parent(p)
		}
	}
}

// options asks every socket with a holder that may be asked for its options.
// Those of connections matter only where no listener says no already; and in a
// survey those of an address that nobody shares matter to nobody.
func (l *lookup) options() {
	if l.Detached {
		return
	}
	type port struct {
		netns  uint64
		port   uint16
		stream bool
	}
	type address struct {
		port
		addr netip.Addr
	}
	portOf := func(s *Socket) port { return port{s.NetNS, s.Local.Port, s.Protocol.Stream()} }
	addressOf := func(s *Socket) address { return address{portOf(s), s.Local.Addr} }
	listeners, sharing := map[port][]*Socket{}, map[address]int{}
	for _, s := range l.snap.Sockets {
		if s.State == Listen && s.NetNSMine {
			listeners[portOf(s)] = append(listeners[portOf(s)], s)
		}
		if s.State == Listen || s.State == Bound {
			sharing[addressOf(s)]++
		}
	}
	for _, s := range l.snap.Sockets {
		if l.survey != nil && s.Protocol != Unix && s.State != Bound && sharing[addressOf(s)] < 2 {
			continue
		}
		blocked := s.State != Listen && s.State != Bound && slices.ContainsFunc(listeners[portOf(s)], func(o *Socket) bool { return o.Accepts(s) })
		if s.ReuseAddr != nil || s.Protocol == Unix && s.State != Listen || blocked {
			continue
		}
		var g *Gap
		for _, h := range s.Holders {
			if h.Via != ViaTable && h.Via != ViaThread {
				continue
			}
			err := s.askOptions(Ref{PID: h.Process.PID, TID: h.TID, FD: h.FD})
			if err == nil {
				l.process(s.ListenedBy)
				g = nil
				break
			}
			if g == nil && !gone(err) {
				g = new(detailGap("pidfd_getfd", h.Process.PID, err))
				g.TID, g.FD = h.TID, h.FD
			}
		}
		if g != nil {
			l.gap(*g)
		}
	}
}

// creators maps the cgroup ids of the sockets to paths. The id of a cgroup is
// the inode of its directory (version 2), so that a walk over the mount tells.
func (l *lookup) creators() {
	wanted := map[uint64]string{}
	for _, s := range l.snap.Sockets {
		if s.CgroupID > 1 {
			wanted[s.CgroupID] = ""
		} else if s.CgroupID == 1 {
			s.Cgroup = "/"
		}
	}
	if len(wanted) == 0 {
		return
	}
	mount := l.cgroupMount()
	if mount == "" {
		return
	}
	left := len(wanted)
	_ = filepath.WalkDir(mount, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir():
			return nil
		case left == 0:
			return filepath.SkipAll
		}
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil {
			if name, ok := wanted[st.Ino]; ok && name == "" {
				wanted[st.Ino] = cmp.Or(path[len(mount):], "/")
				left--
			}
		}
		return nil
	})
	for _, s := range l.snap.Sockets {
		if name := wanted[s.CgroupID]; name != "" {
			s.Cgroup = name
		}
	}
}

// cgroupMount is where the unified hierarchy is mounted; "" when it is not.
func (l *lookup) cgroupMount() string {
	info, err := readFile(l.path("self/mountinfo"))
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(info) {
		before, after, _ := bytes.Cut(line, []byte(" - "))
		if fields := bytes.Fields(before); bytes.HasPrefix(after, []byte("cgroup2 ")) && len(fields) > 4 {
			return unescapeMount(string(fields[4]))
		}
	}
	return ""
}
