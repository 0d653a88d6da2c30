// Package proctest makes real kernel situations for tests: processes that hold
// sockets and other descriptors in every way there is.
//
// A test binary executes itself again to play a role, which a script
// describes in a small language:
//
//	p := proctest.Start(t, `
//		listen tcp4 127.0.0.1:0 name=web
//		fork { serve sleep }
//		exec sleep 60`)
//	p.Socket("web").Port()
//	p.Children[0].PID
//
// Operations are carried out in order; they are separated by new lines or
// semicolons, and Language describes them (holder -help prints it). Blocks are
// other processes: fork { … } executes nothing and makes only system calls,
// exec { … } is this program again, or a program, exec sleep 60. Operations
// mean the descriptor made last, unless they name one. A process ends with
// serve …, exit, stop, or become …, and pauses otherwise. Some more:
//
//	listen tcp4 127.0.0.1:0; fork { }; exit                      # the opener is gone
//	listen tcp4 127.0.0.1:0; fork times=3 { serve accept }       # prefork
//	listen tcp6 [::]:0 v6only=0 cloexec=1; exec pass=listen LISTEN_FDS=1 LISTEN_PID=self sleep 60
//	listen tcp4 127.0.0.1:0 name=web; thread own=1 { serve accept web }; close web
//	listen tcp4 127.0.0.1:0; uring                               # or: scm listen
//	exec newnet=1 newpid=1 uid=65534 { listen tcp4 127.0.0.1:8080 }
//
// Start returns when everything is in place: each process is in the very system
// call that its role ends with. When the test ends, so does every process.
//
// A package that uses it calls Main first thing in TestMain:
//
//	func TestMain(m *testing.M) {
//		proctest.Main()
//		testenv.Main(m)
//	}
//
// or, for scripts, where the command holder and ScriptCommands play roles,
//
//	func TestMain(m *testing.M) {
//		proctest.Main()
//		testscript.Main(testenv.Checked(m), map[string]func(){"holder": proctest.Main, …})
//	}
package proctest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// mainCalled tells that this program can play roles.
var mainCalled bool

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
	mainCalled = true
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
	if !mainCalled {
		return nil, nil, errors.New("TestMain has to call proctest.Main first")
	}
	if _, err := parse(script); err != nil {
		return nil, nil, err
	}
	directory, err := copiesDirectory()
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(directory)
		}
	}()
	cmd := exec.Command("/proc/self/exe", "-directory", directory, "--", script)
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
	wait := func() error {
		stdin.Close()
		defer time.AfterFunc(settleTime, func() { cmd.Process.Kill() }).Stop()
		return cmd.Wait()
	}
	if p, err = readAnswer(cmd, stdout); err != nil {
		wait()
		return nil, nil, err
	}
	return p, func() error {
		defer os.RemoveAll(directory)
		if err := wait(); err != nil {
			return fmt.Errorf("supervisor: %w", err)
		}
		return p.gone()
	}, nil
}

// readAnswer reads what a supervisor tells.
func readAnswer(supervisor *exec.Cmd, stdout io.Reader) (*Process, error) {
	// A supervisor that hangs is killed, and with it the role: the reading ends.
	defer time.AfterFunc(3*settleTime, func() { supervisor.Process.Kill() }).Stop()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("read from supervisor: %w", err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return nil, err
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a.Process, nil
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
