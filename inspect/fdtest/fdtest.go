// Package fdtest fails Go tests that leak file descriptors. It needs the
// standard library only.
//
// For a whole package, in one of its _test.go files:
//
//	func TestMain(m *testing.M) { fdtest.VerifyTestMain(m) }
//
// For a single test, as its first line and not deferred, since it compares what
// is open at the end of the test with what is open now:
//
//	func TestServer(t *testing.T) {
//		fdtest.VerifyNone(t)
//		…
//	}
//
// A leak is a descriptor that is open at the end and was not at the beginning,
// or that leads elsewhere by then; what is on its way out has some time for
// that. The failure names each one:
//
//	fdtest: 2 descriptors leaked:
//		fd 7: tcp listener 127.0.0.1:43817 (O_RDWR|O_NONBLOCK, FD_CLOEXEC)
//		fd 8: file /tmp/spool (O_WRONLY|O_APPEND, no FD_CLOEXEC), was: file /dev/null (…)
//
// Nothing is garbage-collected for the look: a file that only a cleanup of the
// collector would close is a leak. If the collector happens to run, it hides
// that leak.
//
// # Parallel tests
//
// Descriptors belong to the process and not to a test: nobody can tell which of
// several parallel tests has opened one. VerifyNone therefore refuses tests that
// are parallel, or become so. A test whose subtests are parallel is fine: it
// ends after them. VerifyTestMain looks when all tests have ended, and is right
// for parallel ones.
//
// # What does not count
//
// The epoll instance and the eventfd of the Go runtime's network poller are
// opened before the first look. Two more things are told by evidence, and never
// by their numbers: files that package testing itself keeps open (-cpuprofile,
// -trace, -testlogfile), which are those that its flags name; and the pipes that
// package net keeps for splice(2), which are 1 MiB large, non-blocking, and have
// both of their ends in this process. Files that the runtime reads the limits of
// the cgroup from are open before any test.
//
// # Other systems
//
// Only Linux tells what a descriptor is. Elsewhere the package compiles, Take
// returns errors.ErrUnsupported, and tests are told in a sentence that nothing
// was checked.
package fdtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// defaultRetry is how long what is on its way out may still take.
const defaultRetry = 2 * time.Second

// options are what the Options set.
type options struct {
	ignore []func(Descriptor) bool
	retry  time.Duration
}

// Option changes what counts as a leak.
type Option func(*options)

// Ignore leaves out the descriptors for which f returns true.
func Ignore(f func(Descriptor) bool) Option {
	return func(o *options) { o.ignore = append(o.ignore, f) }
}

// RetryFor sets how long the look is repeated until nothing is left: 2 s
// without this option. 0 is one look.
func RetryFor(d time.Duration) Option {
	return func(o *options) { o.retry = d }
}

func newOptions(opts []Option) options {
	o := options{retry: defaultRetry}
	for _, option := range opts {
		option(&o)
	}
	return o
}

// counted returns the descriptors that no option leaves out.
func (o options) counted(found []Descriptor) []Descriptor {
	return slices.DeleteFunc(found, func(d Descriptor) bool {
		return d.Keeper != "" || slices.ContainsFunc(o.ignore, func(f func(Descriptor) bool) bool { return f(d) })
	})
}

// settled repeats a look until it finds nothing that counts, or the time for
// that is over, and returns what it found last.
func (o options) settled(look func(now Snapshot) []Descriptor) ([]Descriptor, error) {
	deadline := time.Now().Add(o.retry)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		now, err := Take()
		if err != nil {
			return nil, err
		}
		left := o.counted(look(now))
		if len(left) == 0 || !time.Now().Add(pause).Before(deadline) {
			return left, nil
		}
		time.Sleep(pause)
	}
}

// leaked returns what has been opened since before and stays open.
func (o options) leaked(before Snapshot) ([]Descriptor, error) {
	return o.settled(func(now Snapshot) []Descriptor { return Diff(before, now) })
}

// VerifyNone fails the test at its end for each descriptor that it has opened
// and not closed, or left to others to close. Call it first thing, and do not
// defer it: what the test closes in deferred calls or in Cleanup is closed by
// the time it looks.
//
// The test must be alone: VerifyNone fails one that is parallel or has a
// parallel parent, and package testing panics in one that calls t.Parallel
// later (where its message speaks of t.Setenv, it means this). Parallel subtests
// are welcome.
func VerifyNone(t testing.TB, opts ...Option) {
	t.Helper()
	before, err := Take()
	if unsupported(t, err) {
		return
	}
	alone(t)
	o := newOptions(opts)
	t.Cleanup(func() {
		t.Helper()
		leaks, err := o.leaked(before)
		if err != nil {
			t.Errorf("fdtest: %v", err)
		} else if len(leaks) > 0 {
			t.Errorf("fdtest: %s leaked:\n%s", count(leaks), list(leaks, before))
		}
	})
}

// alone fails a parallel test, and keeps t from becoming one. Package testing
// tells nobody whether a test is parallel, but Setenv knows: to set a variable
// to the value that it has changes nothing else.
func alone(t testing.TB) {
	t.Helper()
	defer func() {
		t.Helper()
		if r := recover(); r != nil {
			t.Fatal("fdtest: VerifyNone cannot tell the descriptors of parallel tests apart: call it in a parent that is not parallel, or VerifyTestMain")
		}
	}()
	for _, variable := range os.Environ() {
		if name, value, ok := strings.Cut(variable, "="); ok && name != "" {
			t.Setenv(name, value)
			return
		}
	}
}

// unsupported says why there was no look: in a sentence where the system cannot
// tell, in a failure otherwise.
func unsupported(t testing.TB, err error) bool {
	t.Helper()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		t.Logf("fdtest: descriptors are not checked: %v", err)
		return true
	case err != nil:
		t.Fatalf("fdtest: %v", err)
	}
	return false
}

// VerifyNoneInheritable fails the test for each descriptor above 2 that is open
// at this moment, lacks FD_CLOEXEC, and was not there when the program started:
// every program that the test starts from now on could inherit it. Call it where
// what matters is open. Package os opens everything with FD_CLOEXEC; what does
// not are plain system calls, C code, and (*os.File).Fd passed to those who
// duplicate it.
//
// In parallel tests it finds what others have opened too.
func VerifyNoneInheritable(t testing.TB, opts ...Option) {
	t.Helper()
	if unsupported(t, inherited.err) {
		return
	}
	left, err := newOptions(opts).settled(func(now Snapshot) []Descriptor {
		return slices.DeleteFunc(Diff(inherited.Snapshot, now), func(d Descriptor) bool { return d.FD <= 2 || d.CloseOnExec })
	})
	if err != nil {
		t.Errorf("fdtest: %v", err)
	} else if len(left) > 0 {
		t.Errorf("fdtest: %s can be inherited by every program that is started:\n%s", count(left), list(left, inherited.Snapshot))
	}
}

// inherited is what was open when this package was initialised: what the
// program was started with, and what packages below this one have opened.
var inherited = func() (first struct {
	Snapshot
	err error
},
) {
	first.Snapshot, first.err = take()
	return first
}()

// Tests are the tests of a package: a *testing.M.
type Tests interface{ Run() int }

// VerifyTestMain runs the tests and exits. A descriptor that they leave open
// makes them fail:
//
//	func TestMain(m *testing.M) { fdtest.VerifyTestMain(m) }
func VerifyTestMain(m Tests, opts ...Option) { os.Exit(Run(m, opts...)) }

// Run is VerifyTestMain for those who exit themselves: it returns the exit
// status, which a leak makes 1 unless it is another failure already.
func Run(m Tests, opts ...Option) int { return run(m, os.Stderr, opts) }

func run(m Tests, stderr io.Writer, opts []Option) int {
	before, err := Take()
	if errors.Is(err, errors.ErrUnsupported) {
		fmt.Fprintf(stderr, "fdtest: descriptors are not checked: %v\n", err)
		return m.Run()
	}
	code := m.Run()
	var leaks []Descriptor
	if err == nil {
		leaks, err = newOptions(opts).leaked(before)
	}
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "fdtest: %v\n", err)
	case len(leaks) > 0:
		fmt.Fprintf(stderr, "fdtest: the tests have leaked %s:\n%s\n", count(leaks), list(leaks, before))
	default:
		return code
	}
	return max(code, 1)
}

func count(found []Descriptor) string {
	if len(found) == 1 {
		return "1 descriptor"
	}
	return fmt.Sprintf("%d descriptors", len(found))
}

// list writes a line for each descriptor, and what its number was before.
func list(found []Descriptor, before Snapshot) string {
	lines := make([]string, len(found))
	for i, d := range found {
		lines[i] = "\t" + d.String()
		if old, ok := before.find(d.FD); ok {
			lines[i] += ", was: " + old.what()
		}
	}
	return strings.Join(lines, "\n")
}
