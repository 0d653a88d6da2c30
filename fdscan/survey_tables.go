package fdscan

import (
	"slices"
	"strconv"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// fillTables reads the processes whose tables were read, several at a time, and
// counts what is in each table.
func (l *lookup) fillTables() {
	read := make([]*Process, len(l.survey.tables))
	limits := make([]uint64, len(l.survey.tables))
	sideBySide(len(read), func(i int) {
		if t := l.survey.tables[i]; t.TID == 0 {
			stat, err := readStat(l.path(strconv.Itoa(t.PID), "stat"))
			if err == nil && (len(t.Entries) > 0 || stat.hasTable()) {
				read[i], limits[i] = l.describeProcess(t.PID, stat), l.openLimit(t.PID)
			}
		}
	})
	for _, p := range read {
		if p != nil {
			l.snap.Processes[p.PID] = p
		}
	}
	l.readCmdlines(slices.DeleteFunc(slices.Clone(read), func(p *Process) bool { return p == nil }))
	for i, t := range l.survey.tables {
		p := l.snap.Processes[t.PID]
		if t.Partial {
			continue // how many it has is not known
		}
		if t.TID != 0 {
			p, limits[i] = l.process(t.PID), l.openLimit(t.PID)
		} else if read[i] == nil {
			continue
		}
		if p != nil {
			l.snap.Tables = append(l.snap.Tables, &Table{Process: p, TID: t.TID, Open: len(t.Entries), Limit: limits[i], Kinds: t.kinds()})
		}
	}
	l.sharedTables()
}

// hasTable reports a process that can have descriptors: neither a thread of the
// kernel's, nor one that has ended.
func (s processStat) hasTable() bool { return s.state != 'Z' && s.flags&kernelThread == 0 }

// kinds counts the entries of each kind.
func (t Filled) kinds() map[string]int {
	var count [1 << 8]int
	for _, e := range t.Entries {
		count[e.kind]++
	}
	named := map[string]int{}
	for i, n := range count {
		if n > 0 {
			named[kinds[i].unasked()] = n
		}
	}
	return named
}

// openLimit reads the soft RLIMIT_NOFILE of a process: 0 when it may not be read.
// prlimit(2) tells of processes of this user, and of all with CAP_SYS_RESOURCE, what
// /proc/PID/limits tells of any at ten times the cost.
func (s *Scanner) openLimit(pid int) uint64 {
	var limit unix.Rlimit
	if !s.Detached && unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &limit) == nil {
		return limit.Cur
	}
	fs, err := procfs.NewFS(s.root())
	if err != nil {
		return 0
	}
	proc, err := fs.Proc(pid)
	if err != nil {
		return 0
	}
	limits, err := proc.Limits()
	if err != nil {
		return 0
	}
	return limits.OpenFiles
}

// sharedTables finds processes that use one and the same table: of those whose
// tables hold the same, kcmp(2) tells.
func (l *lookup) sharedTables() {
	if l.Detached {
		return
	}
	type digest struct {
		open int
		sum  uint64
	}
	alike := map[digest][]int{}
	for _, t := range l.survey.tables {
		d := digest{open: len(t.Entries)}
		for _, e := range t.Entries {
			d.sum = d.sum*31 + e.ID + uint64(e.FD)
		}
		if t.TID == 0 && d.open > 0 {
			alike[d] = append(alike[d], t.PID)
		}
	}
	tables := map[int]*Table{}
	for _, t := range l.snap.Tables {
		if t.TID == 0 {
			tables[t.Process.PID] = t
		}
	}
	for _, pids := range alike {
		eachSharing(pids, func(pid int) int { return pid }, func(a, b int) {
			if tables[a] != nil && tables[b] != nil {
				tables[a].SharedWith = append(tables[a].SharedWith, b)
			}
		})
	}
}
