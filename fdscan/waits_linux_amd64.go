package fdscan

import "golang.org/x/sys/unix"

// elfMachine is EM_X86_64.
const elfMachine = 62

var architectureWaitCalls = map[uint64]waitCall{
	unix.SYS_EPOLL_WAIT: {"epoll_wait", setEpoll},
	unix.SYS_POLL:       {"poll", setPoll},
	unix.SYS_SELECT:     {"select", setSelect},
	unix.SYS_PAUSE:      {"pause", setNone},
}
