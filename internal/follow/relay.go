package follow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// relayed are the signals that are meant for the command when somebody sends
// them to the process that follows it.
var relayed = [...]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTSTP, unix.SIGCONT, unix.SIGWINCH}

// harmless are those of them that do not ask for an end.
var harmless = [...]unix.Signal{unix.SIGTSTP, unix.SIGCONT, unix.SIGWINCH}

// noteTo is the descriptor that note writes to; a signal handler has no other
// way to know. There is one relay at a time.
var noteTo int32

// A relay passes on the signals that come by kill(2). Those of a terminal (Ctrl-C,
// Ctrl-Z, a window that changes its size) reach the command by themselves: its
// process group is the caller's. Which it is only the siginfo_t tells, which
// os/signal keeps to itself: hence a handler of its own.
type relay struct {
	read   *os.File
	before [len(relayed)]sigaction
	done   chan struct{}

	mu      sync.Mutex // guards the rest
	pidfd   int        // of the command; -1 when there is none
	ended   bool       // the command has
	early   []unix.Signal
	hurries bool // somebody wants an end after the command's
	stopped bool // by a SIGTSTP that was passed on
}

// startRelay takes over the signals of this process until stop. One that is
// ignored stays ignored, for the command too. Of those that the caller ignores
// these are SIGHUP, SIGINT, SIGTSTP and SIGCONT: for the others Go's runtime has
// put a handler in place of that by now.
func startRelay() (*relay, error) {
	address := noteAddress()
	if address == 0 {
		return nil, errors.New("signals are not relayed on this architecture")
	}
	var ends [2]int
	// A handler must not wait: what does not fit is lost.
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("relay signals: pipe2: %w", err)
	}
	r := &relay{read: os.NewFile(uintptr(ends[0]), "signals"), done: make(chan struct{}), pidfd: -1}
	noteTo = int32(ends[1])
	// What the runtime's own handlers need is right for this one: the stack for
	// signals, SA_SIGINFO, and the way back.
	var model sigaction
	if err := sigactionOf(unix.SIGURG, nil, &model); err != nil {
		r.read.Close()
		unix.Close(int(noteTo))
		return nil, fmt.Errorf("relay signals: sigaction: %w", err)
	}
	for i, signal := range relayed {
		sigactionOf(signal, nil, &r.before[i])
		if r.before[i].handler == ignored {
			continue
		}
		action := model
		action.handler = uint64(address)
		sigactionOf(signal, &action, nil)
	}
	go r.run()
	return r, nil
}

// to names the command. What has come before goes to it now.
func (r *relay) to(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pidfd, err := unix.PidfdOpen(pid, 0); err == nil {
		r.pidfd = pidfd
	}
	for _, signal := range r.early {
		r.pass(signal)
	}
	r.early = nil
}

// nobody says that the command has ended.
func (r *relay) nobody() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// hurry reports whether a signal has come since the command has ended.
func (r *relay) hurry() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hurries
}

// run deals with what note writes.
func (r *relay) run() {
	defer close(r.done)
	// Of siginfo_t: si_signo, and si_code, which is positive for what the
	// kernel has sent.
	var info [128]byte
	for {
		if n, err := r.read.Read(info[:]); n != len(info) || err != nil {
			return
		}
		r.came(unix.Signal(binary.NativeEndian.Uint32(info[0:])), int32(binary.NativeEndian.Uint32(info[8:])) > 0)
	}
}

// came deals with one signal.
func (r *relay) came(signal unix.Signal, byKernel bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ended:
		r.hurries = r.hurries || !slices.Contains(harmless[:], signal)
	case byKernel:
	case signal == unix.SIGCONT && !r.stopped:
		// It continues this process, or is that of a shell's fg, which the
		// command has got too.
	default:
		r.stopped = signal == unix.SIGTSTP || r.stopped && signal != unix.SIGCONT
		if r.pidfd < 0 {
			r.early = append(r.early, signal)
		} else {
			r.pass(signal)
		}
	}
}

func (r *relay) pass(signal unix.Signal) { unix.PidfdSendSignal(r.pidfd, signal, nil, 0) }

// stop gives the signals back.
func (r *relay) stop() {
	for i, signal := range relayed {
		if r.before[i].handler != ignored {
			sigactionOf(signal, &r.before[i], nil)
		}
	}
	unix.Close(int(noteTo))
	<-r.done
	r.read.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pidfd >= 0 {
		unix.Close(r.pidfd)
	}
	r.pidfd = -1
}

// sigaction is the kernel's struct sigaction, and ignored its SIG_IGN.
type sigaction struct{ handler, flags, restorer, mask uint64 }

const ignored = 1

// sigactionOf is rt_sigaction(2).
func sigactionOf(signal unix.Signal, set, get *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(set)),
		uintptr(unsafe.Pointer(get)), unsafe.Sizeof(sigaction{}.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
