// Package act changes descriptors inside running processes: it makes a plan,
// looks for reasons against it, carries it out and looks again.
package act

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/tracee"
)

// Method is what is done to a descriptor.
type Method string

// The methods.
const (
	// Park puts an inert object in the place of the descriptor: this process's
	// reference is dropped, and its number stays taken.
	Park Method = "park"
	// Close is close(2) inside the process: the number is free.
	Close Method = "close"
	// Half ends a connection in order: shut down for writing, wait for the
	// peer's end, then park.
	Half Method = "half"
	// Destroy has the kernel abort the socket for all holders.
	Destroy Method = "destroy"
	// Seal sets FD_CLOEXEC.
	Seal Method = "seal"
)

// Step is what is done in one descriptor table to one socket: to all the
// descriptors of it that the table has.
type Step struct {
	Method Method
	Socket *fdscan.Socket
	// Holders are the descriptors, of one process and one table.
	Holders []*fdscan.Holder
	// Others counts the other references to the socket, which stay.
	Others int
	// Refusals are the reasons against it, empty when there is none.
	Refusals []*tracee.Refusal
}

// Process is the one that the step acts in; nil for Destroy, which acts on the
// socket.
func (s *Step) Process() *fdscan.Process {
	if s.Method == Destroy || len(s.Holders) == 0 {
		return nil
	}
	return s.Holders[0].Process
}

// FDs are the numbers of the descriptors.
func (s *Step) FDs() (fds []int) {
	for _, h := range s.Holders {
		fds = append(fds, h.FD)
	}
	return fds
}

func (s *Step) target() tracee.Target {
	return tracee.Target{PID: s.Process().PID, StartTicks: s.Process().StartTicks, TID: s.Holders[0].TID}
}

// Plan is what is to be done, in order.
type Plan struct {
	Steps []*Step
	// Force permits to act on pid 1.
	Force bool
	// HalfTimeout is how long Half waits for the peer's end.
	HalfTimeout time.Duration
}

// NewPlan makes a step of the chosen holders of each socket, one for each
// descriptor table; for Destroy, one of each socket. Only entries of tables can
// be acted on; choose is not asked about others. For a socket without a holder,
// which only Destroy can act on, it is asked about nil.
func NewPlan(method Method, sockets []*fdscan.Socket, choose func(*fdscan.Socket, *fdscan.Holder) bool) *Plan {
	type table struct{ pid, tid int }
	p := &Plan{}
	for _, socket := range sockets {
		if method == Destroy {
			if len(socket.Holders) == 0 && choose(socket, nil) || slices.ContainsFunc(socket.Holders, func(h *fdscan.Holder) bool { return choose(socket, h) }) {
				p.Steps = append(p.Steps, &Step{Method: method, Socket: socket, Holders: socket.Holders})
			}
			continue
		}
		steps := map[table]*Step{}
		for _, h := range socket.Holders {
			if h.Via != fdscan.ViaTable && h.Via != fdscan.ViaThread || !choose(socket, h) {
				continue
			}
			// Processes with one table lose a descriptor together: one step.
			t := table{h.Process.PID, h.TID}
			for _, pid := range h.SharesTableWith {
				if steps[table{pid, 0}] != nil {
					t.pid = pid
				}
			}
			step := steps[t]
			switch {
			case step == nil:
				step = &Step{Method: method, Socket: socket}
				steps[t] = step
				p.Steps = append(p.Steps, step)
			case t.pid != h.Process.PID:
				continue // the same entry, seen through the other process
			}
			step.Holders = append(step.Holders, h)
		}
		for _, step := range steps {
			step.Others = len(socket.Holders) - len(step.Holders)
			for _, h := range socket.Holders {
				if h.Process != step.Process() && sharesTable(h, step.Process().PID) {
					step.Others--
				}
			}
		}
	}
	return p
}

func sharesTable(h *fdscan.Holder, pid int) bool {
	return slices.Contains(h.SharesTableWith, pid)
}

// options are those of one step. Processes that share its table may be stopped
// only when the plan names them too: named holds every pid that was chosen.
func (p *Plan) options(s *Step, named map[int]bool) tracee.Options {
	o := tracee.Options{FDs: s.FDs(), Init: p.Force}
	for _, pid := range s.Holders[0].SharesTableWith {
		if named[pid] {
			o.Sharers = append(o.Sharers, pid)
		}
	}
	return o
}

// Preflight looks for reasons against each step, without stopping anything.
func (p *Plan) Preflight(named map[int]bool) {
	for _, s := range p.Steps {
		if s.Method != Destroy {
			s.Refusals = tracee.Preflight(s.target(), p.options(s, named))
		}
	}
}

// Result is what became of one descriptor or, for Destroy, of one socket.
type Result struct {
	Step   *Step
	Holder *fdscan.Holder // nil for Destroy
	Done   bool
	Err    error
	// Report is of the stop; zero for Destroy.
	Report tracee.Report
}

// Do carries the plan out, step by step; a step that fails does not keep the
// others from being done.
func (p *Plan) Do(ctx context.Context, scanner *fdscan.Scanner, named map[int]bool) (results []Result) {
	for _, s := range p.Steps {
		report, done, err := p.step(ctx, scanner, s, named)
		if s.Method == Destroy {
			results = append(results, Result{Step: s, Done: err == nil, Err: err})
			continue
		}
		for i, h := range s.Holders {
			results = append(results, Result{Step: s, Holder: h, Done: err == nil || i < done, Err: err, Report: report})
		}
	}
	return results
}

// step does one step, and returns how many of its descriptors are done.
func (p *Plan) step(ctx context.Context, scanner *fdscan.Scanner, s *Step, named map[int]bool) (tracee.Report, int, error) {
	if len(s.Refusals) > 0 {
		return tracee.Report{}, 0, s.Refusals[0]
	}
	if s.Method == Destroy {
		return tracee.Report{}, 0, scanner.Destroy(s.Socket)
	}
	// A copy of our own, taken before the process is stopped and given back
	// after it runs again, does three things: it proves with kcmp(2), the
	// process standing still, that each number still means this very socket;
	// it keeps the reference that is dropped inside the process from being the
	// last one, so that nothing lingers there (SO_LINGER); and shutdown goes
	// through it.
	borrowed, err := fdscan.Borrow(s.Holders[0], s.Socket.Inode)
	if err != nil {
		return tracee.Report{}, 0, borrowError(err)
	}
	defer unix.Close(borrowed)
	if s.Method == Half {
		if err := halfClose(ctx, borrowed, p.HalfTimeout); err != nil {
			return tracee.Report{}, 0, err
		}
	}
	operation := replaceDescriptors
	switch s.Method {
	case Close:
		operation = closeDescriptors
	case Seal:
		operation = sealDescriptors
	case Park, Half, Destroy:
	}
	done, report, err := operation.Do(ctx, s.target(), p.options(s, named), orders{Caller: os.Getpid(), Copy: borrowed, FDs: s.FDs()})
	return report, done, err
}

// ErrPeerTimeout is the error of Half for a peer that keeps its side open.
var ErrPeerTimeout = errors.New("the peer has not closed its side")

func borrowError(err error) error {
	switch {
	case errors.Is(err, unix.ESTALE), errors.Is(err, unix.EBADF), errors.Is(err, unix.ESRCH):
		return fmt.Errorf("changed since it was looked at: nothing was done (%w)", err)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("needs pidfd_getfd(2), Linux 5.6: %w", err)
	}
	return err
}

// halfClose shuts a connection down for writing and waits for the peer's end.
// It acts on the connection itself, and so for all its holders.
func halfClose(ctx context.Context, fd int, timeout time.Duration) error {
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil && !errors.Is(err, unix.ENOTCONN) {
		return fmt.Errorf("shutdown: %w", err)
	}
	// Short polls, so that ctx is noticed.
	const slice = 100 * time.Millisecond
	deadline := time.Now().Add(timeout)
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(poll, int(slice/time.Millisecond))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && err != unix.EINTR:
			return fmt.Errorf("poll: %w", err)
		case n > 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%w within %s: the connection is shut down for writing, and nothing more was done", ErrPeerTimeout, timeout)
		}
	}
}

// Verified reports whether a later look shows what the result says: a dropped
// descriptor is not among the socket's holders any more, a sealed one has
// FD_CLOEXEC, a destroyed socket is gone from its state.
func Verified(r Result, after *fdscan.Snapshot) bool {
	if !r.Done {
		return false
	}
	for _, s := range after.Sockets {
		if !same(s, r.Step.Socket) {
			continue
		}
		if r.Step.Method == Destroy {
			return s.State != r.Step.Socket.State
		}
		for _, h := range s.Holders {
			if h.Process.PID == r.Holder.Process.PID && h.Process.StartTicks == r.Holder.Process.StartTicks && h.FD == r.Holder.FD && h.TID == r.Holder.TID {
				return r.Step.Method == Seal && h.CloseOnExec != nil && *h.CloseOnExec
			}
		}
	}
	return r.Step.Method != Seal
}

// same compares sockets by cookie or, where there is none, by inode.
func same(a, b *fdscan.Socket) bool {
	if a.Cookie != 0 && b.Cookie != 0 {
		return a.Cookie == b.Cookie
	}
	return a.Inode != 0 && a.Inode == b.Inode && a.NetNS == b.NetNS
}
