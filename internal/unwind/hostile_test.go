package unwind

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// A stack that has been written over ends, whatever it holds.
func TestStacksThatLeadNowhere(t *testing.T) {
	program := compile(t, "hostile.c", "-O1", "-fno-asynchronous-unwind-tables", "-fno-omit-frame-pointer")
	u := New("/proc")
	defer u.Close()
	for how, most := range map[string]int{
		"itself":   3, // the frame, its caller, and one more
		"two":      4,
		"nowhere":  2,
		"unmapped": 2,
		"odd":      2,
		"null":     2,
		"circle":   maxSwitches + 1,
	} {
		t.Run(how, func(t *testing.T) {
			all := stacksBy(t, u, program, how)
			if len(all) != 1 {
				t.Fatalf("%d stacks, want 1", len(all))
			}
			if how == "circle" {
				want(t, all[0], how, how, how)
			} else {
				want(t, all[0], "with_frame_pointer", "main") // by the call
			}
			if n := len(all[0]); n > most {
				t.Errorf("%d frames, want at most %d:\n%s", n, most, told(all[0]))
			}
		})
	}
}

// Nobody waits for memory that a process has to deliver itself, while it stands still.
func TestMemoryThatNeverComes(t *testing.T) {
	program := compile(t, "undelivered.c", "-O1", "-fomit-frame-pointer")
	testenv.NeedWorking(t, "userfaultfd", exec.Command(program).Run())
	if all := stacks(t, program); len(all) != 1 || len(all[0]) != 1 {
		t.Errorf("stacks %v, want one of one call", all)
	}
}

// sparse is a file of many zeros behind a few bytes, that counts what is read of it.
type sparse struct {
	head []byte
	read int
}

func (s *sparse) ReadAt(b []byte, offset int64) (int, error) {
	clear(b)
	if offset < int64(len(s.head)) {
		copy(b, s.head[offset:])
	}
	s.read += len(b)
	return len(b), nil
}

// What a file says of the sizes of its tables is not believed.
func TestFilesThatClaimToBeHuge(t *testing.T) {
	const sections, entry = 0x400, 64
	le := binary.LittleEndian
	for name, spoil := range map[string]func(b []byte){
		"sections": func(b []byte) {
			le.PutUint16(b[60:], 0) // as many as the first one's size says
			le.PutUint64(b[sections+32:], 1<<30)
		},
		"names":   func(b []byte) { le.PutUint64(b[sections+3*entry+32:], 1<<40) },
		"symbols": func(b []byte) { le.PutUint32(b[sections+entry+4:], 2); le.PutUint64(b[sections+entry+32:], 1<<40) },
		"versions": func(b []byte) {
			le.PutUint32(b[sections+entry+4:], 11)            // SHT_DYNSYM
			le.PutUint64(b[sections+entry+32:], 24)           // one symbol
			le.PutUint32(b[sections+entry+40:], 3)            // its names
			le.PutUint32(b[sections+2*entry+4:], 0x6fff_ffff) // SHT_GNU_VERSYM
			le.PutUint64(b[sections+2*entry+32:], 1<<40)
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := &sparse{head: smallGo(t)}
			spoil(file.head)
			var n names
			n.read(file)
			if most := 64 << 20; file.read > most {
				t.Errorf("%d bytes were read, want at most %d", file.read, most)
			}
		})
	}
}

// What is no regular file is not opened: a watchdog begins to run then.
func TestNothingButFilesIsOpened(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	link := fifo + "-link"
	if err := os.Symlink(fifo, link); err != nil {
		t.Fatal(err)
	}
	events, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(events)
	if _, err := unix.InotifyAddWatch(events, fifo, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fifo, link} {
		var f moduleFile
		if f.open("/proc", name) == nil {
			f.close()
			t.Errorf("%s was opened", name)
		}
	}
	var b [64]byte
	if n, err := unix.Read(events, b[:]); err != unix.EAGAIN {
		t.Errorf("somebody has opened it: %d bytes of events, %v", n, err)
	}
}
