package tracee

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"stray/internal/osthread"
)

// Watcher is told what becomes of a process tree, in the order in which it
// happens. Whom it is told of stands still meanwhile, so that what /proc says of
// it is what held at that moment. Its methods run on the thread that follows.
type Watcher interface {
	// Started: the command has been executed, and has not run yet.
	Started(pid int)
	// Forked: a process has been made, by fork, vfork or clone, and has not run
	// yet. shared says that it has its parent's descriptor table, CLONE_FILES.
	Forked(parent, child int, shared bool)
	// Execed: a process has become another program, and has not run yet. What
	// FD_CLOEXEC closes has been closed.
	Execed(pid int)
	// Exiting: the last thread of a process ends. Its descriptors are open still,
	// and can be seen in task/TID/fd only. status is as wait4(2) will tell it.
	Exiting(pid, tid int, status unix.WaitStatus)
	// Created: a thread has made descriptors, and has not gone on yet. Only with
	// FollowOptions.Calls.
	Created(pid, tid int, made Creation)
	// Ended: nothing is left of the process.
	Ended(pid int)
}

// FollowOptions say how Follow goes about it.
type FollowOptions struct {
	// Grace is how long the processes that outlive the command are waited for.
	Grace time.Duration
	// Hurry cuts Grace short when it reports true; nil for never.
	Hurry func() bool
	// Calls has every system call that makes descriptors stop too, and Created be
	// told of it. A filter of system calls (seccomp(2)) does that, which nobody can
	// take from a process again, and whose calls fail in one that has no tracer.
	// So whoever survives the command is followed for as long as the caller lives,
	// and is killed with it.
	Calls bool
	// Launched is called with the pid of the command before it runs, and Ended
	// once it has ended; nil for nothing.
	Launched func(pid int)
	Ended    func()
}

// Followed is a command that has ended.
type Followed struct {
	// Status is how the command itself has ended.
	Status unix.WaitStatus
	// Took is the time from its start to its end.
	Took time.Duration
	// Survivors are the processes that are left, by pid. The Watcher is told no
	// more of them, and they stand still at their next fork, exec or end until
	// Release.
	Survivors []int
	release   chan struct{}
}

// Release lets go of the survivors, which then run on as if nothing had been; with
// FollowOptions.Calls, until the caller ends.
func (f *Followed) Release() { close(f.release) }

// Follow starts a command, tells w what it and all its descendants do, and
// returns when all have ended, or a time after the command has.
//
// Only events stop a process: fork, exec, exit and signals. System calls and
// computing take the time they take otherwise. If the caller ends meanwhile,
// the processes run on. With FollowOptions.Calls neither holds.
//
// An error that is ErrRefused says that nothing was run because this system
// permits no tracing, ErrNoFilter that it permits no filter; an *ExecError is why
// exec failed.
func Follow(c Command, o FollowOptions, w Watcher) (*Followed, error) {
	type result struct {
		followed *Followed
		err      error
	}
	done := make(chan result)
	go osthread.Discard(func() error { // with which the kernel lets go of what it traces
		f := newFollower(o, w)
		followed, err := f.follow(c)
		done <- result{followed, err}
		if err == nil {
			<-f.release
			f.accompany()
			f.waiter.close()
		}
		return nil
	})
	r := <-done
	return r.followed, r.err
}

// followOptions are set on every followed thread.
const followOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK |
	unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACEEXIT

// callOptions are set besides with FollowOptions.Calls.
const callOptions = unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_EXITKILL

// follower is the work of one Follow. All of it runs on one thread.
type follower struct {
	watcher Watcher
	options FollowOptions
	waiter  waiter
	release chan struct{}

	main      int  // the command
	begun     bool // it has got the SIGCONT by which launch has let it run
	processes map[int]*followed
	threads   map[int]*followed // by tid, the leaders' too
	// early are new threads that have stopped before the event that tells whose
	// they are. They wait for it.
	early map[int]bool
	// calls are those that threads are in, by tid.
	calls map[int]calling
	// quiet: nobody wants to know any more.
	quiet bool
}

// followed is a process that is followed.
type followed struct {
	pid int
	// living is how many of its threads have not begun to end.
	living int
	// told: the watcher knows that it ends.
	told bool
}

func newFollower(o FollowOptions, w Watcher) *follower {
	return &follower{
		watcher: w, options: o, release: make(chan struct{}), processes: map[int]*followed{}, threads: map[int]*followed{},
		early: map[int]bool{}, calls: map[int]calling{},
	}
}

// follow leaves the waiter to be closed unless it fails.
func (f *follower) follow(c Command) (end *Followed, err error) {
	if f.waiter, err = newWaiter(-1); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.waiter.close()
		}
	}()
	began := time.Now()
	options := followOptions
	if f.options.Calls {
		options |= callOptions
	}
	var early *endedEarly
	switch f.main, err = c.launch(options, f.options.Calls); {
	case errors.As(err, &early):
		return &Followed{Status: early.status, release: f.release}, nil
	case err != nil:
		return nil, err
	}
	f.adopt(f.main, &followed{pid: f.main})
	if f.options.Launched != nil {
		f.options.Launched(f.main)
	}
	f.watcher.Started(f.main)
	resume(f.main, 0)
	end = &Followed{release: f.release}
	var deadline time.Time
	for len(f.processes) > 0 {
		tid, status, err := f.waiter.any(deadline, f.hurried)
		if err != nil {
			if errors.Is(err, unix.ECHILD) {
				break // others have reaped them
			}
			return nil, os.NewSyscallError("wait4", err)
		}
		if tid == 0 {
			break // the time of grace is over
		}
		f.handle(tid, status)
		if now := time.Now(); now.Before(deadline) && f.hurried() {
			deadline = now // in a tree that is never quiet, any does not come to ask
		}
		if !deadline.IsZero() && time.Now().After(deadline.Add(mostOverdue)) {
			break // as above, of a tree that is never quiet
		}
		if tid == f.main && !status.Stopped() && f.processes[f.main] == nil && deadline.IsZero() {
			end.Status, end.Took = status, time.Since(began)
			deadline = time.Now().Add(f.options.Grace)
			if f.options.Ended != nil {
				f.options.Ended()
			}
		}
	}
	for pid := range f.processes {
		end.Survivors = append(end.Survivors, pid)
	}
	return end, nil
}

func (f *follower) hurried() bool { return f.options.Hurry != nil && f.options.Hurry() }

// adopt makes tid a thread of p.
func (f *follower) adopt(tid int, p *followed) {
	f.threads[tid] = p
	f.processes[p.pid] = p
	p.living++
}

// handle deals with what wait4 has told of a thread, and lets it go on.
func (f *follower) handle(tid int, status unix.WaitStatus) {
	p := f.threads[tid]
	if !status.Stopped() {
		f.gone(tid, p)
		return
	}
	trap, signal := int(status>>16), status.StopSignal()
	if p == nil {
		if trap == unix.PTRACE_EVENT_STOP && signal == unix.SIGTRAP {
			f.early[tid] = true
			return
		}
		// Who made it was killed before it could tell.
		p = f.identify(tid)
	}
	switch {
	case trap == unix.PTRACE_EVENT_FORK, trap == unix.PTRACE_EVENT_VFORK, trap == unix.PTRACE_EVENT_CLONE:
		if child, err := eventMessage(tid); err == nil {
			f.made(p, tid, int(child))
		}
	case trap == unix.PTRACE_EVENT_EXEC:
		f.execed(p, tid)
	case trap == unix.PTRACE_EVENT_EXIT:
		f.exiting(p, tid)
	case trap == unix.PTRACE_EVENT_SECCOMP:
		if f.called(tid) {
			resumeToCall(tid)
			return
		}
	case trap == 0 && signal == unix.SIGTRAP|0x80:
		f.returned(p, tid)
	case trap == unix.PTRACE_EVENT_STOP && signal != unix.SIGTRAP:
		f.stopped(tid, signal)
		return
	case trap == 0 && signal == unix.SIGCONT && tid == f.main && !f.begun:
		f.begun = true // by launch, and nobody's signal
	case trap == 0:
		resume(tid, signal)
		return
	}
	resume(tid, 0)
}

// made deals with a thread or process that tid, of p, has made.
func (f *follower) made(p *followed, tid, child int) {
	if f.threads[child] != nil {
		return
	}
	if hasThread(p.pid, child) {
		f.adopt(child, p)
	} else {
		f.adopt(child, &followed{pid: child})
		shared, err := sharesTable(tid, child)
		f.watcher.Forked(p.pid, child, shared && err == nil)
	}
	f.admit(child)
}

// admit lets a new thread run that has waited for its maker.
func (f *follower) admit(tid int) {
	if f.early[tid] {
		delete(f.early, tid)
		resume(tid, 0)
	}
}

// identify finds out from /proc whose a thread is.
func (f *follower) identify(tid int) *followed {
	pid, parent := tid, 0
	if text, err := os.ReadFile(procRoot + "/" + strconv.Itoa(tid) + "/status"); err == nil {
		pid, parent = statusNumber(text, "Tgid:", tid), statusNumber(text, "PPid:", 0)
	}
	if p := f.processes[pid]; p != nil {
		f.adopt(tid, p)
		return p
	}
	p := &followed{pid: pid}
	f.adopt(tid, p)
	shared, err := sharesTable(parent, pid)
	f.watcher.Forked(parent, pid, shared && err == nil)
	return p
}

// statusNumber reads the number behind a key of proc_pid_status(5).
func statusNumber(text []byte, key string, otherwise int) int {
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(key)); ok {
			if n, err := strconv.Atoi(string(bytes.TrimSpace(value))); err == nil {
				return n
			}
		}
	}
	return otherwise
}

// execed deals with a process that has become another program: the thread that
// did it is now the only one, under the number of the leader.
func (f *follower) execed(p *followed, tid int) {
	if former, err := eventMessage(tid); err == nil && int(former) != tid {
		delete(f.threads, int(former))
		delete(f.calls, int(former))
	}
	delete(f.calls, tid)
	p.living = 1
	f.watcher.Execed(p.pid)
}

// exiting deals with a thread that ends. With the last one goes the descriptor
// table, unless other processes have it.
func (f *follower) exiting(p *followed, tid int) {
	p.living--
	if p.living <= 0 && !p.told {
		p.told = true
		status, _ := eventMessage(tid)
		f.watcher.Exiting(p.pid, tid, unix.WaitStatus(status))
	}
}

// gone deals with a thread of which nothing is left. Of a leader that is told
// after all other threads.
func (f *follower) gone(tid int, p *followed) {
	delete(f.threads, tid)
	delete(f.early, tid)
	delete(f.calls, tid)
	if p != nil && tid == p.pid {
		delete(f.processes, tid)
		f.watcher.Ended(tid)
	}
	f.orphaned()
}

// orphaned admits new threads whose maker may never tell of them: what is
// killed does not report what it has just done.
func (f *follower) orphaned() {
	for tid := range f.early {
		f.identify(tid)
		f.admit(tid)
	}
}

// stopped deals with a thread that takes part in a group stop: it stays stopped,
// and hears of SIGCONT. When Ctrl-Z has stopped the command, the caller stops too,
// as whoever started it expects; SIGCONT reaches both. Elsewhere than before a
// terminal nobody might continue the caller. SIGTTIN and SIGTTOU of a terminal have
// stopped it already.
func (f *follower) stopped(tid int, signal unix.Signal) {
	ptrace(unix.PTRACE_LISTEN, tid, 0, 0)
	if signal == unix.SIGTSTP && tid == f.main && unix.Getpgrp() == processGroup(tid) && inForeground() {
		unix.Kill(os.Getpid(), unix.SIGSTOP)
	}
}

// inForeground reports whether Ctrl-Z on the controlling terminal is for this
// process, among others.
func inForeground() bool {
	terminal, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false // there is none
	}
	defer unix.Close(terminal)
	group, err := unix.IoctlGetInt(terminal, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

func processGroup(pid int) int {
	group, _ := unix.Getpgid(pid)
	return group
}

// hasThread reports whether tid is a thread of pid.
func hasThread(pid, tid int) bool {
	return unix.Access(procRoot+"/"+strconv.Itoa(pid)+"/task/"+strconv.Itoa(tid), unix.F_OK) == nil
}

// eventMessage is what belongs to the event at which a thread stands: a tid, or
// the status with which it ends.
func eventMessage(tid int) (uint, error) {
	var message uint
	err := ptracePointer(unix.PTRACE_GETEVENTMSG, tid, 0, unsafe.Pointer(&message))
	return message, err
}

// mostOverdue is how long after the time of grace the follower may deal with what
// has happened before.
const mostOverdue = 200 * time.Millisecond

// any returns what any thread reports that this thread follows; tid is 0 when the
// deadline has passed, or hurried reports true, and nobody has anything to report.
// With the zero time it waits for ever.
func (w *waiter) any(deadline time.Time, hurried func() bool) (tid int, status unix.WaitStatus, err error) {
	limited := !deadline.IsZero()
	if limited {
		w.setTicking(true)
		defer w.setTicking(false)
	}
	for {
		tid, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		if err != unix.EINTR {
			return tid, status, err
		}
		if limited && (time.Now().After(deadline) || hurried()) {
			tid, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD|unix.WNOHANG, nil)
			return tid, status, err
		}
	}
}

// close frees what newWaiter has made.
func (w *waiter) close() { unix.RawSyscall(unix.SYS_TIMER_DELETE, uintptr(w.timer), 0, 0) }
