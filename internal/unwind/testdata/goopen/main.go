// Command goopen calls memfd_create(2) from functions of its own.
package main

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

func inlined(name string) int {
	fd, _ := unix.MemfdCreate(name, 0)
	return fd
}

//go:noinline
func openBackend(name string) int {
	return inlined(name)
}

type server struct{ name string }

//go:noinline
func (s *server) handle() {
	os.NewFile(uintptr(openBackend(s.name)), s.name).Close()
}

//go:noinline
func generic[T any](v T, f func(T)) { f(v) }

func main() {
	s := &server{"goroutine"}
	done := make(chan bool)
	go func() {
		s.handle()
		close(done)
	}()
	<-done
	generic(s, (*server).handle)
	runtime.KeepAlive(s)
}
