package tracee

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// An Operation is what is done while a target is stopped. Make one with
// Register.
type Operation[P, R any] struct{ name string }

// prepared is an operation that has its plan.
type prepared func(*Stopped) (result any, err error)

// operations are all there are, by name. Only Register writes it, before main.
var operations = map[string]func(plan json.RawMessage) (prepared, error){}

// Register makes an operation of a function, for a package-level variable. The
// function runs in the helper, not in the process that calls Do: what it is to
// know is in the plan, what it is to tell in the result, and both travel as
// JSON. It should look, act and be quick, must not wait for anything that the
// target may hold up (it may hold a lock, or be the server of a file system),
// and must not start a goroutine. An error that it returns arrives as text; of
// the errors that it wraps, *CallError and *Refusal arrive as such.
func Register[P, R any](name string, f func(*Stopped, P) (R, error)) Operation[P, R] {
	if operations[name] != nil {
		panic("tracee: two operations are called " + name)
	}
	operations[name] = func(text json.RawMessage) (prepared, error) {
		var plan P
		if err := json.Unmarshal(text, &plan); err != nil {
			return nil, err
		}
		return func(s *Stopped) (any, error) { return f(s, plan) }, nil
	}
	return Operation[P, R]{name}
}

// Do stops the threads that have the target's descriptor table, does the
// operation, puts everything back and lets go, whatever the operation returns
// and even when it panics. When ctx ends, a call that waits is interrupted,
// further ones are refused, and the target is let go; Do returns when it has been.
//
// The error is the operation's, a *Refusal when the target was not touched, a
// *StuckError, ErrHeldTooLong, that of ctx, or what went wrong with the helper.
// The result is the operation's also when it returned an error.
func (o Operation[P, R]) Do(ctx context.Context, target Target, opt Options, plan P) (R, Report, error) {
	var result R
	text, err := json.Marshal(plan)
	if err != nil {
		return result, Report{}, fmt.Errorf("encode the plan of %s: %w", o.name, err)
	}
	final, err := converse(ctx, request{Target: target, Options: opt.withDefaults(), Operation: o.name, Plan: text})
	if err != nil {
		return result, Report{}, err
	}
	if len(final.Result) > 0 {
		if err := json.Unmarshal(final.Result, &result); err != nil {
			return result, final.Report, fmt.Errorf("decode the result of %s: %w", o.name, err)
		}
	}
	return result, final.Report, final.Failure.err(ctx)
}

// converse has a helper do what is asked.
func converse(ctx context.Context, r request) (finalReply, error) {
	if err := ctx.Err(); err != nil {
		return finalReply{}, err
	}
	// The helper looks again; for what is plain to see none is needed.
	p, refusal := find(r.Target)
	if refusal != nil {
		return finalReply{}, refusal
	}
	p.close()
	h, err := startHelper(r.Options)
	if err != nil {
		return finalReply{}, err
	}
	defer h.leave()
	defer context.AfterFunc(ctx, h.hangUp)()
	if err := h.send(r); err != nil {
		return finalReply{}, err
	}
	answer, err := h.receive()
	switch {
	case err != nil:
		return finalReply{}, err
	case answer.Stuck != nil:
		return finalReply{}, answer.Stuck
	case answer.Final == nil:
		return finalReply{}, errors.New("the helper process answered something else than it was asked")
	}
	return *answer.Final, nil
}

// Stopped is a target that stands still. It is of use only to the operation
// that got it, on the goroutine that it runs on, and until it returns.
type Stopped struct{ engine *engine }

// Report says what was stopped, and how strictly.
func (s *Stopped) Report() Report { return s.engine.report }

// TID is a thread that has the descriptor table that is acted on, for
// /proc/PID/task/TID/fd and pidfd_open(2).
func (s *Stopped) TID() int { return s.engine.carrier.tid }

// call has the carrier make the call.
func (s *Stopped) call(o op, arguments ...uint64) (int, error) {
	result := s.engine.call(o, arguments)
	switch {
	case result.Problem != "":
		return -1, &CallError{Call: string(o), Cause: result.Problem, Aborted: result.Aborted}
	case result.Value < 0:
		return -1, &CallError{Call: string(o), Errno: unix.Errno(-result.Value), Aborted: result.Aborted}
	}
	return int(result.Value), nil
}

// StuckError is the error for a call that does not come back although it was
// interrupted: the thread sleeps where nothing reaches it (state D). All other
// threads have been let go. The helper stays for as long as it takes, to put
// the thread's registers right when it wakes: it must not be killed.
type StuckError struct {
	PID, TID int
	Helper   int // pid of the helper
}

func (e *StuckError) Error() string {
	return fmt.Sprintf("process %d, thread %d: a call does not come back from the kernel; process %d waits for it and must not be killed",
		e.PID, e.TID, e.Helper)
}

// failure is an error on its way from the helper to the caller.
type failure struct {
	Text    string
	Refusal *Refusal   `json:",omitempty"`
	Call    *CallError `json:",omitempty"`
	Slow    bool       `json:",omitempty"`
	HungUp  bool       `json:",omitempty"`
}

// newFailure packs an error of the operation; nil for none.
func newFailure(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Text: err.Error()}
	errors.As(err, &f.Refusal)
	errors.As(err, &f.Call)
	return f
}

// err unpacks it.
func (f *failure) err(ctx context.Context) error {
	switch {
	case f == nil:
		return nil
	case f.HungUp && ctx.Err() != nil:
		return context.Cause(ctx)
	case f.Slow:
		return ErrHeldTooLong
	case f.Refusal != nil && f.Text == f.Refusal.Error():
		return f.Refusal
	case f.Call != nil && f.Text == f.Call.Error():
		return f.Call
	}
	return f
}

func (f *failure) Error() string { return f.Text }

// Unwrap gives what the operation's error wrapped to errors.As.
func (f *failure) Unwrap() []error {
	var wrapped []error
	if f.Refusal != nil {
		wrapped = append(wrapped, f.Refusal)
	}
	if f.Call != nil {
		wrapped = append(wrapped, f.Call)
	}
	return wrapped
}
