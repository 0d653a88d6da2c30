package tracee

import "golang.org/x/sys/unix"

// The system calls that the C library makes for the functions of these names.
const (
	sysAccept    = unix.SYS_ACCEPT
	sysEpollWait = unix.SYS_EPOLL_WAIT
	sysPause     = unix.SYS_PAUSE
	sysPoll      = unix.SYS_POLL
	sysSelect    = unix.SYS_PSELECT6
	sysSemop     = unix.SYS_SEMTIMEDOP
)
