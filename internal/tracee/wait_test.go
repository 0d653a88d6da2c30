package tracee

import (
	"flag"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseStatus(t *testing.T) {
	for _, test := range []struct {
		status unix.WaitStatus
		want   event
	}{
		{0x0000, event{kind: eventGone}},                         // exit(0)
		{0x0300, event{kind: eventGone}},                         // exit(3)
		{0x0009, event{kind: eventGone}},                         // SIGKILL
		{0x008b, event{kind: eventGone}},                         // SIGSEGV, core dumped
		{0x80057f, event{kind: eventStop}},                       // PTRACE_EVENT_STOP
		{0x80137f, event{kind: eventStop, signal: unix.SIGSTOP}}, // group stop
		{0x80147f, event{kind: eventStop, signal: unix.SIGTSTP}},
		{0x00857f, event{kind: eventCall}},
		{0x00137f, event{kind: eventSignal, signal: unix.SIGSTOP}},
		{0x00057f, event{kind: eventSignal, signal: unix.SIGTRAP}}, // a breakpoint's
		{0x00227f, event{kind: eventSignal, signal: 34}},           // SIGRTMIN
		{0x04057f, event{kind: eventExec}},
		{0x06057f, event{kind: eventOther}}, // PTRACE_EVENT_EXIT
	} {
		if got := parseStatus(test.status); got != test.want {
			t.Errorf("parseStatus(%#x) = %+v, want %+v", uint32(test.status), got, test.want)
		}
	}
}

// enoughTime, in whole seconds, is enough for some stops of a program.
var enoughTime = flag.Duration("enough", 3*time.Second, "how long the waits for a time last; an emulated machine needs more")

// A program that waits in a system call, is stopped, makes calls that are not
// its own, and goes on waiting: what does it see in the end?
func TestWaits(t *testing.T) {
	const times = 3
	enough := int(enoughTime.Milliseconds())
	line := (*runningTarget).event
	connect := (*runningTarget).connect
	signal := func(r *runningTarget) { unix.Kill(r.pid(), unix.SIGUSR1) }
	const (
		exact = iota + 1 // a wait for a time is not prolonged
		anew             // it begins anew
	)
	const aDescriptor = 1 << 20 // whatever its number is
	for _, test := range []struct {
		mode    string
		number  int
		event   func(*runningTarget)
		want    int // the call's return value
		errno   unix.Errno
		time    int
		handled int // how often the handler has run
	}{
		{mode: "accept", number: sysAccept, event: connect, want: aDescriptor},
		{mode: "accept-timeout", number: sysAccept, event: connect, want: aDescriptor},
		{mode: "epoll_wait", number: sysEpollWait, event: line, want: 1},
		{mode: "epoll_wait-time", number: sysEpollWait, want: 0, time: anew},
		{mode: "epoll_pwait", number: unix.SYS_EPOLL_PWAIT, event: line, want: 1},
		{mode: "epoll_pwait2", number: unix.SYS_EPOLL_PWAIT2, event: line, want: 1},
		{mode: "poll", number: sysPoll, event: line, want: 1},
		{mode: "poll-time", number: sysPoll, want: 0, time: exact},
		{mode: "ppoll", number: unix.SYS_PPOLL, event: line, want: 1},
		{mode: "select", number: sysSelect, event: line, want: 1},
		{mode: "select-time", number: sysSelect, want: 0, time: exact},
		{mode: "pselect", number: sysSelect, event: line, want: 1},
		{mode: "futex", number: unix.SYS_FUTEX, event: line, want: 0},
		{mode: "futex-time", number: unix.SYS_FUTEX, want: -1, errno: unix.ETIMEDOUT, time: exact},
		{mode: "nanosleep", number: unix.SYS_CLOCK_NANOSLEEP, want: 0, time: exact},
		{mode: "clock_nanosleep", number: unix.SYS_CLOCK_NANOSLEEP, want: 0, time: exact},
		{mode: "read", number: unix.SYS_READ, event: line, want: 1},
		{mode: "read-timerfd", number: unix.SYS_READ, want: 8, time: exact},
		{mode: "write", number: unix.SYS_WRITE, event: line, want: 256},
		{mode: "recv", number: unix.SYS_RECVFROM, event: line, want: 1},
		{mode: "recv-timeout", number: unix.SYS_RECVFROM, event: line, want: 1},
		{mode: "recvmsg-timeout", number: unix.SYS_RECVMSG, event: line, want: 1},
		{mode: "read-timeout", number: unix.SYS_READ, event: line, want: 1},
		{mode: "send-timeout", number: unix.SYS_SENDTO, event: line, want: 4096},
		{mode: "connect-timeout", number: unix.SYS_CONNECT, event: line, want: 0},
		{mode: "semop", number: sysSemop, event: line, want: 0},
		{mode: "semtimedop-time", number: sysSemop, want: -1, errno: unix.EAGAIN, time: anew},
		{mode: "msgrcv", number: unix.SYS_MSGRCV, event: line, want: 8},
		{mode: "mq_receive", number: unix.SYS_MQ_TIMEDRECEIVE, event: line, want: 1},
		{mode: "flock", number: unix.SYS_FLOCK, event: line, want: 0},
		{mode: "wait4", number: unix.SYS_WAIT4, event: line, want: 1},
		{mode: "io_getevents-time", number: unix.SYS_IO_GETEVENTS, want: 0, time: anew},
		{mode: "sigtimedwait", number: unix.SYS_RT_SIGTIMEDWAIT, event: signal, want: int(unix.SIGUSR1)},
		{mode: "sigtimedwait-time", number: unix.SYS_RT_SIGTIMEDWAIT, want: -1, errno: unix.EAGAIN, time: anew},
		{mode: "pause", number: sysPause, event: signal, want: -1, errno: unix.EINTR, handled: 1},
		{mode: "sigsuspend", number: unix.SYS_RT_SIGSUSPEND, event: signal, want: -1, errno: unix.EINTR, handled: 1},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			r := startC(t, test.mode, strconv.Itoa(enough))
			r.waitsIn(r.pid(), test.number)
			began := time.Now()
			for range times {
				if test.time != 0 {
					// The last one is to come when half of the time has passed, with the
					// other half for a machine that has more to do.
					time.Sleep(*enoughTime / (2 * times))
				}
				_, report := r.do(Options{}, probe)
				if report.Carrier != r.pid() || report.Threads != 1 || !report.Exclusive {
					t.Errorf("report %+v", report)
				}
			}
			lastStop := int(time.Since(began).Milliseconds())
			if test.event != nil {
				r.waitsIn(r.pid(), test.number)
				test.event(r)
			}
			if test.handled != 0 {
				if handled := r.numbersOf("handled"); handled[0] != test.handled {
					t.Errorf("the handler ran %d times, want %d", handled[0], test.handled)
				}
			}
			result := r.numbersOf("result")
			if test.want == aDescriptor && result[0] > 0 {
				result[0] = aDescriptor
			}
			if result[0] != test.want || result[1] != int(test.errno) {
				t.Errorf("the call returned %d, errno %v; want %d, %v", result[0], unix.Errno(result[1]), test.want, test.errno)
			}
			if test.time != 0 && result[2] < enough || test.time == exact && result[2] >= lastStop+enough {
				t.Errorf("the call took %d ms, want %d; the last stop was after %d ms", result[2], enough, lastStop)
			}
		})
	}
}

// A signal that comes while the target stands still is delivered when it is let
// go, and what its call returns then is what it would have without the stop.
func TestSignalsWhileStopped(t *testing.T) {
	for _, test := range []struct {
		mode   string
		number int
		event  bool
		want   int
		errno  unix.Errno
	}{
		{"epoll_wait-handler", sysEpollWait, false, -1, unix.EINTR},
		{"read-handler", unix.SYS_READ, false, -1, unix.EINTR},
		{"read-restart-handler", unix.SYS_READ, true, 1, 0},
		{"nanosleep-handler", unix.SYS_CLOCK_NANOSLEEP, false, -1, unix.EINTR},
		{"ppoll-handler", unix.SYS_PPOLL, false, -1, unix.EINTR},
		{"pause", sysPause, false, -1, unix.EINTR},
		{"sigsuspend", unix.SYS_RT_SIGSUSPEND, false, -1, unix.EINTR},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			r := startC(t, test.mode)
			r.waitsIn(r.pid(), test.number)
			kill := step{Do: "kill", A: r.pid(), B: int(unix.SIGUSR1)}
			r.do(Options{}, script{Steps: []step{{Do: "probe"}, kill, {Do: "probe"}}})
			if test.event {
				r.event()
			}
			if handled := r.numbersOf("handled"); handled[0] != 1 {
				t.Errorf("the handler ran %d times", handled[0])
			}
			if result := r.numbersOf("result"); result[0] != test.want || result[1] != int(test.errno) {
				t.Errorf("the call returned %d, errno %v; want %d, %v", result[0], unix.Errno(result[1]), test.want, test.errno)
			}
		})
	}
}
