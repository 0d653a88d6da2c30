package cmd

import (
	"io/fs"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func fileIs(t *testing.T, path, want string, mode fs.FileMode) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil || string(text) != want {
		t.Errorf("%s: %q, %v; want %q", path, text, err, want)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != mode {
		t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, mode)
	}
}

// A new file is as the umask has it, one that is there keeps its mode, and a link
// its place.
func TestWriteFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	for name, mode := range map[string]fs.FileMode{"old": 0o604, "target": 0o600} {
		if err := os.WriteFile(name, []byte("before "), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"link": "target", "dangling": "nothing", "null": os.DevNull} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	err := writeFiles([]content{{path: "new", data: []byte("new")}, {path: "old", data: []byte("old"), after: true}, {path: "link", data: []byte("linked")}, {path: "null", data: []byte("gone")}})
	if err != nil {
		t.Fatal(err)
	}
	fileIs(t, "new", "new", 0o640)
	fileIs(t, "old", "before old", 0o604)
	fileIs(t, "target", "linked", 0o600)
	for _, link := range []string{"link", "null"} {
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s: %v, %v", link, info, err)
		}
	}
	if err := writeFiles([]content{{path: "new", data: []byte("newer")}, {path: "dangling", data: []byte("x")}}); err == nil {
		t.Error("a link that leads nowhere was written")
	}
	fileIs(t, "new", "new", 0o640)
	if left, err := os.ReadDir("."); err != nil || len(left) != 6 {
		t.Errorf("%v, %v", left, err)
	}
}

// A device that has taken the place of another is not written to.
func TestWriteToWhatWasLookedAt(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Symlink(os.DevNull, "place"); err != nil {
		t.Fatal(err)
	}
	s, err := stage(content{path: "place", data: []byte("data")})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove("place"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("place", []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.commit(); err == nil {
		t.Error("written")
	}
	fileIs(t, "place", "precious", 0o600)
}

// What the standard output has been sent to keeps what it holds.
func TestWriteToStandardOutput(t *testing.T) {
	t.Chdir(t.TempDir())
	stdout := os.Stdout
	defer func() { os.Stdout = stdout }()
	var err error
	if os.Stdout, err = os.OpenFile("log", os.O_WRONLY|os.O_CREATE, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Stdout.Close()
	for _, text := range []string{"before\n", "after\n"} {
		if _, err := os.Stdout.WriteString(text); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/dev/fd/" + strconv.Itoa(int(os.Stdout.Fd())), "log"} {
			if err := writeFiles([]content{{path: path, data: []byte("report\n")}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	fileIs(t, "log", "before\nreport\nreport\nafter\nreport\nreport\n", 0o600)
}
