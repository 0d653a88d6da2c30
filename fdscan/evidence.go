package fdscan

import (
	"bytes"
	"cmp"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// evidence reads what tells how the holders came by what they hold.
func (l *lookup) evidence() error {
	l.tablesShared()
	holders := slices.Collect(l.eachHolder)
	sideBySide(len(holders), func(i int) { l.readFlags(holders[i]) })
	if err := l.interrogate(); err != nil {
		return err
	}
	l.relatives()
	l.options()
	l.creators()
	return nil
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

// recheck reads the links of the found descriptors again, now that their
// processes are known, and drops what a pid or a number no longer means.
func (l *lookup) recheck() {
	if l.Detached {
		return
	}
	type suspect struct {
		holder *Holder
		link   string // "" for one that is not compared
		stays  bool
	}
	var suspects []suspect
	for _, s := range l.snap.Sockets {
		link := "socket:[" + strconv.FormatUint(s.Inode, 10) + "]"
		for _, h := range s.Holders {
			suspects = append(suspects, suspect{holder: h, link: link})
		}
	}
	for _, o := range l.snap.Objects {
		for _, h := range o.Holders {
			suspects = append(suspects, suspect{holder: h})
		}
	}
	processes := map[*Process]bool{}
	for _, s := range suspects {
		processes[s.holder.Process] = true
	}
	ended := make(map[*Process]bool)
	for p := range processes {
		if l.startTicks(p.PID) != p.StartTicks {
			ended[p] = true
			delete(l.snap.Processes, p.PID) // another may have the number now
		}
	}
	sideBySide(len(suspects), func(i int) {
		s := &suspects[i]
		h := s.holder
		s.stays = !ended[h.Process]
		if s.stays && s.link != "" && (h.Via == ViaTable || h.Via == ViaThread) {
			text, err := os.Readlink(l.descriptorPath("fd", h.Process.PID, h.TID, h.FD))
			s.stays = err == nil && text == s.link
		}
	})
	// In the same order as above.
	drop := func(of any, holders []*Holder) []*Holder {
		return slices.DeleteFunc(holders, func(h *Holder) bool {
			stays := suspects[0].stays
			suspects = suspects[1:]
			if !stays {
				delete(l.held, keyOf(of, h))
			}
			return !stays
		})
	}
	for _, s := range l.snap.Sockets {
		s.Holders = drop(s, s.Holders)
	}
	for _, o := range l.snap.Objects {
		o.Holders = drop(o, o.Holders)
	}
}

// sideBySide calls f with each number below n, on as many threads as a walk.
func sideBySide(n int, f func(i int)) {
	const share = 64 // numbers that one takes at a time
	workers := min(runtime.GOMAXPROCS(0), 4, (n+share-1)/share)
	var next atomic.Int64
	run := func() {
		for {
			from := int(next.Add(share)) - share
			if from >= n {
				return
			}
			for i := from; i < min(from+share, n); i++ {
				f(i)
			}
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(run)
	}
	run()
	wg.Wait()
}

// descriptorPath is the path of a descriptor in the directory "fd" or "fdinfo"
// of a process, or of the thread that has a table of its own.
func (l *lookup) descriptorPath(directory string, pid, tid, fd int) string {
	if tid != 0 {
		return l.path(strconv.Itoa(pid), "task", strconv.Itoa(tid), directory, strconv.Itoa(fd))
	}
	return l.path(strconv.Itoa(pid), directory, strconv.Itoa(fd))
}

// tablesShared finds processes that use one and the same descriptor table.
func (l *lookup) tablesShared() {
	if l.Detached {
		return
	}
	for _, s := range l.snap.Sockets {
		findSharers(s.Holders)
	}
	for _, o := range l.snap.Objects {
		findSharers(o.Holders)
	}
}

// findSharers notes which holders are one entry of one table.
func findSharers(holders []*Holder) {
	byNumber := map[int][]*Holder{}
	for _, h := range holders {
		if h.Via == ViaTable {
			byNumber[h.FD] = append(byNumber[h.FD], h)
		}
	}
	for _, same := range byNumber {
		eachSharing(same, func(h *Holder) int { return h.Process.PID }, func(h, other *Holder) {
			h.SharesTableWith = append(h.SharesTableWith, other.Process.PID)
		})
	}
}

// eachSharing calls f with each pair, in both orders, whose processes use one and
// the same table, by pid. kcmp(2) orders tables, so that equal ones come to stand
// side by side.
func eachSharing[T comparable](all []T, pid func(T) int, f func(a, b T)) {
	if len(all) < 2 {
		return
	}
	order := func(a, b T) int {
		n, _ := compareTables(pid(a), pid(b))
		return n
	}
	all = slices.DeleteFunc(all, func(a T) bool { _, err := compareTables(pid(a), pid(a)); return err != nil })
	slices.SortFunc(all, func(a, b T) int { return cmp.Or(order(a, b), cmp.Compare(pid(a), pid(b))) })
	for len(all) > 0 {
		n := 1
		for n < len(all) && order(all[0], all[n]) == 0 {
			n++
		}
		for _, a := range all[:n] {
			for _, b := range all[:n] {
				if pid(a) != pid(b) {
					f(a, b)
				}
			}
		}
		all = all[n:]
	}
}

// readFlags reads FD_CLOEXEC of an entry in a descriptor table, and O_ASYNC of
// what it refers to.
func (l *lookup) readFlags(h *Holder) {
	if h.Via != ViaTable && h.Via != ViaThread {
		return
	}
	text, err := readFile(l.descriptorPath("fdinfo", h.Process.PID, h.TID, h.FD))
	if err != nil {
		if !gone(err) {
			g := detailGap("read fdinfo", h.Process.PID, err)
			g.TID, g.FD = h.TID, h.FD
			l.gap(g)
		}
		return
	}
	info := parseFDInfo(text)
	h.CloseOnExec = new(info.CloseOnExec())
	h.SignalDriven = info.Flags&unix.O_ASYNC != 0
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
		blocked := s.State != Listen && s.State != Bound && slices.ContainsFunc(listeners[portOf(s)], func(o *Socket) bool { return o.Accepts(s) })
		if s.ReuseAddr != nil || s.Protocol == Unix && s.State != Listen || blocked {
			continue
		}
		if l.survey != nil && s.Protocol != Unix && s.State != Bound && sharing[addressOf(s)] < 2 {
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
