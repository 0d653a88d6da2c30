// Package proctest makes real kernel situations for tests: processes that hold
// sockets and other descriptors in every way there is.
//
// A test binary executes itself again to play a role, which a script
// describes in a small language:
//
//	p := proctest.Start(t, `
//		listen tcp4 127.0.0.1:0 name=web
//		fork { pause }
//		exec sleep 60`)
//	p.Socket("web").Port()
//	p.Children[0].PID
//
// Operations are carried out in order; they are separated by new lines or
// semicolons, and Language describes them. Start returns when everything is in
// place: each process is in the very system call that its role ends with. When
// the test ends, so does every process.
//
// A package that uses it calls Main first thing in TestMain.
package proctest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Process is one process of a role.
type Process struct {
	PID, PPID int
	// StartTicks is field 22 of /proc/PID/stat.
	StartTicks uint64
	// TIDs are its threads, sorted.
	TIDs []int
	// NetNS is the inode of its network namespace; 0 when not permitted to know.
	NetNS uint64
	// Program is the path of the program that exec has started; empty for roles.
	Program string `json:",omitzero"`
	// Exited tells that the role has ended, by exit. Nothing else is known of it.
	Exited bool `json:",omitzero"`
	// Descriptors are what the script has made or left open, by number.
	Descriptors []Descriptor
	// Sockets are those that the process has made, in order, whether a
	// descriptor is left of them or not.
	Sockets []Socket
	// Children are in the order in which the script starts them.
	Children []*Process
}

// Descriptor is an entry in a descriptor table.
type Descriptor struct {
	// Name is the option name of the operation that made it; without one it is
	// the operation itself, from the second on with a number: listen, listen2.
	Name string
	// Kind is the operation that made it.
	Kind string
	FD   int
	// TID is the thread that shows it, /proc/PID/task/TID/fd, when the leader
	// does not; 0 otherwise.
	TID         int `json:",omitzero"`
	Inode       uint64
	CloseOnExec bool
}

// Socket is a socket that a role has made.
type Socket struct {
	Name string
	// Network is the word of the script: tcp4, udp6, unix.
	Network string
	Inode   uint64
	Cookie  uint64 // SO_COOKIE
	NetNS   uint64 // inode of its network namespace
	Local   netip.AddrPort
	Remote  netip.AddrPort // the zero value when not connected
	// Path is the name of a unix socket; '@' stands for the NUL of an abstract one.
	Path string `json:",omitzero"`
}

// Port returns the local port, 0 for a unix socket.
func (s Socket) Port() int { return int(s.Local.Port()) }

// address is the word for connect.
func (s Socket) address() string {
	if s.Path != "" {
		return s.Path
	}
	return s.Local.String()
}

// All returns the process and its descendants, each before its children.
func (p *Process) All() []*Process {
	all := []*Process{p}
	for _, child := range p.Children {
		all = append(all, child.All()...)
	}
	return all
}

// Socket returns the first socket of that name that the process or a descendant
// has made; an empty name means any. It panics when there is none: the script
// stands next to the call.
func (p *Process) Socket(name string) Socket {
	for _, q := range p.All() {
		for _, s := range q.Sockets {
			if name == "" || s.Name == name {
				return s
			}
		}
	}
	panic(fmt.Sprintf("proctest: the role has no socket %q", name))
}

// Descriptor returns this process's descriptor of that name; an empty name
// means any. It panics when there is none.
func (p *Process) Descriptor(name string) Descriptor {
	for _, d := range p.Descriptors {
		if name == "" || d.Name == name {
			return d
		}
	}
	panic(fmt.Sprintf("proctest: pid %d has no descriptor %q", p.PID, name))
}

// Main plays the role that this process has been executed for, and does not
// return then. It is the first thing that a TestMain calls; and it is the
// function of the command holder of testscript.Main:
//
//	holder [-ready FILE] SCRIPT…
//	holder -bare SCRIPT…
//
// holder writes the facts to the standard output, as JSON, and lasts until its
// standard input ends; or it writes them to a FILE (Variables), and lasts until
// it gets SIGINT or SIGTERM, or the program that started it is gone. With -bare
// it is itself the first process of the role, tells nothing, and ends with its
// script, unless that ends in serve: what it leaves behind is nobody's, for at
// most a minute, and programs for as long as they run.
func Main() {
	switch os.Getenv(roleVariable) {
	case "role":
		playRole()
	case "supervisor":
		os.Exit(supervise(os.Args[1:]))
	case "bare":
		playBare(os.Args[1:])
	}
	if filepath.Base(os.Args[0]) == roleName {
		os.Exit(executeHolder(os.Args[1:]))
	}
}

// Start plays the script, whose lines may be given one by one, and returns when
// everything is in place. At the end of the test it ends every process, and
// fails the test when one is left.
func Start(t testing.TB, script ...string) *Process {
	t.Helper()
	p, end, err := start(strings.Join(script, "\n"))
	if err != nil {
		t.Fatalf("play role: %v", err)
	}
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Errorf("end role: %v", err)
		}
	})
	return p
}

// start plays the script; end is to be called once.
func start(script string) (p *Process, end func() error, err error) {
	if _, err := parse(script); err != nil {
		return nil, nil, err
	}
	cmd := exec.Command("/proc/self/exe", script)
	cmd.Args[0] = roleName
	cmd.Env = roleEnvironment(environment(), "supervisor")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	// A supervisor that hangs is killed, and with it the role: the reading ends.
	timer := time.AfterFunc(2*settleTime, func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	timer.Stop()
	var a answer
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err == nil && a.Error != "" {
		err = fmt.Errorf("%s", a.Error)
	}
	end = func() error {
		stdin.Close()
		timer := time.AfterFunc(settleTime, func() { cmd.Process.Kill() })
		defer timer.Stop()
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("supervisor: %w", err)
		}
		return a.Process.gone()
	}
	if err != nil {
		stdin.Close()
		cmd.Wait()
		return nil, nil, err
	}
	return a.Process, end, nil
}

// gone reports a process of the role that still lives.
func (p *Process) gone() error {
	for _, q := range p.All() {
		if s, err := readStat(q.PID); err == nil && q.StartTicks != 0 && s.startTicks == q.StartTicks {
			return fmt.Errorf("pid %d is still there: %s", q.PID, procText(q.PID, "stat"))
		}
	}
	return nil
}
