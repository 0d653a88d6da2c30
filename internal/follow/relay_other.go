//go:build !amd64 && !arm64

package follow

// noteAddress is 0: signals are not relayed on this architecture.
func noteAddress() uintptr { return 0 }
