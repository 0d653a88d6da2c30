package follow

import (
	"cmp"
	"encoding/binary"
	"maps"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/tracee"
	"stray/internal/unwind"
)

// openings are what was seen of how the descriptors of a table came to be. What
// closes them is not seen: that is known when the number is given out again, or
// leads elsewhere.
type openings struct {
	made map[int]made
	// borrowed: another table has the same map, since a fork.
	borrowed bool
}

// made is what was made under a number, and where that led.
type made struct {
	link string
	file file
	by   *opening
}

// file tells a file from all others that exist at the time, whatever its name is; the
// zero file is none.
type file struct {
	major, minor uint32
	inode        uint64
}

// opening is a system call that has made descriptors. All that were made in one way
// have the same one.
type opening struct {
	way
	// number tells it from others, from 1.
	number int
	// told is for the report; nil until something is told.
	told *fdscan.Opening
}

// way is what does not differ between openings that are the same.
type way struct {
	call    string
	program string
	stack   unwind.Stack
	of      *opening // never one that has another
}

// mostWays bounds how many openings are known again, and mostCalls is how deep a
// stack is looked into.
const (
	mostWays  = 1 << 16
	mostCalls = 64
)

// copied returns the openings of a table that is a copy of this one's.
func (o *openings) copied() *openings {
	o.borrowed = true
	return &openings{o.made, true}
}

// kept returns the openings of p's table, of which an exec has left these.
func (t *tree) kept(p *process, entries table) *openings {
	left := map[int]made{}
	for _, e := range entries {
		if by := t.openedBy(p, 0, e); by != nil {
			left[e.fd] = p.openings.made[e.fd]
		}
	}
	return &openings{made: left}
}

// openedBy returns how an entry of p's table, that of its thread tid, came to be; nil
// when that was not seen.
func (t *tree) openedBy(p *process, tid int, e entry) *opening {
	if p.openings == nil {
		return nil // looked at in intervals
	}
	m := p.openings.made[e.fd]
	switch {
	case m.by == nil, m.link == e.link && e.link != pidfd:
	case m.file == file{} || m.file != t.file(p.pid, tid, e): // and not only renamed or removed
		return nil
	}
	return m.by
}

// pidfd is the link of all pidfds. By clone(2) they come unseen, under numbers that
// others had; since Linux 6.9 each process has a file of its own for them.
const pidfd = "anon_inode:[pidfd]"

// file is the file that an entry leads to, if it has a name.
func (t *tree) file(pid, tid int, e entry) file {
	if !strings.HasPrefix(e.link, "/") && e.link != pidfd {
		return file{}
	}
	name := t.path(pid, "task/"+strconv.Itoa(cmp.Or(tid, pid))+"/fd/"+strconv.Itoa(e.fd))
	var st unix.Statx_t
	// Of a network file system nothing is asked that may not answer.
	if err := unix.Statx(unix.AT_FDCWD, name, unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st); err != nil {
		return file{}
	}
	return file{st.Dev_major, st.Dev_minor, st.Ino}
}

func (o *openings) set(fd int, m made) {
	if o.borrowed {
		o.made, o.borrowed = maps.Clone(o.made), false
	}
	if o.made == nil {
		o.made = map[int]made{}
	}
	o.made[fd] = m
}

// Created implements tracee.Watcher.
func (t *tree) Created(pid, tid int, c tracee.Creation) {
	p := t.processes[pid]
	if p == nil {
		return
	}
	w := way{call: c.Call, program: p.image.comm}
	r := c.Registers
	w.stack = t.unwinder.Stack(pid, tid, unwind.Registers{PC: r.PC, SP: r.SP, FP: r.FP, LR: r.LR}, mostCalls)
	for _, fd := range c.FDs {
		link := t.tables.linkOf(pid, tid, fd)
		w.of = nil
		if c.Of >= 0 {
			if w.of = t.openedBy(p, tid, entry{c.Of, link}); w.of != nil && w.of.of != nil {
				w.of = w.of.of
			}
		}
		p.openings.set(fd, made{link, t.file(pid, tid, entry{fd, link}), t.opening(w)})
	}
}

// opening returns the one opening of a way.
func (t *tree) opening(w way) *opening {
	o := t.ways[w]
	if o == nil {
		if len(t.ways) >= mostWays {
			clear(t.ways)
		}
		t.opened++
		o = &opening{way: w, number: t.opened}
		t.ways[w] = o
	}
	return o
}

// sort tells what was opened in one way from what was in another.
func (o *opening) sort() string {
	if o == nil {
		return ""
	}
	return strconv.Itoa(o.number) + "\x00"
}

// tell returns what is reported of an opening, whose frames name gives it; nil for
// none.
func (t *tree) tell(o *opening) *fdscan.Opening {
	if o == nil {
		return nil
	}
	if o.told == nil {
		o.told = &fdscan.Opening{Call: o.call, Program: o.program, Of: t.tell(o.of)}
		t.toName = append(t.toName, o)
	}
	return o.told
}

// name gives the frames to what is told.
func (t *tree) name() {
	for _, o := range t.toName {
		for _, f := range t.unwinder.Frames(o.stack) {
			o.told.Stack = append(o.told.Stack, fdscan.Frame(f))
		}
	}
	t.toName = nil
}

// checkCalls notes a program whose calls the filter does not see: one of 32 bits. That
// is told by its auxiliary vector, since to open its file takes whoever serves the file
// system (FUSE), who may stand still.
func (t *tree) checkCalls(i *image) {
	if t.unwinder == nil || t.foreign != nil {
		return
	}
	// The entries are two words, and the first one's value is not zero.
	vector, err := os.ReadFile(t.path(i.pid, "auxv"))
	if err == nil && len(vector) >= 8 && binary.LittleEndian.Uint32(vector[4:]) != 0 {
		t.foreign = t.process(i)
	}
}
