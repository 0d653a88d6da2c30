//go:build !linux

package fdtest

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
)

// Take returns errors.ErrUnsupported: only Linux tells what a descriptor is.
func Take() (Snapshot, error) { return take() }

func take() (Snapshot, error) {
	return Snapshot{}, fmt.Errorf("only Linux tells what they are, and this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func flagNames(flags int) string { return strconv.Itoa(flags) }
