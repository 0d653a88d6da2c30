package cmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"stray/inspect"
	"stray/inspect/rules"
)

const (
	// mostSettings and mostBaseline are how long these files may be, in bytes.
	mostSettings = 256 << 10
	mostBaseline = 64 << 20
	// settingsTime is how long the parser may take, which on a file that is made
	// for it takes the square of its length.
	settingsTime = 5 * time.Second
)

// readRegular reads a file, of no more than most bytes, and refuses what is none:
// a FIFO would keep it waiting. More flags are of open(2).
func readRegular(path string, most int64, flags int) ([]byte, os.FileInfo, error) {
	// O_NONBLOCK is for a FIFO that takes the place of the file.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|flags, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case path == os.DevNull: // how people write "none"
		return nil, info, nil
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is no regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, nil, err
	case int64(len(text)) > most:
		return nil, nil, fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return text, info, nil
}

// readUnnamed reads the settings of the working directory, which nobody has named.
// Root takes none that another user may have put there: what is in them says which
// findings do not count.
func readUnnamed(path string) ([]byte, error) {
	if os.Geteuid() != 0 {
		text, _, err := readRegular(path, mostSettings, 0)
		return text, err
	}
	text, info, err := readRegular(path, mostSettings, unix.O_NOFOLLOW)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link, and root follows none but by name: --ignore-file ./%[1]s", path)
	}
	if err != nil {
		return nil, err
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; !trusted(owner) {
		return nil, fmt.Errorf("%s belongs to user %d, and root follows nobody else's but by name: --ignore-file ./%[1]s", path, owner)
	}
	return text, nil
}

// trusted reports that root may follow the settings of a user: its own, or of who
// has become root with sudo.
func trusted(uid uint32) bool {
	caller, err := strconv.ParseUint(os.Getenv("SUDO_UID"), 10, 32)
	return uid == 0 || uid == uint32(os.Getuid()) || err == nil && uint64(uid) == caller
}

// parseSettings gives up on a file that the parser does not come to an end with.
func parseSettings(text []byte) (*inspect.Settings, error) {
	type result struct {
		settings *inspect.Settings
		err      error
	}
	done := make(chan result, 1)
	go func() {
		s, err := inspect.ParseSettings(text, rules.Find)
		done <- result{s, err}
	}()
	select {
	case r := <-done:
		return r.settings, r.err
	case <-time.After(settingsTime):
		return nil, &inspect.SettingsError{Line: 1, Column: 1, Message: "the file takes too long to read", Hint: "it is too long, or goes too deep"}
	}
}

// beside reports that path is in a directory or below it, symbolic links followed.
func beside(directory, path string) bool {
	root, err := filepath.EvalSymlinks(directory)
	if err != nil {
		return false
	}
	place, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return false
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return false
	}
	if root, err = filepath.Abs(root); err != nil {
		return false
	}
	if place, err = filepath.Abs(place); err != nil {
		return false
	}
	relative, err := filepath.Rel(root, place)
	return err == nil && filepath.IsLocal(relative)
}
