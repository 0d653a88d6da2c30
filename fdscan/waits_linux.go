package fdscan

import "golang.org/x/sys/unix"

// waitSet is where a system call's descriptors are found.
type waitSet uint8

const (
	setUnknown   waitSet = iota // it may use any
	setNone                     // it waits for no descriptor
	setAccept                   // the first argument is a listener
	setFirst                    // the first argument is a descriptor to read or write
	setEpoll                    // the first argument is an epoll instance
	setPoll                     // pollfd array, count
	setSelect                   // count, fd_sets to read, to write, of exceptions
	setFutex                    // address, operation
	setRestarted                // it goes on with a call that was interrupted
)

// waitCall is a system call in which a thread can wait.
type waitCall struct {
	name string
	set  waitSet
}

// waitCalls are the calls that every architecture has; those that only some
// have join them from a file of their own.
var waitCalls = withArchitecture(map[uint64]waitCall{
	unix.SYS_ACCEPT:          {"accept", setAccept},
	unix.SYS_ACCEPT4:         {"accept4", setAccept},
	unix.SYS_READ:            {"read", setFirst},
	unix.SYS_READV:           {"readv", setFirst},
	unix.SYS_WRITE:           {"write", setFirst},
	unix.SYS_WRITEV:          {"writev", setFirst},
	unix.SYS_RECVFROM:        {"recvfrom", setFirst},
	unix.SYS_RECVMSG:         {"recvmsg", setFirst},
	unix.SYS_RECVMMSG:        {"recvmmsg", setFirst},
	unix.SYS_SENDTO:          {"sendto", setFirst},
	unix.SYS_SENDMSG:         {"sendmsg", setFirst},
	unix.SYS_CONNECT:         {"connect", setFirst},
	unix.SYS_FLOCK:           {"flock", setUnknown},
	unix.SYS_EPOLL_PWAIT:     {"epoll_pwait", setEpoll},
	unix.SYS_EPOLL_PWAIT2:    {"epoll_pwait2", setEpoll},
	unix.SYS_PPOLL:           {"ppoll", setPoll},
	unix.SYS_PSELECT6:        {"pselect6", setSelect},
	unix.SYS_NANOSLEEP:       {"nanosleep", setNone},
	unix.SYS_CLOCK_NANOSLEEP: {"clock_nanosleep", setNone},
	unix.SYS_FUTEX:           {"futex", setFutex},
	unix.SYS_FUTEX_WAITV:     {"futex_waitv", setUnknown},
	unix.SYS_WAIT4:           {"wait4", setNone},
	unix.SYS_WAITID:          {"waitid", setNone},
	unix.SYS_RT_SIGSUSPEND:   {"rt_sigsuspend", setNone},
	unix.SYS_RT_SIGTIMEDWAIT: {"rt_sigtimedwait", setNone},
	unix.SYS_SEMOP:           {"semop", setUnknown}, // it too may serialise accept
	unix.SYS_SEMTIMEDOP:      {"semtimedop", setUnknown},
	unix.SYS_FCNTL:           {"fcntl", setUnknown},
	unix.SYS_MSGRCV:          {"msgrcv", setUnknown},
	unix.SYS_IO_URING_ENTER:  {"io_uring_enter", setUnknown},
	unix.SYS_RESTART_SYSCALL: {"restart_syscall", setRestarted},
})

func withArchitecture(calls map[uint64]waitCall) map[uint64]waitCall {
	for number, call := range architectureWaitCalls {
		calls[number] = call
	}
	return calls
}
