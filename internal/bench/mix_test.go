package bench

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// mix is the number of descriptors of each kind that one process opens.
type mix struct {
	files, pipes, events, listeners, conns, units int
}

// mixOf divides n descriptors: 20 % pipes, 15 % eventfd, 5 % listeners, 15 %
// connected TCP, 10 % unix, and the rest (35 %) files. Pipes, connections and
// unix sockets come in pairs.
func mixOf(n int) mix {
	pairs := func(percent int) int { return n * percent / 100 &^ 1 }
	m := mix{
		pipes:     pairs(20),
		events:    n * 15 / 100,
		listeners: n * 5 / 100,
		conns:     pairs(15),
		units:     pairs(10),
	}
	m.files = n - m.pipes - m.events - m.listeners - m.conns - m.units
	return m
}

// fileNames are the files that every process opens, in its working directory;
// each ends with a NUL.
var fileNames = func() (names [64][4]byte) {
	for i := range names {
		copy(names[i][:], fmt.Sprintf("f%02d", i))
	}
	return names
}()

// listenerAddresses are the struct sockaddr_in of one process's listeners.
var listenerAddresses [1024][16]byte

// open opens the descriptors of the process of that index, from the number
// first on. Every second object is close-on-exec, beginning with the first or
// the second by turns, so that it is half of a world.
func (s *script) open(m mix, index int, first uintptr) {
	const workingDirectory = ^uintptr(99) // AT_FDCWD
	closeOnExec := func(i int) uintptr {  // pipe2, eventfd2, socket and accept4 have the same flag
		return uintptr((index+i)&1) * unix.O_CLOEXEC
	}
	for i := range m.listeners {
		fd := first + uintptr(i)
		listenerAddresses[i] = listenerAddress(index, i)
		s.call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|closeOnExec(i), 0)
		s.call(unix.SYS_BIND, fd, address(&listenerAddresses[i]), 16)
		s.call(unix.SYS_LISTEN, fd, 4)
	}
	// Each connection goes to a listener of the process itself, in turn, so
	// that it has both ends.
	for i := range m.conns / 2 {
		to := i % m.listeners
		s.call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|closeOnExec(i), 0)
		s.call(unix.SYS_CONNECT, first+uintptr(m.listeners+2*i), address(&listenerAddresses[to]), 16)
		s.call(unix.SYS_ACCEPT4, first+uintptr(to), 0, 0, closeOnExec(i))
	}
	for i := range m.files {
		s.call(unix.SYS_OPENAT, workingDirectory, address(&fileNames[i%len(fileNames)]), unix.O_RDWR|closeOnExec(i))
	}
	for i := range m.pipes / 2 {
		s.call(unix.SYS_PIPE2, address(&pair), closeOnExec(i))
	}
	for i := range m.events {
		s.call(unix.SYS_EVENTFD2, 0, closeOnExec(i))
	}
	for i := range m.units / 2 {
		s.call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM|closeOnExec(i), 0, address(&pair))
	}
}

// listenerAddress is the sockaddr_in of a process's listener number i. Each
// process has a loopback address of its own, from 127.1.0.0 up, so that none
// competes for a port.
func listenerAddress(index, i int) (addr [16]byte) {
	binary.NativeEndian.PutUint16(addr[0:], unix.AF_INET)
	binary.BigEndian.PutUint16(addr[2:], uint16(20_000+i))
	binary.BigEndian.PutUint32(addr[4:], 127<<24|1<<16|uint32(index))
	return addr
}
