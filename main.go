//go:build linux

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
