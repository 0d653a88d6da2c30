package fdscan

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadTable(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	path := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	table, err := (&Scanner{}).ReadTable(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	byNumber := map[int]*Descriptor{}
	for _, d := range table {
		byNumber[d.FD] = d
	}
	if d := byNumber[int(f.Fd())]; d == nil || d.Kind != Regular || d.Link != path || !d.Deleted {
		t.Errorf("a deleted file: %+v", d)
	}
	var st unix.Stat_t
	if err := unix.Fstat(pipe[0], &st); err != nil {
		t.Fatal(err)
	}
	for _, fd := range pipe {
		if d := byNumber[fd]; d == nil || d.Kind != Pipe || d.Inode != st.Ino {
			t.Errorf("an end of a pipe: %+v", d)
		}
	}
	if _, err := (&Scanner{}).ReadTable(1<<30, 0); err == nil {
		t.Error("a process that does not exist has a table")
	}
}
