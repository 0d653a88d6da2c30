package tracee

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// HelperMain has to be called first thing in main, and in the TestMain of every
// package whose tests call Do, or Follow with FollowOptions.Calls. In a process that
// was started to be a helper it does the helper's work and does not return, nor does
// it in one that is to become a command; in any other it does nothing.
func HelperMain() {
	if isShim() {
		shimMain()
	}
	if !isHelper() {
		return
	}
	// Every ptrace request has to come from the thread that seized.
	runtime.LockOSThread()
	shelter()
	serve(conn(unix.Stdin))
	unix.Exit(0)
}

// shelter makes the process fit for a moment in which it must not be disturbed.
func shelter() {
	name := append([]byte(helperName), 0)
	unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	debug.SetGCPercent(-1) // it will not live long enough to need it
	for signal := unix.Signal(1); signal <= 64; signal++ {
		switch signal {
		case unix.SIGCHLD, unix.SIGALRM, unix.SIGURG, // the waiter's, and the runtime's
			unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGSYS:
		default:
			const ignored = 1 // SIG_IGN
			rtSigaction(signal, &sigaction{handler: ignored}, nil)
		}
	}
	// Not the one to be killed when memory runs out; needs CAP_SYS_RESOURCE.
	os.WriteFile(procRoot+"/self/oom_score_adj", []byte("-1000"), 0)
	closeInherited()
	readProgram()
}

// readProgram has the whole program in memory before it is needed: it may come
// from a disk or a network file system that does not answer while the target
// stands still. Without MADV_POPULATE_READ (Linux 5.14) it does nothing.
func readProgram() {
	maps, err := os.ReadFile(procRoot + "/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		var start, end uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &start, &end); n == 2 && strings.Contains(line, "/") {
			unix.RawSyscall(unix.SYS_MADVISE, start, end-start, unix.MADV_POPULATE_READ)
		}
	}
}

// closeInherited closes the descriptors that came across exec(2) by somebody's
// oversight, lest a helper that has to stay longer than its caller keeps a pipe
// of the caller's open. They are those without FD_CLOEXEC: the Go runtime sets
// it on its own.
func closeInherited() {
	names, err := os.ReadDir(procRoot + "/self/fd")
	if err != nil {
		return
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name.Name())
		if err != nil || fd <= unix.Stderr {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

// serve does what the caller asks. Whatever happens meanwhile, the target has
// been let go when it returns.
func serve(c conn) {
	if err := c.send(reply{Ready: true}); err != nil {
		return
	}
	var r request
	if err := c.receive(&r); err != nil {
		return // hung up
	}
	e := &engine{conn: c, target: r.Target, opt: r.Options}
	result, err := e.perform(r)
	final := finalReply{Report: e.report, Failure: newFailure(err)}
	switch {
	case e.stuck:
		return // the caller has been told, and has left
	case e.fault != nil:
		final.Failure = newFailure(errors.Join(err, e.fault))
	case e.waiter.cancelled && final.Failure != nil:
		final.Failure.HungUp = true
	}
	if result != nil {
		if final.Result, err = json.Marshal(result); err != nil {
			final.Failure = newFailure(fmt.Errorf("encode the result of %s: %w", r.Operation, err))
		}
	}
	if err := c.send(reply{Final: &final}); err != nil {
		c.send(reply{Final: &finalReply{Report: final.Report, Failure: newFailure(fmt.Errorf("send the result of %s: %w", r.Operation, err))}})
	}
}

// perform does the operation with the target stopped.
func (e *engine) perform(r request) (result any, err error) {
	operation := operations[r.Operation]
	if operation == nil {
		return nil, fmt.Errorf("there is no operation %q", r.Operation)
	}
	run, err := operation(r.Plan)
	if err != nil {
		return nil, fmt.Errorf("decode the plan of %s: %w", r.Operation, err)
	}
	if e.waiter, err = newWaiter(int(e.conn)); err != nil {
		return nil, err
	}
	// The last deferred runs first: the target is let go before anything is said.
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		}
	}()
	defer e.release()
	if refusal := e.stop(); refusal != nil {
		return nil, refusal
	}
	defer time.AfterFunc(e.opt.HoldTimeout, e.giveUp).Stop()
	return run(&Stopped{e})
}

// giveUp ends the helper because the operation takes too long. Between calls
// every thread stands in a stop with everything its own, and the kernel lets it
// go from there when its tracer ends.
func (e *engine) giveUp() {
	e.calling.Lock() // a call has a deadline of its own; none begins any more
	if e.released {
		e.calling.Unlock()
		return
	}
	report := e.report
	report.Held = time.Since(e.began)
	e.conn.send(reply{Final: &finalReply{Report: report, Failure: &failure{Text: ErrHeldTooLong.Error(), Slow: true}}})
	unix.Exit(1)
}
