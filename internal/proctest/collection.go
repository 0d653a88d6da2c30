package proctest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// collection puts reports together to the tree of processes of a script.
type collection struct {
	processes map[int]*Process
	parents   map[int]int
	ends      map[int]end
	tables    map[int]table
	programs  map[int]programFact
}

func newCollection(ops []*operation) *collection {
	c := &collection{
		processes: map[int]*Process{1: {}}, parents: map[int]int{}, ends: map[int]end{},
		tables: map[int]table{}, programs: map[int]programFact{},
	}
	c.expect(ops, 1)
	return c
}

// expect enters the processes that the operations of a process start.
func (c *collection) expect(ops []*operation, parent int) {
	for _, op := range ops {
		inside := parent
		if op.Process != 0 {
			inside = op.Process
			child := &Process{}
			c.processes[inside], c.parents[inside] = child, parent
			c.processes[parent].Children = append(c.processes[parent].Children, child)
		}
		c.expect(op.Body, inside)
	}
}

// add enters one report, sent by pid.
func (c *collection) add(message []byte, pid int) error {
	f, err := decodeReport(message)
	if err != nil {
		return fmt.Errorf("report of pid %d: %w", pid, err)
	}
	if f.Error != "" {
		return fmt.Errorf("%s", f.Error)
	}
	p := c.processes[f.Process]
	if p == nil {
		return fmt.Errorf("report of an unknown process %d", f.Process)
	}
	p.PID = pid
	if f.End != (end{}) {
		c.ends[f.Process], c.tables[f.Process], p.Sockets = f.End, f.Table, f.Sockets
	}
	for _, raw := range f.Raw {
		c.ends[raw.Process], c.tables[raw.Process] = raw.End, raw.Table
	}
	for _, program := range f.Programs {
		c.programs[program.Process] = program
	}
	return nil
}

// settle waits until each process does what its role ends with, and fills in
// what /proc says of it then.
func (c *collection) settle() (*Process, error) {
	deadline := time.Now().Add(settleTime)
	for number := 1; number <= len(c.processes); number++ {
		p := c.processes[number]
		if program, ok := c.programs[number]; ok {
			p.Program = program.Path
			p.PID = outerPID(c.processes[c.parents[number]].PID, program.PID)
			c.ends[number] = end{}
		}
		if p.PID == 0 {
			return nil, fmt.Errorf("process %d of the script ended without a report", number)
		}
		end := c.ends[number]
		for !settled(p.PID, end) {
			if time.Now().After(deadline) {
				return nil, fmt.Errorf("process %d of the script (pid %d) did not settle: %s", number, p.PID, procText(p.PID, "stat"))
			}
			time.Sleep(time.Millisecond)
		}
		if end.Exits {
			p.Exited = true
			continue
		}
		if err := p.fill(c.tables[number]); err != nil {
			return nil, err
		}
	}
	return c.processes[1], nil
}

// settled reports whether a process has come to its end of the story.
func settled(pid int, e end) bool {
	stat, err := readStat(pid)
	switch {
	case e.Exits:
		return err != nil || stat.state == 'Z'
	case err != nil:
		return true // killed meanwhile: what reads it next says so
	case e.Call == 0:
		return strings.ContainsRune("STtZ", rune(stat.state))
	}
	tid := e.TID
	if tid == 0 {
		tid = pid
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, tid))
	if err != nil {
		return true // not permitted: there is no better knowledge
	}
	call, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if e.Call == noCall {
		return call == "running" || call == "-1"
	}
	return call == fmt.Sprint(e.Call)
}

// fill adds what /proc shows of a process.
func (p *Process) fill(t table) error {
	stat, err := readStat(p.PID)
	if err != nil {
		return err
	}
	p.PPID, p.StartTicks = stat.ppid, stat.startTicks
	p.NetNS, _ = netNS(fmt.Sprintf("/proc/%d/ns/net", p.PID))
	if p.TIDs, err = numbersIn(fmt.Sprintf("/proc/%d/task", p.PID)); err != nil {
		return err
	}
	for _, e := range t {
		d := Descriptor{Name: e.Name, Kind: e.Kind, FD: e.FD, TID: e.TID}
		if err := d.fill(p.PID); err != nil {
			return fmt.Errorf("descriptor %q of pid %d: %w", e.Name, p.PID, err)
		}
		p.Descriptors = append(p.Descriptors, d)
	}
	slices.SortStableFunc(p.Descriptors, func(a, b Descriptor) int { return a.FD - b.FD })
	return nil
}

// fill adds the inode and the FD_CLOEXEC bit of an open descriptor.
func (d *Descriptor) fill(pid int) error {
	directory := fmt.Sprintf("/proc/%d", pid)
	if d.TID != 0 {
		directory = fmt.Sprintf("/proc/%d/task/%d", pid, d.TID)
	}
	info, err := os.ReadFile(fmt.Sprintf("%s/fdinfo/%d", directory, d.FD))
	if os.IsPermission(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(info)) {
		switch key, value, _ := strings.Cut(line, ":"); key {
		case "ino":
			fmt.Sscan(value, &d.Inode)
		case "flags":
			var flags uint64
			fmt.Sscanf(value, "%o", &flags)
			const closeOnExec = 0o2000000 // O_CLOEXEC, proc_pid_fdinfo(5)
			d.CloseOnExec = flags&closeOnExec != 0
		}
	}
	return nil
}
