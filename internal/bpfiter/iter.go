// Package bpfiter reads descriptor tables from the kernel's own memory: by a
// program of the BPF machine that the kernel runs for every thread, as a BPF
// iterator (Documentation/bpf/bpf_iterators.rst). That takes 0.2 µs for each
// descriptor, where a walk over /proc takes 4, and asks no process.
//
// It takes Linux 6.4 with CONFIG_DEBUG_INFO_BTF, CAP_BPF and CAP_PERFMON in the
// initial user namespace, and a processor that keeps the lowest byte first. The
// program is made here, an instruction at a time, for the kernel that runs: where
// things are in its memory it tells itself. When the look is over, nothing of it
// stays.
package bpfiter

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Query is what a look is for.
type Query struct {
	// Everything asks for all tables, with every descriptor. Otherwise there
	// are only the records of what the other fields say.
	Everything bool
	// Inodes are those of sockets and pipes that are wanted. More may be told
	// of: others whose numbers end alike.
	Inodes []uint64
	// Sockets asks for every socket, and Rings for io_uring instances.
	Sockets, Rings bool
	// Room is how many records are expected. With too little of it the look is
	// done again.
	Room int
}

// ErrChanging reports tables that were replaced whenever they were looked at.
var ErrChanging = errors.New("bpf: descriptor tables change too fast")

const (
	// tries is how often a look is done before it is given up.
	tries = 3
	// leastRoom is for descriptors that are made while others are counted.
	leastRoom = 1 << 10
	// window is how many bytes of records are mapped at a time.
	window = 1 << 18
)

// Look reads the tables of all processes of the caller's pid namespace and calls
// found with each record, which is valid until it returns: by table, as the threads
// are numbered, and in there by descriptor. A process that has ended is left out.
// The error says why it is not possible here, or was not this time; then found has
// not been called, unless a system call failed that never does.
func Look(q Query, found func(*Record)) error {
	data, release, err := mapBTF()
	if err != nil {
		return err
	}
	l, err := readLayout(data)
	release()
	if err != nil {
		return err
	}
	room := max(q.Room, leastRoom)
	for range tries {
		c, err := look(l, q, room, found)
		if err != nil || c.complete(room) {
			return err
		}
		room = max(room, int(c.Next)+int(c.Next)/8+leastRoom)
	}
	return ErrChanging
}

// complete reports that the records are those of every table.
func (c control) complete(room int) bool { return c.Torn == 0 && c.Next <= uint64(room) }

// look does it once, and calls found if the records are complete.
func look(l *layout, q Query, room int, found func(*Record)) (c control, err error) {
	shared, err := createArray("stray_control", controlSize, 1)
	if err != nil {
		return c, err
	}
	defer unix.Close(shared)
	block, err := unix.Mmap(shared, 0, controlSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return c, os.NewSyscallError("mmap", err)
	}
	defer unix.Munmap(block)
	for _, inode := range q.Inodes {
		block[controlWanted+inode%wantedBits/8] |= 1 << (inode % 8)
	}
	array, err := createArray("stray_records", recordSize, room)
	if err != nil {
		return c, err
	}
	defer unix.Close(array)
	if err := run(program(l, shared, array, whatIsWanted{q.Everything, q.Sockets, q.Rings}), l.tasks); err != nil {
		return c, err
	}
	if c = *(*control)(unsafe.Pointer(unsafe.SliceData(block))); !c.complete(room) {
		return c, nil
	}
	return c, eachRecord(array, int(c.Next), found)
}

// eachRecord calls found with the records of a map.
func eachRecord(array, n int, found func(*Record)) error {
	for first := 0; first < n*recordSize; first += window {
		part, err := unix.Mmap(array, int64(first), min(window, n*recordSize-first), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return os.NewSyscallError("mmap", err)
		}
		for i := 0; i < len(part); i += recordSize {
			found((*Record)(unsafe.Pointer(&part[i])))
		}
		if err := unix.Munmap(part); err != nil {
			return os.NewSyscallError("munmap", err)
		}
	}
	return nil
}

// run loads a program and has it run for every thread.
func run(program []instruction, function uint32) error {
	fd, err := loadIterator("stray", program, function)
	if err != nil {
		return err
	}
	iterator, err := createIterator(fd)
	unix.Close(fd)
	if err != nil {
		return err
	}
	defer unix.Close(iterator)
	// The program writes nothing for the one who reads; after a million threads
	// the kernel takes a breath.
	var nothing [8]byte
	for {
		n, err := unix.Read(iterator, nothing[:])
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			return os.NewSyscallError("bpf: read the iterator", err)
		case n == 0:
			return nil
		default:
			return fmt.Errorf("bpf: the iterator wrote %d bytes", n)
		}
	}
}
