// Package follow runs a command and says what its whole process tree does with
// descriptors: which of them cross an exec that they were not meant for, which
// are open when a process ends, and who is left behind holding what.
//
// It follows by ptrace events (package tracee): every fork, exec and exit of
// every descendant is seen, and nothing in between costs anything. Where that is
// refused it looks at the tree in intervals.
package follow

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/tracee"
	"stray/internal/unwind"
)

// Options say what is run, and how it is followed.
type Options struct {
	tracee.Command
	// Grace is how long the processes that outlive the command may take to end.
	Grace time.Duration
	// Sample looks at the tree in intervals, and does without ptrace.
	Sample bool
	// Stacks finds out where descriptors were opened, of what is told. It takes a
	// filter of system calls, from which nobody can be released: who survives the
	// command is killed when this process ends, at the latest.
	Stacks bool
}

// Run is what a command and its tree did.
type Run struct {
	Status   unix.WaitStatus // of the command
	Duration time.Duration
	// Sampled: the tree was looked at in intervals. Refused says why, when that
	// was not asked for.
	Sampled bool
	Refused error
	// Processes is how many there were in all.
	Processes int
	Crossings []*fdscan.Crossing
	Unclosed  []*fdscan.Unclosed
	Survivors []*fdscan.Survivor
	// Snapshot has the listeners and bound sockets of the survivors with all who
	// hold them, the host, and what could not be seen.
	Snapshot *fdscan.Snapshot
	// Unread is what could not be read of the tree, once for each reason.
	Unread []fdscan.Gap
	// Unprivileged is a program with the setuid or setgid bit, or capabilities,
	// that got no privilege, because somebody without CAP_SYS_PTRACE followed it
	// or, when NoNewPrivileges is set, in any case (PR_SET_NO_NEW_PRIVS); nil for
	// none.
	Unprivileged    *fdscan.Process
	NoNewPrivileges bool
	// FailedTracer is a program that failed and that traces others, as strace and
	// gdb do, or itself, as LeakSanitizer does, which what is followed cannot be; nil
	// for none.
	FailedTracer *fdscan.Process
	// Stacks: it was found out where descriptors were opened. NoStacks says why not,
	// when that was asked for.
	Stacks   bool
	NoStacks error
	// Foreign is a program of another architecture, the calls of which were not
	// seen (32-bit code); nil for none.
	Foreign *fdscan.Process
	// Unfollowed is one of the survivors that nobody followed, since whoever made
	// it did so with CLONE_UNTRACED; nil for none.
	Unfollowed  *fdscan.Process
	left        []survivor
	tree        *tree
	orphansWent int32 // as adoptOrphans has it, before
}

// Start runs the command to its end. The error is for what has kept it from being
// run: a *tracee.ExecError is that of exec.
//
// Until Close, this process is the parent of descendants whose own have ended
// (PR_SET_CHILD_SUBREAPER).
//
// Signals that somebody sends to this process go to the command, and SIGTERM when
// ctx ends; if it has ended before, its error is returned and nothing is run.
func Start(ctx context.Context, o Options) (r *Run, err error) {
	reader, err := (&fdscan.Scanner{}).NewReader(ctx)
	if err != nil {
		return nil, err
	}
	signals, err := startRelay()
	if err != nil {
		return nil, err
	}
	defer signals.stop()
	// What came before that has ended ctx, if anything, or is about to.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { signals.came(unix.SIGTERM, false) })()
	was, err := adoptOrphans(1)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			adoptOrphans(was)
		}
	}()
	t := newTree(procRoot, reader) // which knows the children of before
	forbidden, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	r = &Run{Sampled: o.Sample, NoNewPrivileges: forbidden == 1, tree: t, orphansWent: was}
	t.watchPrivilege = r.NoNewPrivileges || !o.Sample && !fdscan.HasCapability(unix.CAP_SYS_PTRACE)
	end := &tracee.Followed{}
	if !o.Sample {
		f := tracee.FollowOptions{Grace: o.Grace, Hurry: signals.hurry, Launched: signals.to, Ended: signals.nobody, Calls: o.Stacks}
		if o.Stacks {
			t.unwinder, t.ways = unwind.New(procRoot), map[way]*opening{}
			defer t.unwinder.Close()
		}
		end, err = tracee.Follow(o.Command, f, t)
		if errors.Is(err, tracee.ErrNoFilter) {
			r.NoStacks, f.Calls = err, false
			end, err = tracee.Follow(o.Command, f, t)
		}
		if errors.Is(err, tracee.ErrRefused) {
			r.Sampled, r.Refused = true, err
		}
	}
	if o.Stacks && r.Sampled {
		r.NoStacks = errSampled
	}
	r.Stacks = o.Stacks && r.NoStacks == nil
	release := func() {}
	switch {
	case r.Sampled:
		end, err = t.sample(o, signals)
	case err == nil:
		release = end.Release
	}
	if err != nil {
		return nil, err
	}
	r.Status, r.Duration, r.Processes, r.Unprivileged = end.Status, end.Took, t.total, t.unprivileged
	r.FailedTracer, r.Foreign = t.failedTracer, t.foreign
	r.NoNewPrivileges = r.NoNewPrivileges || t.forbidden
	r.Crossings, r.Unclosed = t.crossings.order, t.unclosed.order
	var unfollowed []int
	if !r.Sampled {
		patience := o.Grace
		if len(end.Survivors) > 0 {
			patience = 0 // it is over
		}
		unfollowed = t.unfollowed(patience, signals.hurry)
	}
	r.survivors(ctx, t, slices.Concat(end.Survivors, unfollowed))
	if i := slices.IndexFunc(r.Survivors, func(s *fdscan.Survivor) bool { return slices.Contains(unfollowed, s.Process.PID) }); i >= 0 {
		r.Unfollowed = r.Survivors[i].Process
	}
	release()
	t.reap()
	t.name()
	for _, reason := range slices.Sorted(maps.Keys(t.gaps)) {
		r.Unread = append(r.Unread, t.gaps[reason])
	}
	r.Snapshot.Gaps = append(r.Snapshot.Gaps, r.Unread...)
	r.Snapshot.HoldersComplete = r.Snapshot.HoldersComplete && len(r.Unread) == 0
	return r, nil
}

// errSampled is why there are no stacks of what was looked at in intervals.
var errSampled = errors.New("it was looked at in intervals, and no call was seen")

// adoptOrphans says whether this process becomes the parent of descendants whose
// own have ended (PR_SET_CHILD_SUBREAPER), 1 or 0, and returns what was said before.
func adoptOrphans(shall int32) (was int32, err error) {
	err = unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&was)), 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, uintptr(shall), 0, 0, 0)
	}
	return was, os.NewSyscallError("prctl", err)
}

// procRoot is where proc(5) is mounted: only of this machine can processes be
// followed.
var procRoot = (&fdscan.Scanner{}).ProcRoot()

// survivors looks at the processes that are left. Others cannot hold what these
// have opened, unless somebody has sent it to them.
func (r *Run) survivors(ctx context.Context, t *tree, pids []int) {
	slices.Sort(pids)
	r.Snapshot = t.reader.Snapshot()
	var targets []fdscan.Target
	for _, pid := range pids {
		s, sockets := t.survivor(pid)
		if s == nil {
			continue
		}
		r.leave(pid)
		r.Survivors = append(r.Survivors, s)
		targets = append(targets, sockets...)
	}
	if len(targets) == 0 {
		return
	}
	snap, err := (&fdscan.Scanner{}).Lookup(ctx, fdscan.Question{Targets: targets, PIDs: pids})
	if err != nil {
		r.Unread = append(r.Unread, fdscan.Gap{Op: "look up the sockets that are left", PID: pids[0], FD: -1, Err: err.Error(), Scope: fdscan.ScopeHolders})
		return
	}
	r.Snapshot = snap
	if r.Sampled || len(t.gaps) > 0 {
		return // not everything that a process has got was seen
	}
	for _, s := range snap.Sockets {
		for _, h := range s.Holders {
			p := t.processes[h.Process.PID]
			link := "socket:[" + strconv.FormatUint(s.Inode, 10) + "]"
			h.Opened = h.Via == fdscan.ViaTable && p != nil && !p.hasReceived(link)
			if h.Via == fdscan.ViaTable && p != nil {
				h.Opening = t.tell(t.openedBy(p, 0, entry{h.FD, link}))
			}
		}
	}
}

// survivor looks at what a process that is left holds of what others wait for.
func (t *tree) survivor(pid int) (s *fdscan.Survivor, sockets []fdscan.Target) {
	p, err := t.reader.Process(pid)
	if err != nil {
		return nil, nil
	}
	if p.State == 'Z' {
		unix.Wait4(pid, nil, unix.WNOHANG, nil) // whoever has to: nobody follows it any more
		return nil, nil
	}
	s = &fdscan.Survivor{Process: p}
	entries, err := t.tables.everything(pid, 0)
	t.unread(pid, err)
	for _, e := range entries {
		stream := t.streams[e.link]
		switch {
		case stream != "":
			if !slices.Contains(s.Streams, stream) && t.writes(pid, e.fd) {
				s.Streams = append(s.Streams, stream)
			}
			continue
		case !tellsFile(e.link), t.tables.passed(e.fd, []byte(e.link)):
			continue
		}
		d := t.reader.Descriptor(p, 0, e.fd, e.link)
		if known := t.processes[pid]; known != nil {
			d.Opening = t.tell(t.openedBy(known, 0, e))
		}
		if d.Socket != nil && (d.Socket.State == fdscan.Listen || d.Socket.State == fdscan.Bound) {
			sockets = append(sockets, fdscan.Target{Text: e.link, Kind: fdscan.InodeTarget, Inode: d.Inode})
			if d.Socket.Protocol != fdscan.Unix {
				s.Ports = append(s.Ports, d)
			}
		}
		if len(d.Locks) > 0 {
			s.Locked = append(s.Locked, d)
		}
	}
	return s, sockets
}

// streamsOf are the pipes and sockets of the caller that the command writes its
// output to, by what they are to it.
func streamsOf(passed table) map[string]string {
	names := map[int]string{unix.Stdout: "stdout", unix.Stderr: "stderr"}
	streams := map[string]string{}
	for _, e := range passed {
		kind := fdscan.KindOf(e.link)
		switch {
		case names[e.fd] == "" || kind != fdscan.Pipe && kind != fdscan.AnySocket:
		case streams[e.link] != "":
			streams[e.link] += " and " + names[e.fd]
		default:
			streams[e.link] = names[e.fd]
		}
	}
	return streams
}
