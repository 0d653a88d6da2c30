package proctest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A supervisor stands between the test and the role. It holds nothing that the
// role makes, adopts every process that loses its parent, and when it is told
// to end kills all of them: that is, until wait(2) says that none is left.
type supervisor struct {
	script string
	// directory is for copies of the program.
	directory string
	// ready is a file to write the facts to, for scripts; empty to write them
	// to the standard output, as JSON.
	ready string
	// reaping is held by who calls wait(2).
	reaping sync.Mutex
}

// answer is what a supervisor tells: the role's processes, or what went wrong.
type answer struct {
	Process *Process `json:",omitzero"`
	Error   string   `json:",omitzero"`
}

// settleTime is how long a role may take to be in place.
const settleTime = 30 * time.Second

// run plays the script and returns the process's exit status.
func (s *supervisor) run() int {
	if err := unix.CloseRange(3, math.MaxUint32, 0); err != nil {
		fmt.Fprintln(os.Stderr, "holder: close_range:", err)
		return 1
	}
	over := make(chan struct{})
	go s.awaitEnd(over)

	told := make(chan answer, 1)
	runtime.LockOSThread() // the parent of the role, whose end would kill it
	if err := s.start(told); err != nil {
		told <- answer{Error: err.Error()}
	}
	defer s.killAll()
	a := <-told
	if err := s.tell(a); err != nil {
		fmt.Fprintln(os.Stderr, "holder:", err)
		return 1
	}
	if a.Error != "" {
		return 1
	}
	<-over
	return 0
}

// start executes the role; what its processes report is told when all are in place.
func (s *supervisor) start(told chan<- answer) error {
	ops, err := parse(s.script)
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	// With SO_PASSCRED the kernel says which pid a message comes from, as seen
	// here, whatever namespace the sender is in.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	if err := unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return fmt.Errorf("setsockopt SO_PASSCRED: %w", err)
	}
	limit := unix.Timeval{Sec: int64(settleTime / time.Second)}
	if err := unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return fmt.Errorf("setsockopt SO_RCVTIMEO: %w", err)
	}
	s.reap()
	l := launch{environment: environment(), stdio: [3]int{0, pair[1], 2}}
	l.attributes.Pdeathsig = unix.SIGKILL
	err = l.role(&request{Process: 1, Operations: ops, Name: roleName, Directory: s.directory})
	unix.Close(pair[1])
	if err != nil {
		return err
	}
	go func() {
		process, err := gather(ops, pair[0])
		if err != nil {
			told <- answer{Error: err.Error()}
			return
		}
		told <- answer{Process: process}
	}()
	return nil
}

// gather receives the reports of the processes that ops describe, and returns
// them when every process does what it says.
func gather(ops []*operation, reports int) (*Process, error) {
	c := newCollection(ops)
	for {
		message, pid, err := receive(reports)
		if err == io.EOF {
			break
		}
		if err == unix.EAGAIN {
			return nil, fmt.Errorf("no report for %v: %s", settleTime, c.missing())
		}
		if err != nil {
			return nil, fmt.Errorf("receive report: %w", err)
		}
		if err := c.add(message, pid); err != nil {
			return nil, err
		}
	}
	return c.settle()
}

// receive returns the next report and the pid of its sender; io.EOF when nobody
// is left who could send one.
func receive(fd int) ([]byte, int, error) {
	buffer := make([]byte, 1<<18)
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		n, oobn, _, _, err := unix.Recvmsg(fd, buffer, control, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, 0, err
		case n == 0:
			return nil, 0, io.EOF
		}
		messages, err := unix.ParseSocketControlMessage(control[:oobn])
		if err != nil || len(messages) != 1 {
			return nil, 0, fmt.Errorf("no credentials with a report: %v", err)
		}
		credentials, err := unix.ParseUnixCredentials(&messages[0])
		if err != nil {
			return nil, 0, err
		}
		return buffer[:n], int(credentials.Pid), nil
	}
}

// decodeReport tells the report of a role from that of a raw child.
func decodeReport(message []byte) (f facts, raw bool, err error) {
	if len(message) == int(unsafe.Sizeof(identity{}.report)) {
		word := func(i int) uint32 { return binary.NativeEndian.Uint32(message[4*i:]) }
		f.Process = int(word(0))
		if errno := word(1); errno != 0 {
			f.Error = fmt.Sprintf("call %d of process %d, a raw child: %v", word(2), f.Process, unix.Errno(errno))
		}
		return f, true, nil
	}
	err = json.Unmarshal(message, &f)
	return f, false, err
}

// awaitEnd closes over when the test lets go: at the end of the standard input,
// or for a script, whose programs have none, when the one who started it is
// gone; and at a signal.
func (s *supervisor) awaitEnd(over chan<- struct{}) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if s.ready == "" {
			io.Copy(io.Discard, descriptor(0))
			return
		}
		pidfd, err := unix.PidfdOpen(unix.Getppid(), 0)
		if err != nil {
			return
		}
		for err = unix.EINTR; err == unix.EINTR; {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
		}
	}()
	select {
	case <-signals:
	case <-gone:
	}
	close(over)
}

// reap collects adopted processes while the role lives.
func (s *supervisor) reap() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD) // before any can end
	go func() {
		for range ended {
			s.reaping.Lock()
			reapAll()
			s.reaping.Unlock()
		}
	}()
}

// killAll ends every descendant. A process whose parent is killed becomes a
// child of this one, so that killing children is enough.
func (s *supervisor) killAll() {
	s.reaping.Lock() // for ever: pids must not be reaped between listing and killing
	for {
		switch pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); {
		case err == unix.ECHILD:
			return
		case pid > 0 || err == unix.EINTR:
			continue
		}
		for _, child := range childrenOf(os.Getpid()) {
			unix.Kill(child, unix.SIGKILL)
		}
		time.Sleep(time.Millisecond)
	}
}
