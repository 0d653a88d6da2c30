//go:build linux

// The runtime need not watch the processor limits of a cgroup: no more than four
// threads ever work here.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// stray finds, explains and removes leaked file descriptors.
package main

import (
	"os"

	"stray/cmd"
	"stray/internal/tracee"
)

func main() {
	// A run that is to act inside another process is a second run of this
	// very program, and nothing else.
	tracee.HelperMain()
	os.Exit(cmd.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
