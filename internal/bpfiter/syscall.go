package bpfiter

import (
	"math"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of bpf(2), and what goes with them: linux/bpf.h.
const (
	mapCreate  = 0
	progLoad   = 5
	linkCreate = 28
	iterCreate = 33

	mapTypeArray    = 2
	mapMappable     = 1 << 10 // BPF_F_MMAPABLE
	progTypeTracing = 26
	attachTraceIter = 28
)

// bpf calls bpf(2) with one of the structures of union bpf_attr.
func bpf[T any](command uintptr, attr *T, what string) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	if errno != 0 {
		return -1, os.NewSyscallError("bpf: "+what, errno)
	}
	return int(fd), nil
}

// createArray makes an array that can be mapped, of values that are a multiple of
// 8 bytes.
func createArray(name string, valueSize, entries int) (fd int, err error) {
	attr := struct {
		kind, keySize, valueSize, entries, flags, inner, node uint32
		name                                                  [16]byte
	}{kind: mapTypeArray, keySize: 4, valueSize: uint32(valueSize), entries: uint32(entries), flags: mapMappable}
	copy(attr.name[:len(attr.name)-1], name)
	return bpf(mapCreate, &attr, "create a map")
}

// loadIterator loads a program to be run by the iterator that has function.
func loadIterator(name string, program []instruction, function uint32) (fd int, err error) {
	license := []byte("GPL\x00") // it calls functions that are for such programs only
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(&program[0])
	pinner.Pin(&license[0])
	attr := struct {
		kind, count                     uint32
		program, license                uint64
		logLevel, logSize               uint32
		log                             uint64
		kernel, flags                   uint32
		name                            [16]byte
		ifindex, expected               uint32
		btf, funcSize                   uint32
		funcs                           uint64
		funcCount, lineSize             uint32
		lines                           uint64
		lineCount, function, attachedTo uint32
	}{
		kind: progTypeTracing, count: uint32(len(program)), expected: attachTraceIter, function: function,
		program: uint64(uintptr(unsafe.Pointer(&program[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	copy(attr.name[:len(attr.name)-1], name)
	release, err := holdSignals()
	if err != nil {
		return -1, err
	}
	defer release()
	return bpf(progLoad, &attr, "load a program")
}

// holdSignals keeps signals from the calling thread until release is called. At any
// of them the kernel gives up the check of a program (EAGAIN), which takes as long as
// it is between two by which the runtime asks a thread to yield.
func holdSignals() (release func(), err error) {
	runtime.LockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = math.MaxUint64
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		runtime.UnlockOSThread()
		return nil, os.NewSyscallError("rt_sigprocmask", err)
	}
	return func() {
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
		runtime.UnlockOSThread()
	}, nil
}

// createIterator makes a file whose reading runs a program.
func createIterator(program int) (fd int, err error) {
	link, err := bpf(linkCreate, &struct {
		program, target, attachType, flags uint32
	}{program: uint32(program), attachType: attachTraceIter}, "create a link")
	if err != nil {
		return -1, err
	}
	defer unix.Close(link) // the iterator keeps it
	return bpf(iterCreate, &struct{ link, flags uint32 }{link: uint32(link)}, "create an iterator")
}
