//go:build amd64 || arm64

package follow

// note is a signal handler that writes the siginfo_t of the signal to noteTo. It
// is no Go function: it may run at any moment, on any thread.
//
//lint:ignore U1000 noteAddress leads to it
func note()

// noteAddress is where the code of note begins.
func noteAddress() uintptr
