package proctest

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// collection puts reports together to the tree of processes of a script.
type collection struct {
	// reported has an entry for each process of the script, by its number - 1.
	reported []*reported
}

// reported is what is known of a process before /proc is looked at.
type reported struct {
	process *Process
	parent  *reported // nil for the first
	// pid is that in the parent's pid namespace for programs, where inner is
	// set; otherwise that in the supervisor's.
	pid     int
	inner   bool
	raw     bool // it has never executed anything
	end     end
	table   table
	threads []threadFact
}

func newCollection(ops []*operation) *collection {
	c := &collection{reported: []*reported{{process: &Process{}}}}
	c.expect(ops, c.reported[0])
	return c
}

// expect enters the processes that the operations of a process start, in the
// order of their numbers.
func (c *collection) expect(ops []*operation, parent *reported) {
	for _, op := range ops {
		inside := parent
		if op.Process != 0 {
			inside = &reported{process: &Process{}, parent: parent}
			c.reported = append(c.reported, inside)
			parent.process.Children = append(parent.process.Children, inside.process)
		}
		c.expect(op.Body, inside)
	}
}

// of returns the entry of a process by its number.
func (c *collection) of(number int) (*reported, error) {
	if number < 1 || number > len(c.reported) {
		return nil, fmt.Errorf("report of an unknown process %d", number)
	}
	return c.reported[number-1], nil
}

// add enters one report, sent by pid.
func (c *collection) add(message []byte, pid int) error {
	f, raw, err := decodeReport(message)
	if err != nil {
		return fmt.Errorf("report of pid %d: %w", pid, err)
	}
	if f.Error != "" {
		return errors.New(f.Error)
	}
	r, err := c.of(f.Process)
	if err != nil {
		return err
	}
	r.pid = pid
	if raw {
		return nil // its parent tells the rest
	}
	r.end, r.table, r.threads = f.End, f.Table, f.Threads
	r.process.Program = f.End.Program
	// A role that becomes another reports twice.
	r.process.Sockets = append(r.process.Sockets, f.Sockets...)
	for _, child := range f.Raw {
		r, err := c.of(child.Process)
		if err != nil {
			return err
		}
		r.end, r.table, r.raw = child.End, child.Table, true
	}
	for _, child := range f.Programs {
		r, err := c.of(child.Process)
		if err != nil {
			return err
		}
		r.pid, r.inner, r.table = child.PID, true, child.Table
		r.end, r.process.Program = end{Program: child.Path}, child.Path
	}
	return nil
}

// missing says which processes have not reported.
func (c *collection) missing() string {
	var numbers []string
	for i, r := range c.reported {
		if r.pid == 0 {
			numbers = append(numbers, strconv.Itoa(i+1))
		}
	}
	return "waiting for process " + strings.Join(numbers, ", ") + " of the script"
}

// settle waits until each process does what its script ends with, and fills in
// what /proc says of it then.
func (c *collection) settle() (*Process, error) {
	deadline := time.Now().Add(settleTime)
	for i, r := range c.reported {
		if r.pid == 0 {
			return nil, fmt.Errorf("process %d of the script ended without a report", i+1)
		}
		r.process.PID = r.pid
		if r.inner {
			r.process.PID = outerPID(r.parent.process.PID, r.pid)
		}
		for !r.settled() {
			if time.Now().After(deadline) {
				return nil, fmt.Errorf("process %d of the script (pid %d) did not settle: %s",
					i+1, r.process.PID, procText(r.process.PID, "stat"))
			}
			time.Sleep(time.Millisecond)
		}
		if r.end.Exits {
			r.process.Exited = true
			continue
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	return c.reported[0].process, nil
}

// settled reports whether a process and its threads are where they end.
func (r *reported) settled() bool {
	pid := r.process.PID
	if r.end.Exits {
		// A zombie may still have threads that are its children's parents.
		stat, err := readStat(pid)
		return err != nil || stat.state == 'Z' && !r.parent.reaps()
	}
	return r.end.reached(pid, pid) && !slices.ContainsFunc(r.threads, func(t threadFact) bool {
		return !t.End.reached(pid, t.TID)
	})
}

// reaps reports whether a process waits for its children when they end, as
// roles do, and as the supervisor does for those of no one else.
func (r *reported) reaps() bool {
	return r == nil || r.end.Exits || !r.raw && r.end.Program == "" && r.end.State != stopped
}

// stopped are the states of what SIGSTOP has stopped; t below a tracer.
const stopped = "Tt"

// reached reports whether a thread goes on as it says. A thread that is gone,
// or may not be looked at, is taken at its word.
func (e end) reached(pid, tid int) bool {
	stat, err := readStat(pid)
	if err != nil {
		return true
	}
	switch {
	case e.Program != "":
		// Its loader runs, or waits for a disk (D): the program itself sleeps.
		path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return err != nil || path == e.Program && strings.IndexByte("STtZ", stat.state) >= 0
	case e.State != "":
		return strings.IndexByte(e.State, stat.state) >= 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, tid))
	if err != nil {
		return true
	}
	call, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if e.Call == noCall {
		return call == "running" || call == "-1"
	}
	return call == fmt.Sprint(e.Call)
}

// fill adds what /proc shows of a process.
func (r *reported) fill() error {
	p := r.process
	stat, err := readStat(p.PID)
	if err != nil {
		return err
	}
	p.PPID, p.StartTicks = stat.ppid, stat.startTicks
	if p.TIDs, err = numbersIn(fmt.Sprintf("/proc/%d/task", p.PID)); err != nil {
		return err
	}
	showing := 0 // the thread that shows the table of the process, if its leader does not
	if stat.state == 'Z' {
		showing = r.otherThread()
	}
	p.NetNS, _ = netNS(fmt.Sprintf("/proc/%d/task/%d/ns/net", p.PID, cmp.Or(showing, p.PID)))
	if err := p.addDescriptors(r.table, showing); err != nil {
		return err
	}
	for _, t := range r.threads {
		if err := p.addDescriptors(t.Table, t.TID); err != nil {
			return err
		}
	}
	return nil
}

// otherThread returns a thread besides the leader that has the process's table;
// 0 when there is none.
func (r *reported) otherThread() int {
	for _, tid := range r.process.TIDs {
		own := slices.ContainsFunc(r.threads, func(t threadFact) bool { return t.TID == tid && t.Table != nil })
		if tid != r.process.PID && !own {
			return tid
		}
	}
	return 0
}

// addDescriptors adds those of a table that a thread shows; 0 is the leader.
func (p *Process) addDescriptors(t table, tid int) error {
	start := len(p.Descriptors)
	for _, e := range t {
		d := Descriptor{Name: e.Name, Kind: e.Kind, FD: e.FD, TID: tid}
		if err := d.fill(p.PID); err != nil {
			return fmt.Errorf("descriptor %q of pid %d: %w", e.Name, p.PID, err)
		}
		p.Descriptors = append(p.Descriptors, d)
	}
	slices.SortStableFunc(p.Descriptors[start:], func(a, b Descriptor) int { return a.FD - b.FD })
	return nil
}

// fill adds the inode and the FD_CLOEXEC bit of an open descriptor.
func (d *Descriptor) fill(pid int) error {
	info, err := os.ReadFile(fmt.Sprintf("%s/fdinfo/%d", d.directory(pid), d.FD))
	if os.IsPermission(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(info)) {
		switch key, value, _ := strings.Cut(line, ":"); key {
		case "ino": // since Linux 5.14
			fmt.Sscan(value, &d.Inode)
		case "flags":
			var flags uint64
			fmt.Sscanf(strings.TrimSpace(value), "%o", &flags)
			const closeOnExec = 0o2000000 // O_CLOEXEC, proc_pid_fdinfo(5)
			d.CloseOnExec = flags&closeOnExec != 0
		}
	}
	return nil
}

// directory is where /proc shows the table that the descriptor is in.
func (d *Descriptor) directory(pid int) string {
	if d.TID != 0 {
		return fmt.Sprintf("/proc/%d/task/%d", pid, d.TID)
	}
	return fmt.Sprintf("/proc/%d", pid)
}
