package unwind

import (
	"encoding/binary"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// pageSize is the smallest of any kernel: a read that goes over no boundary of
	// it succeeds or fails whole.
	pageSize = 4096
	// blockSize is what is read of a stack at once: most stacks are not deeper.
	blockSize = 4 * pageSize
	// maxBlocks bounds what is read for one stack.
	maxBlocks = 64
)

// memory reads the memory of one process, a block at a time.
type memory struct {
	root   string // of proc(5)
	tid    int
	blocks []block
	buffer [maxBlocks][]byte
}

// block is a stretch of memory that has been read.
type block struct {
	start uint64
	bytes []byte
}

func (m *memory) reset(tid int) {
	m.tid = tid
	m.blocks = m.blocks[:0]
}

// word returns the eight bytes at the address.
func (m *memory) word(address uint64) (value uint64, ok bool) {
	for i := len(m.blocks) - 1; i >= 0; i-- {
		b := m.blocks[i]
		if at := address - b.start; address >= b.start && at < uint64(len(b.bytes)) && uint64(len(b.bytes))-at >= 8 {
			return binary.NativeEndian.Uint64(b.bytes[at:]), true
		}
	}
	b := m.fetch(address)
	if len(b) < 8 {
		return 0, false
	}
	return binary.NativeEndian.Uint64(b), true
}

// fetch reads the block that begins at the address.
func (m *memory) fetch(address uint64) []byte {
	n := len(m.blocks)
	if n == maxBlocks {
		return nil
	}
	if m.buffer[n] == nil {
		m.buffer[n] = make([]byte, blockSize)
	}
	// The block ends with a page.
	into := m.buffer[n][:blockSize-address%pageSize]
	got := readMemory(m.root, m.tid, address, into)
	m.blocks = append(m.blocks, block{address, into[:got]})
	return into[:got]
}

// readMemory reads memory of a process, and returns how many bytes it got: fewer
// where not all is mapped.
//
// By the file mem of proc_pid_mem(5) it waits for no one whom the process has charged
// with delivering its memory (userfaultfd(2)), as process_vm_readv(2) would: that may
// be a thread which stands still, or nobody.
func readMemory(root string, tid int, address uint64, into []byte) int {
	fd, err := unix.Open(root+"/"+strconv.Itoa(tid)+"/mem", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	total := 0
	for total < len(into) {
		got, err := unix.Pread(fd, into[total:], int64(address)+int64(total))
		if err == unix.EINTR {
			continue
		}
		if err != nil || got <= 0 {
			break
		}
		total += got
	}
	return total
}
