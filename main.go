//go:build linux

// stray finds, explains and removes leaked file descriptors.
package main

import (
	"os"

	"stray/cmd"
)

func main() { os.Exit(cmd.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
