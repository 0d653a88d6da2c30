//go:build !amd64

package tracee

import "golang.org/x/sys/unix"

// The system calls that the C library makes for the functions of these names.
const (
	sysAccept    = unix.SYS_ACCEPT
	sysEpollWait = unix.SYS_EPOLL_PWAIT
	sysPause     = unix.SYS_PPOLL
	sysPoll      = unix.SYS_PPOLL
	sysSelect    = unix.SYS_PSELECT6
	sysSemop     = unix.SYS_SEMTIMEDOP
)
