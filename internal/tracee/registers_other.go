//go:build !amd64 && !arm64

package tracee

import "golang.org/x/sys/unix"

// implemented: this architecture's registers are not known, and Do refuses.
// What follows is never called.
const implemented = false

const needsCallLine = false

var syscallInstruction = []byte{0}

const instructionAlignment = 1

var callsOnDescriptor []int

type registers struct{}

type architecture struct{}

func (r *registers) native() bool              { return false }
func (r *registers) counter() uint64           { return 0 }
func (r *registers) setCounter(address uint64) {}

func (t *thread) writeRegisters(r *registers) error { return unix.ENOSYS }

func (t *thread) call() (number int, first uint64, ok bool)       { return 0, 0, false }
func (t *thread) instruction() (uint64, bool)                     { return 0, false }
func (t *thread) repair()                                         {}
func (t *thread) begin(site, number uint64, args [6]uint64) error { return unix.ENOSYS }
func (t *thread) enter(number uint64, args [6]uint64) error       { return errNotOurs }
func (t *thread) skip()                                           {}
func (t *thread) result() (int64, error)                          { return 0, unix.ENOSYS }
func (t *thread) restore() error                                  { return nil }
func (t *thread) unfinished() bool                                { return false }
func (t *thread) needsRearming() bool                             { return false }
