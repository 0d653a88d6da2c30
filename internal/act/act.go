// Package act changes descriptors inside running processes: it makes a plan,
// looks for reasons against it, carries it out and looks again.
package act

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
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

// refused reports that the step will not be done.
func (s *Step) refused() bool { return len(s.Refusals) > 0 }

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
			chosen := len(socket.Holders) == 0 && choose(socket, nil)
			for _, h := range socket.Holders {
				chosen = choose(socket, h) || chosen
			}
			if chosen {
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
	}
	return p
}

// keepers are the holders whose reference to the socket of s no step of the
// plan drops: those that keep it when all is done.
func (p *Plan) keepers(s *Step) (keepers []*fdscan.Holder) {
	for _, h := range s.Socket.Holders {
		if !slices.ContainsFunc(p.Steps, func(other *Step) bool { return !other.refused() && other.drops(h) }) {
			keepers = append(keepers, h)
		}
	}
	return keepers
}

// drops reports whether the step drops the reference h: the descriptor itself,
// or the same one of a process that has the same table.
func (s *Step) drops(h *fdscan.Holder) bool {
	return slices.ContainsFunc(s.Holders, func(own *fdscan.Holder) bool {
		return own == h || own.Via == h.Via && own.FD == h.FD && own.TID == h.TID && slices.Contains(h.SharesTableWith, own.Process.PID)
	})
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
		s.Refusals = nil
		if s.Method != Destroy {
			s.Refusals = tracee.Preflight(s.target(), p.options(s, named))
		}
		if r := s.sharedSocket(named); r != nil {
			s.Refusals = append(s.Refusals, r)
		}
	}
}

// SharedSocket is why Half and Destroy, which act on the socket itself, refuse
// one that other processes hold which were not named.
const SharedSocket tracee.Reason = "shared-socket"

func (s *Step) sharedSocket(named map[int]bool) *tracee.Refusal {
	if s.Method != Half && s.Method != Destroy {
		return nil
	}
	var pid int
	var others []int
	for _, h := range s.Socket.Holders {
		switch {
		case named[h.Process.PID]:
			pid = h.Process.PID
		case !slices.Contains(others, h.Process.PID):
			others = append(others, h.Process.PID)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return &tracee.Refusal{
		Reason: SharedSocket, PID: pid, Others: others,
		Detail: fmt.Sprintf("shares the socket with process %s, and --%s acts on it for all of them", strings.Trim(fmt.Sprint(others), "[]"), s.Method),
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
	halves := p.halfClose(ctx)
	for _, s := range p.Steps {
		report, done, err := p.step(ctx, scanner, s, named, halves[s])
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
func (p *Plan) step(ctx context.Context, scanner *fdscan.Scanner, s *Step, named map[int]bool, half *half) (tracee.Report, int, error) {
	if s.refused() {
		return tracee.Report{}, 0, s.Refusals[0]
	}
	if half != nil {
		defer half.close()
		if half.err != nil {
			return tracee.Report{}, 0, half.err
		}
	} else if ctx.Err() != nil {
		return tracee.Report{}, 0, fmt.Errorf("nothing was done: %w", context.Cause(ctx))
	}
	if s.Method == Destroy {
		return tracee.Report{}, 0, destroyError(scanner.Destroy(s.Socket))
	}
	// A copy of our own, taken before the process is stopped and given back
	// after it runs again, does three things: it proves with kcmp(2), the
	// process standing still, that each number still means this very socket;
	// it keeps the reference that is dropped inside the process from being the
	// last one, so that nothing lingers there (SO_LINGER); and shutdown goes
	// through it.
	var borrowed int
	var err error
	if half != nil {
		borrowed = half.fd
	} else {
		if borrowed, err = fdscan.Borrow(s.Holders[0], s.Socket.Inode); err != nil {
			return tracee.Report{}, 0, borrowError(err)
		}
		defer unix.Close(borrowed)
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
	switch {
	case err != nil && s.Method == Half && done == 0:
		err = fmt.Errorf("the connection is shut down for writing, and nothing more was done: %w", err)
	case err == nil && s.Method != Seal && len(p.keepers(s)) == 0:
		dontLinger(borrowed)
	}
	return report, done, err
}

// dontLinger has the close of a copy that is the last reference return at once:
// with SO_LINGER it would wait here for the peer, and a peer that does not read
// lets it wait for all the time that the program has set. What is unsent is
// sent all the same. A time of 0, which resets the connection, stays.
func dontLinger(fd int) {
	if l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER); err == nil && l.Onoff != 0 && l.Linger > 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	}
}

// ErrPeerTimeout is the error of Half for a peer that keeps its side open.
var ErrPeerTimeout = errors.New("the peer has not closed its side")

func borrowError(err error) error {
	switch {
	case errors.Is(err, unix.ESRCH):
		return errors.New("the process has ended meanwhile: nothing was done")
	case errors.Is(err, unix.ESTALE), errors.Is(err, unix.EBADF):
		return errChanged
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("nothing was done: %w (needs pidfd_getfd(2), Linux 5.6)", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("nothing was done: %w (needs CAP_SYS_PTRACE)", err)
	}
	return fmt.Errorf("nothing was done: %w", err)
}

// errChanged is the error for what is not there any more.
var errChanged = errors.New("changed since it was looked at: nothing was done")

// destroyError says what the kernel's answer to SOCK_DESTROY means.
func destroyError(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return errChanged
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (needs CAP_NET_ADMIN in the socket's network namespace)", err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w (takes a kernel with CONFIG_INET_DIAG_DESTROY, and a TCP or UDP socket)", err)
	}
	return err
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
