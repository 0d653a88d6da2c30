package fdscan

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// program is what the memory map of a process tells of its code.
type program struct {
	// imports is nil when it cannot be told what the code calls.
	imports *Imports
	// ring reports an io_uring instance, through which calls are made that no
	// symbol tells of.
	ring bool
}

// codeCache remembers what files import, and for which machine they are made,
// since many processes run the same.
type codeCache struct {
	mu      sync.Mutex
	files   map[FileID]*codeFile
	natives map[FileID]bool
}

// codeFile is a file of code. Whoever needs it while it is read waits.
type codeFile struct {
	mu      sync.Mutex
	read    bool
	imports *Imports
}

// programOf reads which calls a process's program could make through the C
// library: the undefined dynamic symbols of the executable and of the libraries
// that it has mapped. sleep(1) cannot listen; what calls the kernel itself (Go,
// a static program) cannot be told.
func (s *Scanner) programOf(pid int, cache *codeCache) program {
	const maxLibraries = 512
	process := s.path(strconv.Itoa(pid))
	var p program
	var libraries []mapping
	seen := map[string]bool{}
	err := eachLine(filepath.Join(process, "maps"), func(line []byte) error {
		if bytes.HasSuffix(line, []byte(" anon_inode:[io_uring]")) {
			p.ring = true
		}
		if m, ok := parseCode(line); ok && !seen[m.path] {
			seen[m.path] = true
			libraries = append(libraries, m)
		}
		return nil
	})
	if err != nil || s.Detached || len(libraries) > maxLibraries {
		return p
	}
	all := &Imports{}
	add := func(i *Imports) bool {
		if i == nil {
			return false
		}
		all.Listen, all.Accept, all.Transfer = all.Listen || i.Listen, all.Accept || i.Accept, all.Transfer || i.Transfer
		return true
	}
	if !add(cache.imports(filepath.Join(process, "exe"))) {
		return p
	}
	for _, m := range libraries {
		if isCLibrary(m.path) {
			continue
		}
		// The mapping itself leads to the file whatever has become of its
		// name, but takes CAP_CHECKPOINT_RESTORE (Linux 5.9). The name counts
		// from the root of the process: it may live in a container.
		i := cache.imports(filepath.Join(process, "map_files", m.addresses))
		if i == nil {
			i = cache.imports(filepath.Join(process, "root", m.path))
		}
		if !add(i) {
			return p
		}
	}
	p.imports = all
	return p
}

// imports reads an ELF file, or remembers it; nil when it cannot be told.
func (c *codeCache) imports(path string) *Imports {
	id := exeID(path)
	if id == (FileID{}) {
		return nil
	}
	f := c.file(id)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read {
		return f.imports
	}
	file, opened, err := openRegular(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	found := readImports(file)
	if opened == id {
		f.imports, f.read = found, true
	}
	return found
}

func (c *codeCache) file(id FileID) *codeFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil {
		c.files = map[FileID]*codeFile{}
	}
	if c.files[id] == nil {
		c.files[id] = &codeFile{}
	}
	return c.files[id]
}

// mapping is a part of a file in the memory of a process.
type mapping struct {
	addresses string // "55d0c0a00000-55d0c0a05000"
	path      string
}

// parseCode reads a line of /proc/PID/maps when it is code of a file: "address
// perms offset device inode path". The path, which may hold spaces, is the rest.
func parseCode(line []byte) (m mapping, ok bool) {
	addresses, rest, _ := bytes.Cut(line, []byte(" "))
	permissions, rest, _ := bytes.Cut(rest, []byte(" "))
	slash := bytes.IndexByte(rest, '/')
	if !bytes.Contains(permissions, []byte("x")) || slash < 0 || len(bytes.Fields(rest[:slash])) != 3 {
		return mapping{}, false
	}
	return mapping{addresses: string(addresses), path: strings.TrimSuffix(string(rest[slash:]), " (deleted)")}, true
}

// cLibraries define the calls that others import: having them mapped tells
// nothing.
var cLibraries = []string{"libc.so", "libc-", "ld-linux", "ld-", "ld64", "libpthread", "ld-musl", "libc.musl", "libresolv", "libnss_"}

func isCLibrary(path string) bool {
	base := filepath.Base(path)
	for _, prefix := range cLibraries {
		if strings.HasPrefix(base, prefix) {
			return true
		}
	}
	return false
}
