package follow

import (
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/tracee"
)

// interval is the time between two looks at a tree that cannot be followed.
const interval = 10 * time.Millisecond

// sample runs the command and looks at its tree in intervals. A process that
// lives between two looks is not seen at all, and of none what is open when it
// ends.
func (t *tree) sample(o Options, signals *relay) (*tracee.Followed, error) {
	own := os.Getpid()
	passed, err := t.tables.everything(own, 0)
	if err != nil {
		return nil, os.NewSyscallError("read the own descriptors", err)
	}
	t.pass(slices.DeleteFunc(passed, func(e entry) bool { return e.fd > unix.Stderr && t.closing(own, e.fd) != no }))
	began := time.Now()
	pid, err := o.Start()
	if err != nil {
		return nil, err
	}
	signals.to(pid)
	t.add(pid, &process{image: t.readImage(pid)})
	end := &tracee.Followed{}
	var deadline time.Time
	for {
		for _, child := range t.children(own) {
			if !slices.Contains(t.strangers, child) {
				t.look(child, own)
			}
		}
		var status unix.WaitStatus
		if got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil); err == nil && got == pid {
			end.Status, end.Took = status, time.Since(began)
			deadline = time.Now().Add(o.Grace)
			signals.nobody()
			t.Ended(pid)
		}
		t.forget(pid)
		t.reap() // what was never seen
		if !deadline.IsZero() && (len(t.processes) == 0 || time.Now().After(deadline) || signals.hurry()) {
			break
		}
		time.Sleep(interval)
	}
	for pid := range t.processes {
		end.Survivors = append(end.Survivors, pid)
	}
	return end, nil
}

// look looks at a process and its descendants.
func (t *tree) look(pid, parent int) {
	t.see(pid, parent)
	for _, child := range t.children(pid) {
		t.look(child, pid)
	}
}

// see looks at one process. What it holds has crossed an exec if its parent, of
// another program, holds the same under the same number, inheritable in both.
func (t *tree) see(pid, parent int) {
	p, from := t.processes[pid], t.processes[parent]
	now := t.settledImage(pid)
	switch {
	case now == nil || p != nil && p.image.same(now):
		return // a zombie, or in the midst of an exec; or known
	case p == nil && from != nil && from.image.same(now):
		t.add(pid, &process{parent: parent, image: from.image, copied: true})
		return
	case p == nil:
		p = &process{parent: parent, image: now}
		t.add(pid, p)
	}
	p.image, p.copied = now, false
	if from == nil {
		return
	}
	entries, err := t.tables.read(pid, 0)
	t.unread(pid, err)
	now.received = entries
	for _, e := range entries {
		if t.link(parent, e.fd) != e.link || t.closing(parent, e.fd) != no || t.closing(pid, e.fd) != no {
			continue
		}
		copied := &process{pid: pid, parent: parent, image: from.image, copied: true, inherited: []inheritance{{e, no}}}
		if t.crossed(copied, false, now, e) {
			now.carried = append(now.carried, e)
		}
	}
}

// settledImage is what a process runs; nil while an exec is about to change that.
// Its parts are read one after the other, and the arguments of a new program are
// the last to come.
func (t *tree) settledImage(pid int) *image {
	now, again := t.readImage(pid), t.readImage(pid)
	if now.exe == "" || len(again.argv) == 0 || !now.same(again) {
		return nil
	}
	return again
}

// same reports that nothing tells two images apart. In the midst of an exec the
// name is the new one already, and these are not.
func (i *image) same(o *image) bool { return i.exe == o.exe && slices.Equal(i.argv, o.argv) }

// forget drops the processes that have ended, and reaps those that have become
// children of this one. The command itself is left to its caller.
func (t *tree) forget(command int) {
	for pid := range t.processes {
		if pid == command {
			continue
		}
		if got, _ := unix.Wait4(pid, nil, unix.WNOHANG, nil); got == pid || unix.Kill(pid, 0) == unix.ESRCH {
			t.Ended(pid)
		}
	}
}
