package cmd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// content is what a file is to hold.
type content struct {
	path string
	data []byte
	// after keeps what the file holds already, in front of data.
	after bool
}

// writeFiles replaces files, each atomically: a reader sees the old content or
// the new. None is replaced before all have been written beside their places, so
// that little is left that can fail between the first and the last.
func writeFiles(files []content) error {
	var staged []*stagedFile
	defer func() {
		for _, s := range staged {
			s.discard()
		}
	}()
	for _, f := range files {
		s, err := stage(f)
		if err != nil {
			return fileError(f.path, err)
		}
		staged = append(staged, s)
	}
	for _, s := range staged {
		if err := s.commit(); err != nil {
			return fileError(s.path, err)
		}
	}
	return nil
}

func fileError(path string, err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		err = errno // the name of the temporary file says nothing
	}
	return &exitError{code: exitUsage, message: fmt.Sprintf("write %q: %s", path, err), hint: "name a file in a directory that exists and can be written"}
}

// stagedFile is the new content of a file, before it is in its place.
type stagedFile struct {
	content
	place     string      // path, with links followed
	temporary string      // "" when the place is written to, as pipes and devices are
	special   os.FileInfo // of that
	stream    *os.File    // one of our own that leads to the place; nil for none
}

func stage(f content) (*stagedFile, error) {
	s := &stagedFile{content: f, place: f.path}
	info, err := os.Stat(f.path)
	switch {
	case err == nil && info.IsDir():
		return nil, unix.EISDIR
	case err == nil && streamTo(info) != nil:
		s.stream = streamTo(info)
		return s, nil
	case err == nil && !info.Mode().IsRegular():
		s.special = info
		return s, nil
	}
	if _, linkErr := os.Lstat(f.path); linkErr == nil { // a link keeps its place
		if s.place, err = filepath.EvalSymlinks(f.path); err != nil {
			return nil, err
		}
	}
	data := f.data
	if f.after {
		before, err := os.ReadFile(s.place)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		data = append(before, data...)
	}
	// Not os.CreateTemp, which leaves no room for the umask.
	name := filepath.Join(filepath.Dir(s.place), ".stray-"+rand.Text())
	temporary, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	s.temporary = name
	_, err = temporary.Write(data)
	if err == nil && info != nil {
		err = temporary.Chmod(info.Mode().Perm())
	}
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		s.discard()
		return nil, err
	}
	return s, nil
}

// streamTo returns the standard stream that leads to a file, as /dev/stdout does:
// what has been written there, by whomever, is not to be replaced.
func streamTo(info os.FileInfo) *os.File {
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if own, err := f.Stat(); err == nil && os.SameFile(own, info) {
			return f
		}
	}
	return nil
}

// commit puts the content into its place.
func (s *stagedFile) commit() error {
	if s.stream != nil {
		_, err := s.stream.Write(s.data)
		return err
	}
	if s.temporary == "" {
		return s.writeThere()
	}
	if err := os.Rename(s.temporary, s.place); err != nil {
		return err
	}
	s.temporary = ""
	return nil
}

// writeThere writes to a pipe or device, and to no other than was looked at.
func (s *stagedFile) writeThere() error {
	f, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, s.special) {
		return errors.New("another file has taken its place")
	}
	_, err = f.Write(s.data)
	return err
}

func (s *stagedFile) discard() {
	if s.temporary != "" {
		_ = os.Remove(s.temporary)
	}
}
