package cmd

import (
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
// the new. None is replaced before all have been written beside their places.
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
	temporary string // "" when the place is written to, as pipes and devices are
}

func stage(f content) (*stagedFile, error) {
	mode := fs.FileMode(0o644)
	switch info, err := os.Stat(f.path); {
	case err == nil && info.IsDir():
		return nil, unix.EISDIR
	case err == nil && !info.Mode().IsRegular():
		return &stagedFile{content: f}, nil
	case err == nil:
		mode = info.Mode().Perm()
	}
	data := f.data
	if f.after {
		before, err := os.ReadFile(f.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		data = append(before, data...)
	}
	temporary, err := os.CreateTemp(filepath.Dir(f.path), ".stray-*")
	if err != nil {
		return nil, err
	}
	s := &stagedFile{f, temporary.Name()}
	_, err = temporary.Write(data)
	if err == nil {
		err = temporary.Chmod(mode)
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

// commit puts the content into its place.
func (s *stagedFile) commit() error {
	if s.temporary == "" {
		return os.WriteFile(s.path, s.data, 0)
	}
	if err := os.Rename(s.temporary, s.path); err != nil {
		return err
	}
	s.temporary = ""
	return nil
}

func (s *stagedFile) discard() {
	if s.temporary != "" {
		_ = os.Remove(s.temporary)
	}
}
