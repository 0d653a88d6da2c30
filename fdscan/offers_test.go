package fdscan_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"stray/fdscan"
)

// Arguments that cannot be read, here those of a pipe that nobody writes to, keep
// nobody waiting who presses Tab, and hide no other program.
func TestProgramsDoNotWait(t *testing.T) {
	root := t.TempDir()
	for _, pid := range []string{"1", "22", "333", "4444"} {
		if err := os.Mkdir(filepath.Join(root, pid), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmdline := func(pid string) string { return filepath.Join(root, pid, "cmdline") }
	for _, err := range []error{
		os.WriteFile(cmdline("1"), []byte("first\x00one\x00"), 0o600),
		unix.Mkfifo(cmdline("22"), 0o600),
		os.WriteFile(cmdline("333"), nil, 0o600),
		os.WriteFile(cmdline("4444"), []byte("last\x00"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	// Who waits for the pipe is let go by this.
	defer func() {
		writer, err := unix.Open(cmdline("22"), unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(writer)
	}()
	var programs []fdscan.Program
	done := make(chan error, 1)
	go func() {
		var err error
		programs, err = (&fdscan.Scanner{Root: root}).Programs()
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a program is waited for")
	}
	if diff := cmp.Diff([]fdscan.Program{{PID: 1, Command: "first one"}, {PID: 4444, Command: "last"}}, programs); diff != "" {
		t.Errorf("programs (-want +got):\n%s", diff)
	}
}
