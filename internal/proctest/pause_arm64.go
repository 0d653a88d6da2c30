package proctest

import "golang.org/x/sys/unix"

// sysPause is the call behind pause(3): arm64 has no pause(2), and C libraries
// use ppoll(2) without descriptors.
const sysPause = unix.SYS_PPOLL
