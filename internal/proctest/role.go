package proctest

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A role process keeps its descriptor table clean, since the table is what
// tests look at: besides 0, 1 and 2 it holds only what its script makes. So
// nothing here uses os.File, package net, or a timer, which open an epoll
// instance; and the runtime is told not to hold a cgroup's CPU limit open.
//
// Descriptor 0 brings the request and is then /dev/null; 1 takes the facts and
// is then /dev/null, which is how the supervisor learns that all have reported.

// request is what a role process is told by its parent.
type request struct {
	Process    int
	Operations []*operation
	// Name is what the process calls itself (/proc/PID/comm).
	Name string
	// Table is what it inherits, and Sockets what its ancestors have made.
	Table   table
	Sockets []Socket
	// Orphan tells that the parent ends first.
	Orphan bool
	// Directory is for copies of the program.
	Directory string
	// Silent tells that nobody waits for reports: the standard descriptors are
	// those of the caller.
	Silent bool
}

// facts is what a role process reports when everything is in place.
type facts struct {
	Process  int
	Error    string
	Table    table
	Sockets  []Socket
	Raw      []rawFact
	Threads  []threadFact
	Programs []programFact
	End      end
}

// rawFact is what a raw child cannot tell about itself.
type rawFact struct {
	Process int
	Table   table
	End     end
}

// programFact is a program that exec has started, with its pid as the parent
// sees it.
type programFact struct {
	Process, PID int
	Path         string
	Table        table
}

// threadFact is a thread, with its own descriptor table if it has one.
type threadFact struct {
	TID   int
	Table table
	End   end
}

// role is a process that carries out operations.
type role struct {
	request
	table  table
	facts  facts
	ending ending
}

// playRole is the main function of a role process; it does not return.
func playRole() {
	onMainThread(func() {
		r, err := readRequest()
		if err == nil {
			err = r.play()
		}
		if err != nil {
			r.facts.Error = err.Error()
			r.report()
			os.Exit(1)
		}
	})
}

// playBare is the main function of a role without a supervisor, whose script
// is its arguments; it does not return. The role ends when the script does.
func playBare(args []string) {
	onMainThread(func() {
		ops, err := parse(strings.Join(args, " "))
		if err == nil {
			if len(ops) == 0 || !specifications[ops[len(ops)-1].Name].last {
				ops = append(ops, &operation{Name: "exit"})
			}
			r := &role{request: request{Process: 1, Operations: ops, Name: roleName, Silent: true}}
			err = r.play()
		}
		fmt.Fprintln(os.Stderr, "holder:", err)
		os.Exit(1)
	})
}

// onMainThread runs f on the thread that leads the process, and does not
// return. So /proc/PID/syscall is what the role does, and PR_SET_PDEATHSIG of
// its children follows the process.
func onMainThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		f()
	}
	// This thread is kept busy, and another goroutine gets another one.
	go onMainThread(f)
	select {}
}

// readRequest returns the role that the standard input describes, and makes
// that /dev/null.
func readRequest() (*role, error) {
	r := &role{}
	text, err := io.ReadAll(descriptor(0))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r.request); err != nil {
		return r, err
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return r, fmt.Errorf("open /dev/null: %w", err)
	}
	defer unix.Close(null)
	return r, unix.Dup3(null, 0, 0)
}

// play does everything that the role says, reports, and goes on as it says.
func (r *role) play() error {
	if err := setComm(r.Name); err != nil {
		return err
	}
	reap()
	if r.Orphan {
		var p program
		p.bound()
		if err := p.perform(); err != nil {
			return fmt.Errorf("setitimer: %w", err)
		}
	}
	r.table, r.ending = r.Table, pausing()
	for _, op := range r.Operations {
		if err := r.do(op); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	if err := r.report(); err != nil {
		return err
	}
	if r.ending.become != nil {
		return r.ending.become()
	}
	return r.ending.finale.perform()
}

// do carries out one operation, or notes it when it is the one to end with.
func (r *role) do(op *operation) error {
	spec := specifications[op.Name]
	if spec.compile == nil {
		return spec.run(r, op)
	}
	calls, err := spec.compile(&r.table, op)
	if err != nil || r.ending.take(op, calls) {
		return err
	}
	return calls.perform()
}

// report sends the facts in one message, and ends the way to make one.
func (r *role) report() error {
	if r.Silent {
		return nil
	}
	r.facts.Process, r.facts.Table, r.facts.End = r.Process, r.table, r.ending.end
	message, err := json.Marshal(r.facts)
	if err != nil {
		return err
	}
	if _, err := unix.Write(1, message); err != nil {
		return err
	}
	if r.ending.reportsAgain {
		return nil
	}
	return unix.Dup3(0, 1, 0)
}

// known returns every socket that this process or an ancestor has made.
func (r *role) known() []Socket { return slices.Concat(r.Sockets, r.facts.Sockets) }

// socketOf returns the newest socket with this name.
func (r *role) socketOf(name string) (Socket, bool) {
	for _, s := range slices.Backward(r.known()) {
		if s.Name == name {
			return s, true
		}
	}
	return Socket{}, false
}

// reap collects from now on children that have ended, so that they are gone and no
// zombies; and it ends an orphan when its time is up.
func reap() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGALRM) // before any can end
	go func() {
		for s := range signals {
			if s == unix.SIGALRM {
				os.Exit(1)
			}
			reapAll()
		}
	}()
}

func reapAll() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != unix.EINTR && pid <= 0 {
			return
		}
	}
}

// setComm names the process as /proc/PID/comm shows it: after an exec of
// /proc/self/exe that would be "exe".
func setComm(name string) error {
	fd, err := unix.Open("/proc/self/comm", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /proc/self/comm: %w", err)
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(name))
	return err
}

// descriptor reads a descriptor without os.File.
type descriptor int

func (d descriptor) Read(buffer []byte) (int, error) {
	for {
		n, err := unix.Read(int(d), buffer)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// writeAll writes to a descriptor without os.File.
func writeAll(fd int, text []byte) error {
	for len(text) > 0 {
		n, err := unix.Write(fd, text)
		if err != nil && err != unix.EINTR {
			return err
		}
		text = text[max(n, 0):]
	}
	return nil
}

// readAll is os.ReadFile without os.File.
func readAll(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	text, err := io.ReadAll(descriptor(fd))
	return string(text), err
}
