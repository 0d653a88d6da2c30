//go:build !linux

// stray needs Linux: it reads /proc and asks sock_diag(7).
package main

func main() { stray_runs_on_Linux_only_build_it_with_GOOS_linux() }
