package unwind

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"

	"stray/internal/patience"
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
	// silent are the devices of file systems that have not answered. Whoever serves
	// one may be among those that stand still for their stacks: it is asked no more.
	silent map[string]bool
	// mounts are those of the beginning. Files on others are closed again at once, lest
	// whoever has mounted one cannot unmount it.
	mounts map[uint64]bool
}

// module is a program or a library; code in no file is one too.
type module struct {
	path      string
	device    string // of its file, as fileID has it
	file      *moduleFile
	image     *image   // nil: nothing can be read, its frames are followed by frame pointers
	foreign   bool     // of a process of 32 bits: its stacks are not followed
	golang    *goTable // nil: no Go, or of before 1.18
	rows      map[uint64]*row
	codes     map[uint64][codeSize]byte
	names     names
	namesRead bool
}

func newLibrary(root string) library {
	return library{root: root, modules: map[fileID]*module{}, silent: map[string]bool{}, mounts: mounts(root)}
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
		names := l.names(pid, tid, m)
		if m.module = l.modules[m.file]; m.module != nil {
			m.module.file.names = names
		} else {
			m.module = l.load(names, tid, m)
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

// names are where the file of a mapping is to be had. Its link below map_files is the
// file itself, whatever its name means by now, and takes CAP_CHECKPOINT_RESTORE; its
// name is right in the root of the process.
func (l *library) names(pid, tid int, m *mapping) []string {
	link := l.root + "/" + strconv.Itoa(pid) + "/map_files/" + strconv.FormatUint(m.start, 16) + "-" + strconv.FormatUint(m.end, 16)
	if strings.HasSuffix(m.file.name, deleted) {
		return []string{link}
	}
	return []string{link, taskDirectory(l.root, pid, tid) + "/root" + m.file.name, m.file.name}
}

// load reads the file of a mapping.
func (l *library) load(names []string, tid int, m *mapping) *module {
	mod := &module{path: m.path(), device: m.file.device, rows: map[uint64]*row{}}
	mapped := *m
	read, ok := ask(l, mod, func() loaded { return openImage(l.root, names, tid, &mapped) }, func(r loaded) { r.file.close() })
	if !ok || !read.file.isOpen() {
		return mod
	}
	mod.file, mod.image, mod.foreign, mod.golang = read.file, read.image, read.foreign, read.golang
	if mod.image != nil {
		mod.image.file = &moduleReader{l.root, mod.file}
	}
	mod.file.names = names
	l.modules[m.file] = mod
	l.settle(mod)
	return mod
}

// loaded is what a file is found to be.
type loaded struct {
	file    *moduleFile // closed: it cannot be opened
	image   *image
	golang  *goTable
	foreign bool
}

// openImage opens a file by the first of its names that leads to one, and reads its
// tables.
func openImage(root string, names []string, tid int, m *mapping) (l loaded) {
	l.file = &moduleFile{}
	for _, name := range names {
		if l.file.open(root, name) == nil {
			break
		}
	}
	if !l.file.isOpen() {
		return l
	}
	image, err := readImage(l.file)
	if err != nil {
		l.foreign = err == errClass
		return l
	}
	l.image = image
	if bias, ok := image.bias(m); ok {
		l.golang = findGo(image, root, tid, bias)
	}
	return l
}

// ask returns what f reads of the module's file, or false when its file system does
// not answer. Then nothing more is read of it; late gets what f returns in the end,
// which is to close the file.
func ask[T any](l *library, m *module, f func() T, late func(T)) (v T, ok bool) {
	switch {
	case m.device == "": // the vDSO's, which was read whole
		return f(), true
	case l.silent[m.device]:
		return v, false
	}
	if v, ok = patience.Within(f, late); !ok {
		l.silent[m.device] = true
		// What f works on is its own now.
		m.image, m.golang = nil, nil
		l.forget(m)
		return v, false
	}
	l.settle(m)
	return v, true
}

// settle keeps a file that was opened, or closes it.
func (l *library) settle(m *module) {
	switch {
	case m.file == nil || !m.file.isOpen():
	case !l.keeps(m):
		m.file.close()
	case !slices.Contains(l.open, m):
		l.opened(m)
	}
}

// closing is what to do late with all but what load reads.
func closing[T any](m *module) func(T) {
	f := m.file
	return func(T) { f.close() }
}

// keeps reports whether the module's file may stay open.
func (l *library) keeps(m *module) bool {
	return m.file.mount == 0 || len(l.mounts) == 0 || l.mounts[m.file.mount]
}

// forget has the library close the module's file no more.
func (l *library) forget(m *module) {
	if i := slices.Index(l.open, m); i >= 0 {
		l.open = slices.Delete(l.open, i, i+1)
	}
}

// mounts are the numbers of all mounts that this process sees (proc_pid_mountinfo(5)).
func mounts(root string) map[uint64]bool {
	text, _ := os.ReadFile(root + "/self/mountinfo")
	numbers := map[uint64]bool{}
	for line := range bytes.Lines(text) {
		first, _, _ := bytes.Cut(line, []byte(" "))
		numbers[number(first, 10)] = true
	}
	return numbers
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
	root string
	file *moduleFile
}

func (r *moduleReader) ReadAt(b []byte, offset int64) (int, error) {
	if !r.file.isOpen() {
		if err := r.file.reopen(r.root); err != nil {
			return 0, err
		}
	}
	return r.file.ReadAt(b, offset)
}
