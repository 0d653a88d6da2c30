package fdscan

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// A busy thread is watched for a moment in which it waits, with pauses
	// that double: 31 ms in all.
	firstPause = time.Millisecond
	morePauses = 5
	// restWatched is how long a process is watched in which all threads sleep.
	restWatched = 8 * time.Millisecond
	// futexPrivate is FUTEX_PRIVATE_FLAG of futex(2).
	futexPrivate = 128
)

// waitReader reads what the threads of one process wait for.
type waitReader struct {
	*Scanner
	pid int
	// foreign says that its system call numbers and memory are not like ours:
	// it is a program of another architecture or word size.
	foreign bool
	// held are the inodes of the sockets asked for that it holds; ports those
	// among them that are no connections, and listeners the TCP listeners.
	held             map[uint64]bool
	ports, listeners []uint64
	// suspects are the numbers of other descriptors of its table of which it is
	// asked whether they are waited for.
	suspects []int
	// tables holds a thread for each descriptor table that was met.
	tables []int
	epolls map[descriptor]*watched
	sockfs func() uint64 // sockfsDevice
}

// descriptor is an entry in the table that a thread stands for.
type descriptor struct{ tid, fd int }

// watched is what an epoll instance watches.
type watched struct {
	sockets  []uint64
	suspects []int
}

// waits says what each thread waits for. Busy threads are looked at again a few
// times, since a server between two waits is caught running; but not when others
// wait on every port that is asked about.
func (r *waitReader) waits() (waits []Wait, busy bool) {
	tids, err := listPIDs(r.path(strconv.Itoa(r.pid), "task"))
	if err != nil {
		return nil, false
	}
	waits = make([]Wait, len(tids))
	for sample, pause := 0, firstPause; ; sample, pause = sample+1, 2*pause {
		busy = false
		for i, tid := range tids {
			if sample == 0 || waits[i].Call == running {
				waits[i] = r.wait(tid)
				busy = busy || waits[i].Call == running
			}
		}
		if !busy || sample == morePauses || r.Detached || r.served(waits) {
			return waits, busy
		}
		time.Sleep(pause)
	}
}

// rest is a while in which a process is watched whose threads were all found
// asleep.
type rest struct {
	since time.Time
	used  time.Duration // processor time, up to then
	waits []Wait
	busy  bool // at its end
}

func awake(w Wait) bool { return w.Kind != WaitPassive }

// rest begins to watch; nil when some thread is awake.
func (r *waitReader) rest(waits []Wait) *rest {
	if r.Detached || slices.ContainsFunc(waits, awake) {
		return nil
	}
	used := r.processorTime(waits)
	return &rest{since: time.Now(), used: used, waits: waits}
}

// endOf looks whether the process has run meanwhile. What has woken up to wait for
// work is noted.
func (r *waitReader) endOf(begun *rest) *rest {
	end := &rest{waits: slices.Clone(begun.waits)}
	for i := range end.waits {
		if w := r.wait(end.waits[i].TID); awake(w) && w.Call != running {
			end.waits[i] = w
		}
	}
	end.busy = r.processorTime(end.waits)-begun.used > time.Since(begun.since)/4
	return end
}

// served reports whether some thread waits on each port that is asked about.
func (r *waitReader) served(waits []Wait) bool {
	return !slices.ContainsFunc(r.ports, func(inode uint64) bool {
		return !slices.ContainsFunc(waits, func(w Wait) bool { return slices.Contains(w.Inodes, inode) })
	})
}

// processorTime is how long the threads have run (/proc/TID/schedstat, with
// CONFIG_SCHED_INFO, in nanoseconds); 0 when that is not told.
func (r *waitReader) processorTime(waits []Wait) (sum time.Duration) {
	for _, w := range waits {
		text, err := readFile(r.task(w.TID, "schedstat"))
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}

// running is what Wait.Call says of a thread that is in no system call.
const running = "running"

// wait looks at one thread once.
func (r *waitReader) wait(tid int) Wait {
	text, err := readFile(r.task(tid, "syscall"))
	if err != nil {
		return r.channel(tid)
	}
	number, args, ok := parseSyscall(string(text))
	switch {
	case !ok:
		return Wait{TID: tid, Call: running}
	case r.foreign:
		return r.channel(tid)
	}
	call, known := waitCalls[number]
	if !known {
		return Wait{TID: tid, Call: "syscall " + strconv.FormatUint(number, 10)}
	}
	if call.set == setRestarted {
		call = r.restarted(tid)
	}
	w := Wait{TID: tid, Call: call.name}
	switch call.set {
	case setNone:
		w.Kind = WaitPassive
	case setAccept:
		w.Kind = WaitOn
		r.waitsFor(&w, []int{int(int32(args[0]))})
	case setFirst:
		w.Kind = WaitIO
		r.waitsFor(&w, []int{int(int32(args[0]))})
	case setEpoll:
		if e := r.epoll(tid, int(int32(args[0])), 0); e != nil {
			w.Kind, w.Inodes, w.Suspects = WaitOn, e.sockets, e.suspects
		}
	case setPoll:
		r.multiplexed(&w, func() ([]int, bool) { return r.pollSet(args[0], args[1]) })
	case setSelect:
		r.multiplexed(&w, func() ([]int, bool) { return r.selectSets(args[0], args[1:4]) })
	case setFutex:
		// A futex that is shared between processes may be the mutex that
		// prefork servers serialise accept(2) with.
		if args[1]&futexPrivate != 0 {
			w.Kind = WaitPassive
		}
	case setUnknown, setRestarted:
	}
	return w
}

// multiplexed fills in what a poll(2) or select(2) waits for. To wait for
// nothing is a way to sleep.
func (r *waitReader) multiplexed(w *Wait, set func() ([]int, bool)) {
	switch fds, ok := set(); {
	case !ok:
	case len(fds) == 0:
		w.Kind = WaitPassive
	default:
		w.Kind = WaitOn
		r.waitsFor(w, fds)
	}
}

// waitsFor notes what descriptors of a thread lead to.
func (r *waitReader) waitsFor(w *Wait, fds []int) {
	w.Inodes = r.sockets(w.TID, fds)
	for _, fd := range fds {
		if slices.Contains(r.suspects, fd) {
			w.Suspects = append(w.Suspects, fd)
		}
	}
}

// parseSyscall reads "232 0x4 0x7ffc… … sp pc" of /proc/TID/syscall (Linux
// 2.6.27, CONFIG_HAVE_ARCH_TRACEHOOK); ok is false for "running", and for a
// thread that waits outside of a system call ("-1 sp pc").
func parseSyscall(s string) (number uint64, args [6]uint64, ok bool) {
	fields := strings.Fields(s)
	if len(fields) < 7 {
		return 0, args, false
	}
	number, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil {
		return 0, args, false
	}
	for i := range args {
		if args[i], err = strconv.ParseUint(fields[i+1], 0, 64); err != nil {
			return 0, args, false
		}
	}
	return number, args, true
}

// task is the path of a file of a thread. What the leader has is in the
// directory of the process, too.
func (r *waitReader) task(tid int, file string) string {
	if tid == r.pid {
		return r.path(strconv.Itoa(r.pid), file)
	}
	return r.path(strconv.Itoa(r.pid), "task", strconv.Itoa(tid), file)
}

// kernelFunction reads /proc/TID/wchan: the kernel function that a thread waits
// in; "" when it does not wait, or that may not be read.
func (r *waitReader) kernelFunction(tid int) string {
	text, err := readFile(r.task(tid, "wchan"))
	if err != nil || string(text) == "0" {
		return ""
	}
	return string(text)
}

// restarted tells which call restart_syscall(2) goes on with: the kernel makes
// it when a signal, a debugger or SIGCONT has interrupted one with a timeout.
// There are three kinds of them, and the arguments are still the first call's.
func (r *waitReader) restarted(tid int) waitCall {
	switch function := r.kernelFunction(tid); {
	case function == "":
		return waitCall{"restart_syscall", setUnknown}
	case strings.HasPrefix(function, "poll_schedule_timeout"), strings.HasPrefix(function, "do_sys_poll"), strings.HasPrefix(function, "do_poll"):
		return waitCall{"poll", setPoll}
	case strings.HasPrefix(function, "futex"):
		return waitCall{"futex", setFutex}
	case function == "do_signal_stop", function == "ptrace_stop":
		return waitCall{"restart_syscall", setUnknown}
	}
	return waitCall{"nanosleep", setNone}
}

// passiveFunctions are kernel functions in which a thread waits for no
// descriptor. A futex is not among them: its function does not tell whether it
// is shared with other processes.
var passiveFunctions = []string{
	"hrtimer_nanosleep", "do_nanosleep", "do_wait", "kernel_waitid", "kernel_wait4", "__x64_sys_pause", "__arm64_sys_pause", "__do_sys_pause",
	"sigsuspend", "do_sigtimedwait", "__do_sys_rt_sigtimedwait",
}

// channel falls back on the kernel function, which tells the call but not the
// descriptor: it may be any that fits.
func (r *waitReader) channel(tid int) Wait {
	w := Wait{TID: tid, Call: r.kernelFunction(tid)}
	// A compiler adds .isra.0 and the like to the names of variants.
	switch name, _, _ := strings.Cut(w.Call, "."); {
	case name == "inet_csk_accept":
		w.Kind, w.Inodes = WaitOn, r.listeners
	case name == "do_epoll_wait", name == "ep_poll":
		if sockets, found := r.everyEpoll(tid); found {
			w.Kind, w.Inodes = WaitOn, sockets
		}
	case slices.Contains(passiveFunctions, name):
		w.Kind = WaitPassive
	}
	return w
}
