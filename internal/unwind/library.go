package unwind

import (
	"bytes"
	"strconv"
	"strings"
)

const (
	// maxOpen bounds how many files are open at once. One that has been deleted
	// takes room on its disk for as long.
	maxOpen = 128
	// maxVDSO bounds what the kernel maps into every process as if of a file.
	maxVDSO = 1 << 16
)

// library are the programs and libraries that have been seen, by their files.
type library struct {
	root    string
	modules map[fileID]*module
	open    []*module // with an open file, the one opened last at the end
	vdso    *module
}

// module is a program or a library; code in no file is one too.
type module struct {
	path      string
	file      moduleFile
	image     *image   // nil: nothing can be read, its frames are followed by frame pointers
	foreign   bool     // of a process of 32 bits: its stacks are not followed
	golang    *goTable // nil: no Go, or of before 1.18
	rows      map[uint64]*row
	codes     map[uint64][codeSize]byte
	names     names
	namesRead bool
}

func newLibrary(root string) library {
	return library{root: root, modules: map[fileID]*module{}}
}

func (l *library) close() {
	for _, m := range l.open {
		m.file.close()
	}
	l.open = nil
	clear(l.modules)
}

// find returns the module of a mapping.
func (l *library) find(pid, tid int, m *mapping) *module {
	if m.module != nil {
		return m.module
	}
	switch {
	case m.file.inode != 0:
		m.module = l.modules[m.file]
		if m.module == nil {
			m.module = l.load(pid, tid, m)
		}
	case m.file.name == "[vdso]":
		if l.vdso == nil || l.vdso.image == nil {
			l.vdso = loadVDSO(l.root, tid, m)
		}
		m.module = l.vdso
	case m.file.name == "":
		m.module = &module{path: "[anonymous]"}
	default:
		m.module = &module{path: m.file.name}
	}
	return m.module
}

// load opens the file of a mapping. Its link below map_files is the file itself,
// whatever its name means by now, and takes CAP_CHECKPOINT_RESTORE; its name is
// right in the root of the process.
func (l *library) load(pid, tid int, m *mapping) *module {
	mod := &module{path: m.path(), rows: map[uint64]*row{}}
	link := l.root + "/" + strconv.Itoa(pid) + "/map_files/" + strconv.FormatUint(m.start, 16) + "-" + strconv.FormatUint(m.end, 16)
	names := []string{link}
	if !strings.HasSuffix(m.file.name, deleted) {
		names = append(names, taskDirectory(l.root, pid, tid)+"/root"+m.file.name)
	}
	for _, name := range names {
		if mod.file.open(l.root, name) == nil {
			break
		}
	}
	if !mod.file.isOpen() {
		return mod
	}
	l.modules[m.file] = mod
	mod.file.names = []string{mod.path}
	l.opened(mod)
	image, err := readImage(&moduleReader{l, mod})
	if err != nil {
		mod.foreign = err == errClass
		return mod
	}
	mod.image = image
	if bias, ok := image.bias(m); ok {
		mod.golang = findGo(image, l.root, tid, bias)
	}
	return mod
}

// opened notes that the module's file is open, and closes that of another one
// where these are too many.
func (l *library) opened(m *module) {
	l.open = append(l.open, m)
	if len(l.open) <= maxOpen {
		return
	}
	oldest := l.open[0]
	l.open = append(l.open[:0], l.open[1:]...)
	oldest.file.close()
	// Its number may become another file's now.
	for id, m := range l.modules {
		if m == oldest {
			delete(l.modules, id)
		}
	}
}

// loadVDSO reads the code that the kernel maps into every process.
func loadVDSO(root string, tid int, m *mapping) *module {
	mod := &module{path: m.file.name, rows: map[uint64]*row{}}
	code := make([]byte, min(m.end-m.start, maxVDSO))
	code = code[:readMemory(root, tid, m.start, code)]
	if image, err := readImage(bytes.NewReader(code)); err == nil {
		mod.image = image
	}
	return mod
}

// moduleReader reads the file of a module, and opens it again where it was closed
// meanwhile.
type moduleReader struct {
	library *library
	module  *module
}

func (r *moduleReader) ReadAt(b []byte, offset int64) (int, error) {
	f := &r.module.file
	if !f.isOpen() {
		if err := f.reopen(r.library.root); err != nil {
			return 0, err
		}
		r.library.opened(r.module)
	}
	return f.ReadAt(b, offset)
}
