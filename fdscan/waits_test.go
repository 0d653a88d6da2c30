//go:build amd64 || arm64

package fdscan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"stray/internal/proctest"
)

// oneThread is a process with one thread, a listener at descriptor 3, and epoll
// instances: 4 watches the listener and a file, 5 watches 4, and 6 has the
// listener switched off. SOCKFS stands for the device of sockets.
const oneThread = `
-- 7/task/7/ --
-- 7/fd/3@ --
socket:[41]
-- 7/fd/4@ --
anon_inode:[eventpoll]
-- 7/fd/5@ --
anon_inode:[eventpoll]
-- 7/fd/6@ --
anon_inode:[eventpoll]
-- 7/fd/8@ --
/dev/null
-- 7/fdinfo/4 --
pos:	0
flags:	02
tfd:        3 events: 80000019 data:                3  pos:0 ino:29 sdev:SOCKFS
tfd:       12 events:       19 data:                c  pos:0 ino:29 sdev:1
-- 7/fdinfo/5 --
tfd:        4 events:       19 data:                4  pos:0 ino:2 sdev:f
-- 7/fdinfo/6 --
tfd:        3 events: 40000000 data:                3  pos:0 ino:29 sdev:SOCKFS
`

func TestWaits(t *testing.T) {
	call := func(number, a, b int) string {
		return fmt.Sprintf("%d %#x %#x 0x0 0x0 0x0 0x0 0x7ffc 0x7f00", number, a, b)
	}
	passive, unknown, listener := Wait{Kind: WaitPassive}, Wait{}, Wait{Kind: WaitOn, Inodes: []uint64{41}}
	for name, tt := range map[string]struct {
		syscall, wchan string
		want           Wait
	}{
		"accept":                    {syscall: call(unix.SYS_ACCEPT4, 3, 0), want: listener},
		"accept on what is closed":  {syscall: call(unix.SYS_ACCEPT4, 9, 0), want: Wait{Kind: WaitOn}},
		"read":                      {syscall: call(unix.SYS_READ, 8, 0), want: Wait{Kind: WaitIO}},
		"recvfrom":                  {syscall: call(unix.SYS_RECVFROM, 3, 0), want: Wait{Kind: WaitIO, Inodes: []uint64{41}}},
		"epoll":                     {syscall: call(unix.SYS_EPOLL_PWAIT, 4, 0), want: listener},
		"epoll of epoll":            {syscall: call(unix.SYS_EPOLL_PWAIT, 5, 0), want: listener},
		"epoll, switched off":       {syscall: call(unix.SYS_EPOLL_PWAIT, 6, 0), want: Wait{Kind: WaitOn}},
		"epoll that is closed":      {syscall: call(unix.SYS_EPOLL_PWAIT, 9, 0), want: unknown},
		"poll of nothing":           {syscall: call(unix.SYS_PPOLL, 0, 0), want: passive},
		"poll of what is not told":  {syscall: call(unix.SYS_PPOLL, 0x1000, 1), want: unknown},
		"select of nothing":         {syscall: call(unix.SYS_PSELECT6, 0, 0), want: passive},
		"select of what is unknown": {syscall: call(unix.SYS_PSELECT6, 5, 0x1000), want: unknown},
		"sleep":                     {syscall: call(unix.SYS_CLOCK_NANOSLEEP, 0, 0), want: passive},
		"private futex":             {syscall: call(unix.SYS_FUTEX, 0x1000, 128), want: passive},
		"shared futex":              {syscall: call(unix.SYS_FUTEX, 0x1000, 0), want: unknown},
		"semop":                     {syscall: call(unix.SYS_SEMTIMEDOP, 1, 0), want: unknown},
		"io_uring":                  {syscall: call(unix.SYS_IO_URING_ENTER, 4, 0), want: unknown},
		"a call nobody knows":       {syscall: call(9999, 3, 0), want: unknown},
		"busy":                      {syscall: "running", want: unknown},
		"stopped in its own code":   {syscall: "-1 0x7ffc 0x7f00", want: unknown},
		"sleep after SIGCONT":       {syscall: call(unix.SYS_RESTART_SYSCALL, 0, 0), wchan: "hrtimer_nanosleep", want: passive},
		"the same, elsewhere":       {syscall: call(unix.SYS_RESTART_SYSCALL, 0, 0), wchan: "do_syscall_64", want: passive},
		"poll after SIGCONT":        {syscall: call(unix.SYS_RESTART_SYSCALL, 0x1000, 1), wchan: "poll_schedule_timeout.constprop.0", want: unknown},
		"futex after SIGCONT":       {syscall: call(unix.SYS_RESTART_SYSCALL, 0x1000, 128), wchan: "futex_do_wait", want: passive},
		"shared one after SIGCONT":  {syscall: call(unix.SYS_RESTART_SYSCALL, 0x1000, 0), wchan: "futex_do_wait", want: unknown},
		"after SIGCONT, not told":   {syscall: call(unix.SYS_RESTART_SYSCALL, 0, 0), want: unknown},
		"after SIGCONT, stopped":    {syscall: call(unix.SYS_RESTART_SYSCALL, 0, 0), wchan: "do_signal_stop", want: unknown},

		// With Yama, the kernel function is all that may be read.
		"pause, by function":        {wchan: "__do_sys_pause", want: passive},
		"sleep, by function":        {wchan: "hrtimer_nanosleep", want: passive},
		"wait, by function":         {wchan: "do_wait", want: passive},
		"sigsuspend, by function":   {wchan: "sigsuspend.isra.0", want: passive},
		"accept, by function":       {wchan: "inet_csk_accept", want: listener},
		"epoll, by function":        {wchan: "do_epoll_wait", want: listener},
		"epoll, in other kernels":   {wchan: "ep_poll", want: listener},
		"poll, by function":         {wchan: "poll_schedule_timeout.constprop.0", want: unknown},
		"any futex, by function":    {wchan: "futex_do_wait", want: unknown},
		"a lock, by function":       {wchan: "do_wait_for_common", want: unknown},
		"busy, by function":         {wchan: "0", want: unknown},
		"nothing may be read of it": {want: unknown},
	} {
		t.Run(name, func(t *testing.T) {
			archive := strings.ReplaceAll(oneThread, "SOCKFS", fmt.Sprintf("%x", sockfsDevice()))
			if tt.syscall != "" {
				archive += "-- 7/syscall --\n" + tt.syscall + "\n"
			}
			if tt.wchan != "" {
				archive += "-- 7/wchan --\n" + tt.wchan
			}
			r := &waitReader{
				Scanner: &Scanner{Root: proctest.FakeProc(t, []byte(archive)), Detached: true},
				pid:     7, held: map[uint64]bool{41: true}, listeners: []uint64{41}, sockfs: sockfsDevice,
			}
			waits, busy := r.waits()
			if len(waits) != 1 || waits[0].TID != 7 {
				t.Fatalf("waits %+v", waits)
			}
			waits[0].TID, waits[0].Call = 0, ""
			if diff := cmp.Diff(tt.want, waits[0], cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if wantBusy := strings.HasPrefix(tt.syscall, "running") || strings.HasPrefix(tt.syscall, "-1"); busy != wantBusy {
				t.Errorf("busy %v", busy)
			}
		})
	}
}
