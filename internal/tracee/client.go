package tracee

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A helper that was started is known by its own name and by the environment:
// one of them alone could be somebody else's.
const (
	helperName = "stray-tracee"
	helperEnv  = "STRAY_TRACEE_HELPER=1"
)

// isHelper reports whether this process was started to be a helper.
func isHelper() bool {
	return len(os.Args) == 1 && os.Args[0] == helperName && os.Getenv("STRAY_TRACEE_HELPER") == "1"
}

// helper is the caller's side of a helper process.
type helper struct {
	conn
	command *exec.Cmd
	// finished: it has said its last word. stuck: it will not for long.
	finished, stuck bool

	mu     sync.Mutex // guards the use of conn against its being closed
	closed bool
}

// startHelper runs this program once more, as the helper, and waits until it is
// ready.
func startHelper(opt Options) (*helper, error) {
	if isHelper() {
		return nil, errors.New("tracee.HelperMain is not the first thing in main")
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair for the helper: %w", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "helper")
	defer theirs.Close()
	command := &exec.Cmd{
		Path:  procRoot + "/self/exe",
		Args:  []string{helperName},
		Env:   []string{helperEnv, "GOMAXPROCS=2", "GOTRACEBACK=none"},
		Stdin: theirs,
		// A session of its own: no terminal's ^C, ^Z or hangup reaches it.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	h := &helper{conn: conn(ends[0]), command: command}
	if err := command.Start(); err != nil {
		unix.Close(ends[0])
		return nil, fmt.Errorf("start the helper: %w", err)
	}
	const patience = 10 * time.Second
	if err = h.limit(patience); err == nil {
		var hello reply
		hello, err = h.receive()
		if err == nil && !hello.Ready {
			err = errors.New("it does not say that it is ready")
		}
	}
	if err == nil {
		// From here it is the helper that keeps the time; this is for the
		// case that it is kept from running.
		err = h.limit(opt.StopTimeout + opt.CallTimeout + opt.HoldTimeout + patience)
	}
	if err != nil {
		// It has been told nothing, and so holds nothing.
		command.Process.Kill()
		h.leave()
		return nil, fmt.Errorf("start the helper: %w", err)
	}
	return h, nil
}

func (h *helper) pid() int { return h.command.Process.Pid }

// receive returns the next thing that the helper says.
func (h *helper) receive() (reply, error) {
	var r reply
	if err := h.conn.receive(&r); err != nil {
		return reply{}, fmt.Errorf("receive from the helper process %d: %w", h.pid(), err)
	}
	h.finished, h.stuck = r.Final != nil, r.Stuck != nil
	return r, nil
}

// hangUp ends what the helper hears, which makes it let go of the target. What
// it still says can be received.
func (h *helper) hangUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		unix.Shutdown(int(h.conn), unix.SHUT_WR)
	}
}

// leave returns when the helper has let go of the target and ended. One that is
// stuck, or does not answer, is left to itself: it ends when it can.
func (h *helper) leave() {
	h.hangUp()
	for !h.finished && !h.stuck {
		if _, err := h.receive(); err != nil {
			break
		}
	}
	h.mu.Lock()
	h.closed = true
	unix.Close(int(h.conn))
	h.mu.Unlock()
	if h.finished {
		h.command.Wait()
	} else {
		go h.command.Wait()
	}
}
