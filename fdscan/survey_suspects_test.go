package fdscan

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A number that is given to one deleted file after another is told of with the
// name and the inode of one file.
func TestDeletedFileUnderAReusedNumber(t *testing.T) {
	directory := t.TempDir()
	inodes := map[string]uint64{}
	var files []*os.File
	for i := range 200 {
		name := filepath.Join(directory, fmt.Sprint(i))
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var st unix.Stat_t
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		// A file system that gives out space late has blocks after this.
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		inodes[name] = st.Ino
		files = append(files, f)
	}
	number, err := unix.FcntlInt(files[0].Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(number)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := unix.Dup3(int(files[i%len(files)].Fd()), number, unix.O_CLOEXEC); err != nil {
				t.Error(err)
				return
			}
			for range 10 {
				runtime.Gosched()
			}
		}
	}()
	l := &lookup{Scanner: &Scanner{}, ctx: t.Context(), snap: &Snapshot{Processes: map[int]*Process{}}}
	for range 3000 {
		l.deletedFile(Filled{PID: os.Getpid()}, Entry{FD: int32(number)}, nil)
	}
	close(stop)
	<-stopped
	wrong := 0
	for _, d := range l.snap.Descriptors {
		if d.Inode != inodes[d.Link] {
			wrong++
		}
	}
	if n := len(l.snap.Descriptors); wrong > 0 || n == 0 {
		t.Errorf("of %d descriptors %d have the inode of one file and the name of another", n, wrong)
	}
}
