// Package unwind tells the call stacks of processes that stand still: the calls
// of C and C++ by the call frame information of their programs (.eh_frame), those
// of Go by its function table and frame pointers, and all others by frame
// pointers as far as these are plausible.
//
// What it reads belongs to others: the files and the memory of a process may
// hold anything. A stack that cannot be followed ends. Processes of 32 bits have
// stacks of one call.
package unwind

import (
	"hash/maphash"
	"runtime"
	"slices"
)

// Registers are those that unwinding starts from.
type Registers struct {
	PC, SP, FP uint64
	LR         uint64 // link register of arm64, 0 on amd64
}

// Frame is one call of a stack.
type Frame struct {
	Function string // as the program's language writes it; "" when not known
	File     string // "" when there is no line information
	Line     int    // 0 when there is no line information
	Module   string // path of the program or library; "[anonymous]" for code in no file
	Offset   uint64 // address in Module as its symbols count, of the call: what addr2line(1) takes
	Inlined  bool   // the call was inlined into the next frame
}

// Stack is the stack of a thread at one moment. It holds no resources; equal
// stacks of an Unwinder may be equal values. The zero Stack has no calls.
type Stack struct{ trace *trace }

// trace are the calls of a stack, innermost first.
type trace struct{ calls []place }

// place is where a thread is in a frame: an address in a module as its symbols
// count, of the instruction that is next or of the last byte of a call.
type place struct {
	module  *module
	address uint64
}

// maxTraces is how many different stacks are kept to be found again: a server
// that opens at the same place a million times has one.
const maxTraces = 1 << 12

// Unwinder keeps what it has read of programs and libraries, so that the next
// stack costs microseconds. It is for one goroutine.
type Unwinder struct {
	machine *machine
	memory  memory
	spaces  map[int]*space
	library library
	seed    maphash.Seed
	traces  map[uint64][]*trace
	calls   []place // of the stack at work
}

// New returns an Unwinder for the processes below procRoot, a mounted proc(5).
func New(procRoot string) *Unwinder {
	return &Unwinder{
		machine: machines[runtime.GOARCH],
		memory:  memory{root: procRoot},
		spaces:  map[int]*space{},
		library: newLibrary(procRoot),
		seed:    maphash.MakeSeed(),
		traces:  map[uint64][]*trace{},
	}
}

// Close closes the files of programs and libraries. Stacks can be named
// afterwards as far as the files can be opened again, which takes another Close.
func (u *Unwinder) Close() { u.library.close() }

// Forget drops what is kept of the mappings of process pid. It is to be called
// when the process executes another program, and when it ends. Mappings that the
// process adds are found without it; one that takes the place of another library,
// which was unloaded meanwhile, is taken for that.
func (u *Unwinder) Forget(pid int) { delete(u.spaces, pid) }

// Stack returns the stack of thread tid of process pid, which must stand still
// (ptrace(2)) with the registers r: the innermost call first, and at most limit
// calls. It says nothing of names yet.
func (u *Unwinder) Stack(pid, tid int, r Registers, limit int) Stack {
	if limit <= 0 || u.machine == nil {
		return Stack{}
	}
	u.memory.reset(tid)
	w := walk{unwinder: u, pid: pid, tid: tid, cpu: u.machine.start(r)}
	u.calls = u.calls[:0]
	for len(u.calls) < limit {
		here, ok := w.locate()
		if !ok {
			break
		}
		u.calls = append(u.calls, here)
		if !w.step(here) {
			break
		}
	}
	return Stack{u.intern(u.calls)}
}

// intern returns the trace of the calls: the same one as before, where it is kept.
func (u *Unwinder) intern(calls []place) *trace {
	if len(calls) == 0 {
		return nil
	}
	var h maphash.Hash
	h.SetSeed(u.seed)
	for _, c := range calls {
		maphash.WriteComparable(&h, c)
	}
	key := h.Sum64()
	for _, t := range u.traces[key] {
		if slices.Equal(t.calls, calls) {
			return t
		}
	}
	if len(u.traces) >= maxTraces {
		clear(u.traces)
	}
	t := &trace{slices.Clone(calls)}
	u.traces[key] = append(u.traces[key], t)
	return t
}

// Frames names the calls of a stack: lazily, for what is reported. The process
// may have ended. A call into which others were inlined is preceded by these.
func (u *Unwinder) Frames(s Stack) []Frame {
	if s.trace == nil {
		return nil
	}
	var frames []Frame
	for _, c := range s.trace.calls {
		frames = append(frames, u.library.frames(c)...)
	}
	return frames
}
