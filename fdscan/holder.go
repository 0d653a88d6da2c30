package fdscan

import "time"

// Via is the way in which a process holds an open file description.
type Via string

// The ways.
const (
	// ViaTable is an entry in the process's descriptor table.
	ViaTable Via = "table"
	// ViaThread is an entry in the table of a thread that has left its
	// process's table by unshare(CLONE_FILES), or of a thread whose leader
	// has exited.
	ViaThread Via = "thread"
	// ViaRing is a file registered with an io_uring instance.
	ViaRing Via = "io_uring"
	// ViaMessage is an SCM_RIGHTS message that has not been received yet.
	ViaMessage Via = "scm"
	// ViaMemory is a mapping: of a file through mmap(2), or as the program.
	ViaMemory Via = "memory"
)

// Holder is one reference of one process to an open file description.
type Holder struct {
	Process *Process
	// TID is set when only /proc/PID/task/TID/fd shows the descriptor.
	TID int
	// FD is the descriptor's number; for ViaRing the ring's, for ViaMessage
	// that of the receiving unix socket, -1 for ViaMemory.
	FD int
	// Slot is the index among the ring's registered files, or the position
	// in the message; -1 otherwise.
	Slot int
	Via  Via
	// CloseOnExec is FD_CLOEXEC of this descriptor; nil when it could not be
	// read or has no meaning.
	CloseOnExec *bool
	// SignalDriven is O_ASYNC of the open file description: a signal tells
	// its owner that there is something to do, so that no thread waits for it.
	SignalDriven bool
	// SharesTableWith are other processes whose descriptor table is the very
	// same one (clone(2) with CLONE_FILES), sorted.
	SharesTableWith []int
	// Opened reports that the process has it from nobody by fork or exec: whoever
	// has followed it since it began has seen that.
	Opened bool
	// Opening is how the descriptor came to be; nil when nobody has seen that.
	Opening *Opening
	// Note says what the holder of a message is waiting for, or which
	// mapping it is; empty otherwise.
	Note string
}

// Process is what is known of one process. Its identity is (PID, StartTicks).
type Process struct {
	PID  int
	PPID int
	// NSPIDs are the process's pids in nested pid namespaces, ours first;
	// of length 1 when it is in ours (NSpid of /proc/PID/status).
	NSPIDs     []int
	StartTicks uint64 // field 22 of /proc/PID/stat, in USER_HZ since boot
	StartTime  time.Time
	State      byte // R S D T t Z X I of /proc/PID/stat
	Comm       string
	// Exe is the link of /proc/PID/exe without " (deleted)"; empty when it
	// may not be read, and for kernel threads.
	Exe        string
	ExeDeleted bool
	// ExeDevice and ExeInode identify the program; 0 when unknown, and for
	// processes that hold nothing.
	ExeDevice, ExeInode uint64
	// StackStart is where exec placed the stack (field 28 of /proc/PID/stat),
	// 0 when it may not be read. It is random for each exec and kept by fork,
	// so that two processes with the same one run one image: no exec lies
	// between them.
	StackStart uint64
	// Unexeced reports that the process was made by fork(2) and has executed
	// no program since (PF_FORKNOEXEC among the flags of /proc/PID/stat): it is
	// a copy, and what it holds has not crossed an exec in it.
	Unexeced bool
	Cmdline  []string
	UID      uint32
	User     string // name of UID, or its number
	Group    int    // process group id
	Session  int    // session id
	Threads  int
	// Cgroup is the path in the unified hierarchy (or, on a host of version 1,
	// in name=systemd); Unit and Container are what it tells, empty when nothing.
	Cgroup    string
	Unit      string
	Container string
	NetNS     uint64 // 0 when unreadable
	// Evidence is read for holders only; nil otherwise.
	Evidence *Evidence
}

// Evidence is what tells how a holder came by what it holds and whether it
// uses it. It costs several reads for each process, and so is collected for
// holders only.
type Evidence struct {
	// Waits has an entry for each thread: what it was doing when looked at.
	Waits []Wait
	// Busy reports that a thread was running each time it was looked at, or
	// that the process ran between moments in which all threads slept.
	Busy bool
	// HandOvers are the descriptor numbers that the arguments or the
	// environment name, by the text that names them: 3 → "LISTEN_FDS=1".
	HandOvers map[int]string
	// Activated is the range of descriptors that LISTEN_FDS passes when
	// LISTEN_PID names this process: [3, 3+n). Zero when not activated.
	Activated int
	// Imports tells which of socket's calls the program and its libraries
	// could make; nil when that cannot be told (a static program), and for a
	// process that serves what was asked about.
	Imports *Imports
	// Ring reports an io_uring instance, which can serve a descriptor without
	// any thread that waits for it; not looked for in a process that serves.
	Ring bool
}

// Imports are the calls on sockets among a program's dynamic symbols: of the
// executable and of every library that it has mapped, the C library aside.
type Imports struct {
	Listen, Accept bool
	// Transfer: some call that reads or writes.
	Transfer bool
	// Trace: ptrace(2), by its name, or a sanitizer that uses it.
	Trace bool
}

// Wait is what one thread was doing: /proc/PID/task/TID/syscall, resolved.
type Wait struct {
	TID int
	// Call is the system call's name, "running" for a thread on a processor
	// or in user code, and "" when it may not be read.
	Call string
	// Kind says what the call means for a descriptor.
	Kind WaitKind
	// Inodes are those of the sockets that the call waits for: the one in
	// accept(2), the set of a poll(2), those an epoll instance watches. Where
	// only the name of the call can be read, they are all that may be.
	Inodes []uint64
	// Suspects are the numbers of those descriptors, among the Descriptors of
	// the snapshot, that the call waits for.
	Suspects []int
}

// WaitKind sorts system calls by what they say about the use of a descriptor.
type WaitKind int

// The kinds.
const (
	// WaitUnknown: it may or may not be about to use any descriptor.
	WaitUnknown WaitKind = iota
	// WaitOn: it waits for work, in accept(2) or on a set of descriptors; of
	// sockets for none but those in Inodes.
	WaitOn
	// WaitIO: it reads or writes one descriptor, the socket in Inodes if it is
	// one, and may go on to any other.
	WaitIO
	// WaitPassive: it waits for something that is no descriptor: a signal, a
	// time, a private futex, a child.
	WaitPassive
)
