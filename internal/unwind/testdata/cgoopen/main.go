// Command cgoopen calls memfd_create(2) in C that Go called, and in Go that C
// called.
package main

/*
#cgo CFLAGS: -O2 -fomit-frame-pointer
#define _GNU_SOURCE
#include <sys/mman.h>

extern void calledBack(void);

__attribute__((noinline)) static int open_in_c(void) {
	volatile int fd = memfd_create("c", 0);
	return fd;
}

__attribute__((noinline)) static int call_back(void) {
	volatile int n = 1;
	calledBack();
	return n;
}
*/
import "C"

import "golang.org/x/sys/unix"

func inlined() { _, _ = unix.MemfdCreate("go", 0) }

//export calledBack
func calledBack() {
	inlined() // inlined
}

//go:noinline
func open() C.int {
	return C.open_in_c() // to C
}

func main() {
	open()        // by way of Go
	C.call_back() // and back
}
