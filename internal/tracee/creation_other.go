//go:build !amd64 && !arm64

package tracee

import "golang.org/x/sys/unix"

// auditArchitecture: none is known, and no filter is installed.
const auditArchitecture = 0

var legacyCreators []creator

func (r *registers) returned() int64      { return -1 }
func (r *registers) unwinding() Registers { return Registers{} }

func (t *thread) readRegisters(r *registers) error { return unix.ENOSYS }

func (t *thread) setFirstArgument(uint64) {}
func (t *thread) refuse()                 {}
