package fdscan

// elfMachine is EM_AARCH64.
const elfMachine = 183

// arm64 has only the newer calls: poll(2), select(2), epoll_wait(2) and
// pause(2) are made through ppoll, pselect6, epoll_pwait and ppoll.
var architectureWaitCalls = map[uint64]waitCall{}
