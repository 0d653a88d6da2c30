package proctest

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

const machine = `What stands here is a comment.
-- net/tcp --
  sl  local_address
-- 7/fd/3@ --
socket:[4711]
-- 7/fd/4@ --
/memfd:x (deleted)
-- 7/cmdline --
sleep
60
-- 7/task/ --
-- 8/fd/3@ --
pipe:[1]
-- 8/fd/ 0000 --
-- 8/environ 0400 --
A=1
`

func TestFakeProcTree(t *testing.T) {
	root := FakeProc(t, []byte(machine))
	for name, want := range map[string]string{
		"net/tcp":   "  sl  local_address\n",
		"7/cmdline": "sleep\x0060\x00",
		"8/environ": "A=1\x00",
	} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]fs.FileMode{
		"7/task":    fs.ModeDir | 0o755,
		"8/fd":      fs.ModeDir,
		"8/environ": 0o400,
	} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

// A walker reads the links of a fake process with readlinkat, although they
// lead nowhere.
func TestFakeProcDanglingLinks(t *testing.T) {
	root := FakeProc(t, []byte(machine))
	dir, err := unix.Open(filepath.Join(root, "7/fd"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	for name, want := range map[string]string{"3": "socket:[4711]", "4": "/memfd:x (deleted)"} {
		buffer := make([]byte, 100)
		n, err := unix.Readlinkat(dir, name, buffer)
		if err != nil || string(buffer[:n]) != want {
			t.Errorf("fd %s leads to %q, %v; want %q", name, buffer[:max(n, 0)], err, want)
		}
	}
}

func TestFakeProcModeBitsKeepNobodyOut(t *testing.T) {
	testenv.NeedRoot(t)
	root := FakeProc(t, []byte(machine))
	testenv.AsNobody(t, func() {
		if _, err := os.ReadDir(filepath.Join(root, "7/fd")); err != nil {
			t.Errorf("nobody reads 7/fd: %v", err)
		}
		if _, err := os.ReadDir(filepath.Join(root, "8/fd")); !os.IsPermission(err) {
			t.Errorf("nobody reads 8/fd: %v; want permission denied", err)
		}
		if _, err := os.ReadFile(filepath.Join(root, "8/environ")); !os.IsPermission(err) {
			t.Errorf("nobody reads 8/environ: %v; want permission denied", err)
		}
	})
	if _, err := os.ReadDir(filepath.Join(root, "8/fd")); err != nil {
		t.Errorf("root reads 8/fd after AsNobody: %v", err)
	}
}

func TestFakeProcRefusesToLeaveItsRoot(t *testing.T) {
	for _, name := range []string{"../escape", "/etc/x"} {
		if err := writeTree(t.TempDir(), []byte("-- "+name+" --\n")); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}
