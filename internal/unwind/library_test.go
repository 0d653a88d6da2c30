package unwind

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// Files are closed when they are too many, and read again as long as they are
// the same.
func TestOpenFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	l := newLibrary("/proc")
	defer l.close()
	var modules []*module
	for n := range maxOpen + 10 {
		name := filepath.Join(dir, strconv.Itoa(n))
		if err := os.WriteFile(name, []byte{byte(n)}, 0o644); err != nil {
			t.Fatal(err)
		}
		m := &module{path: name, file: &moduleFile{}}
		if err := m.file.open("/proc", name); err != nil {
			t.Fatal(err)
		}
		m.file.names = []string{name}
		l.modules[fileID{inode: m.file.inode}] = m
		l.opened(m)
		modules = append(modules, m)
	}
	if len(l.open) != maxOpen || len(l.modules) != maxOpen {
		t.Errorf("%d files are open, of %d modules, want %d", len(l.open), len(l.modules), maxOpen)
	}
	var b [1]byte
	for n, m := range modules[:5] {
		if m.file.isOpen() {
			t.Fatalf("file %d is open still", n)
		}
		if _, err := (&moduleReader{"/proc", m.file}).ReadAt(b[:], 0); err != nil || b[0] != byte(n) {
			t.Errorf("file %d has %v when it is opened again, %v", n, b, err)
		}
		l.settle(m)
	}
	if len(l.open) != maxOpen {
		t.Errorf("%d files are open, want %d", len(l.open), maxOpen)
	}
	other := modules[5]
	replacement := filepath.Join(dir, "replacement")
	if err := os.WriteFile(replacement, []byte{5}, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(replacement, other.path); err != nil {
		t.Fatal(err)
	}
	if _, err := (&moduleReader{"/proc", other.file}).ReadAt(b[:], 0); err == nil {
		t.Error("a file is read that has the name of another one")
	}
}

// A module is read as long as its file is there, closed or not.
func TestFramesAfterClose(t *testing.T) {
	program := compile(t, "open.c", plainFlags...)
	u := New("/proc")
	defer u.Close()
	var seen []Stack
	visit(t, []string{program, "plain"}, func(pid, tid int, r Registers) {
		seen = append(seen, u.Stack(pid, tid, r, maxCalls))
	})
	u.Close()
	want(t, u.Frames(seen[0]), "make@memfd_create(name, 0)", "open_backend@make(name);")
}

func TestParseMaps(t *testing.T) {
	s := parseMaps([]byte("00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/a program (deleted)\n" +
		"00651000-00652000 r--p 00051000 08:02 173521      /usr/bin/a program (deleted)\n" +
		"35b1800000-35b1820000 rwxp 00000000 00:00 0\n" +
		"7ffc43879000-7ffc4389a000 r-xp 00000000 00:00 0                          [vdso]\n"))
	want := []mapping{
		{start: 0x400000, end: 0x452000, offset: 0x1000, file: fileID{"08:02", 173521, "/usr/bin/a program (deleted)"}},
		{start: 0x35b1800000, end: 0x35b1820000, file: fileID{"00:00", 0, ""}},
		{start: 0x7ffc43879000, end: 0x7ffc4389a000, file: fileID{"00:00", 0, "[vdso]"}},
	}
	if len(s.mappings) != len(want) {
		t.Fatalf("%d mappings, want %d", len(s.mappings), len(want))
	}
	for n, m := range s.mappings {
		if m != want[n] {
			t.Errorf("mapping %d is %+v, want %+v", n, m, want[n])
		}
	}
	if path := s.mappings[0].path(); path != "/usr/bin/a program" {
		t.Errorf("path %q", path)
	}
}

// What is mounted meanwhile can be unmounted as if nobody had read of it.
func TestMountsAreLetGo(t *testing.T) {
	testenv.NeedRoot(t)
	program, err := os.ReadFile(compile(t, "open.c", plainFlags...))
	if err != nil {
		t.Fatal(err)
	}
	u := New("/proc")
	defer u.Close()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	mounted := true
	defer func() {
		if mounted {
			unix.Unmount(dir, unix.MNT_DETACH)
		}
	}()
	path := filepath.Join(dir, "open")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds what the first has left
		all := stacksBy(t, u, path, "plain")
		if len(all) == 0 {
			t.Fatal("no stacks")
		}
		for _, frames := range all {
			if f := frames[0]; f.Module == path && f.Line == 0 {
				t.Errorf("no line in %s", told(frames))
			}
		}
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Errorf("unmount: %v", err)
		return
	}
	mounted = false
}

// A file system that does not answer is waited for once, and not asked again.
func TestSilentFileSystem(t *testing.T) {
	l := newLibrary("/proc")
	defer l.close()
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	image, err := readImage(program)
	if err != nil {
		t.Fatal(err)
	}
	wake, closed := make(chan struct{}), make(chan struct{})
	m := &module{path: "silent", device: "0:99", image: image}
	if _, ok := ask(&l, m, func() int { <-wake; return 0 }, func(int) { close(closed) }); ok || m.image != nil {
		t.Errorf("answered: %v; image %v", ok, m.image)
	}
	other := &module{device: m.device}
	if _, ok := ask(&l, other, func() int { t.Error("asked again"); return 0 }, nil); ok {
		t.Error("the device is not silent")
	}
	close(wake)
	<-closed
	program.Close()
}
