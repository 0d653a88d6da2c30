package proctest

import "golang.org/x/sys/unix"

// sysPause is the call behind pause(3).
const sysPause = unix.SYS_PAUSE
