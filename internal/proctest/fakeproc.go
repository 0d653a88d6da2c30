package proctest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// FakeProc writes the tree that a txtar archive describes, such as a whole fake
// /proc, and returns its root, which the end of the test removes. Directories
// come into being by what is in them. The name of a file in the archive says
// what it becomes:
//
//	-- 1/status --          a file with this text
//	-- 1/cmdline --         a file in which each line ends in NUL instead, as
//	                        for every file called cmdline or environ
//	-- 1/fd/3@ --           a symbolic link; the text, without its last new
//	                        line, is where it leads: socket:[123]
//	-- 2/fd/ --             a directory, even when nothing is in it
//	-- 2/fd/ 0000 --        the same, with these mode bits
//	-- 2/environ 0400 --    a file with these mode bits
//
// Root reads whatever the mode bits say: see testenv.AsNobody.
func FakeProc(t testing.TB, archive []byte) string {
	t.Helper()
	// Not t.TempDir, which nobody else may enter.
	root, err := os.MkdirTemp("", "proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		filepath.WalkDir(root, func(path string, entry fs.DirEntry, _ error) error {
			if entry != nil && entry.IsDir() {
				return os.Chmod(path, 0o755)
			}
			return nil
		})
		if err := os.RemoveAll(root); err != nil {
			t.Errorf("remove fake /proc: %v", err)
		}
	})
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeTree(root, archive); err != nil {
		t.Fatalf("write fake /proc: %v", err)
	}
	return root
}

// writeTree writes the files of an archive below root.
func writeTree(root string, archive []byte) error {
	modes := map[string]fs.FileMode{}
	for _, f := range parseArchive(archive) {
		name, bits, hasMode := strings.Cut(f.name, " ")
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%q is not below the root", name)
		}
		path := filepath.Join(root, name)
		if hasMode {
			mode, err := strconv.ParseUint(bits, 8, 12)
			if err != nil {
				return fmt.Errorf("mode of %q: %w", f.name, err)
			}
			modes[strings.TrimSuffix(path, "/")] = fs.FileMode(mode)
		}
		directory := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			directory = path
		}
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return err
		}
		var err error
		switch base := filepath.Base(name); {
		case strings.HasSuffix(name, "/"):
		case strings.HasSuffix(name, "@"):
			err = os.Symlink(strings.TrimSuffix(string(f.data), "\n"), strings.TrimSuffix(path, "@"))
		case base == "cmdline" || base == "environ":
			err = os.WriteFile(path, bytes.ReplaceAll(f.data, []byte("\n"), []byte{0}), 0o644)
		default:
			err = os.WriteFile(path, f.data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	for path, mode := range modes {
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return nil
}

// archived is a file of a txtar archive.
type archived struct {
	name string
	data []byte
}

// parseArchive reads the txtar format: a line "-- NAME --" begins each file,
// and what stands before the first is a comment.
func parseArchive(archive []byte) []archived {
	var files []archived
	for line := range bytes.Lines(archive) {
		text := strings.TrimRight(string(line), "\r\n")
		name, opens := strings.CutPrefix(text, "-- ")
		name, closes := strings.CutSuffix(name, " --")
		switch {
		case opens && closes:
			files = append(files, archived{name: strings.TrimSpace(name)})
		case len(files) > 0:
			last := &files[len(files)-1]
			last.data = append(last.data, line...)
		}
	}
	return files
}
