package fdscan

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// imports reads which network calls a program could make through the C
// library: the undefined dynamic symbols of the executable and of the libraries
// it has mapped. sleep(1) cannot listen; a Go or static program, which calls
// the kernel itself, is nil: it cannot be told. Programs are remembered by
// identity, since many processes run one.
func (l *lookup) imports(p *Process) *Imports {
	if l.Detached || p.ExeInode == 0 {
		return nil
	}
	pid := strconv.Itoa(p.PID)
	found, ok := fileImports(l.path(pid, "exe"))
	if !ok {
		return nil
	}
	maps, err := os.ReadFile(l.path(pid, "maps"))
	if err != nil {
		return nil
	}
	seen := map[string]bool{p.Exe: true}
	for line := range bytes.Lines(maps) {
		library := mappedLibrary(string(line))
		if library == "" || seen[library] {
			continue
		}
		seen[library] = true
		// Through the process's own root: it may live in a container.
		more, ok := fileImports(l.path(pid, "root", library))
		if !ok {
			return nil
		}
		found.Listen = found.Listen || more.Listen
		found.Accept = found.Accept || more.Accept
		found.Receive = found.Receive || more.Receive
	}
	return &found
}

// cLibraries define the calls that others import: having them mapped tells
// nothing.
var cLibraries = []string{"libc.so", "libc-", "ld-linux", "ld-", "ld64", "libpthread", "ld-musl", "libc.musl", "libresolv", "libnss_"}

// mappedLibrary returns the path of a line of /proc/PID/maps when it is code
// mapped from a file that is not the C library.
func mappedLibrary(line string) string {
	fields := strings.Fields(line)
	if len(fields) != 6 || !strings.Contains(fields[1], "x") || fields[5][0] != '/' {
		return ""
	}
	base := filepath.Base(fields[5])
	for _, prefix := range cLibraries {
		if strings.HasPrefix(base, prefix) {
			return ""
		}
	}
	return fields[5]
}

// fileImports reads the undefined dynamic symbols of one ELF file; ok is false
// for a file that is not one, or has none.
func fileImports(path string) (i Imports, ok bool) {
	f, err := elf.Open(path)
	if err != nil {
		return Imports{}, false
	}
	defer f.Close()
	symbols, err := f.ImportedSymbols()
	if err != nil || len(symbols) == 0 {
		return Imports{}, false
	}
	for _, s := range symbols {
		switch s.Name {
		case "listen":
			i.Listen = true
		case "accept", "accept4":
			i.Accept = true
		case "recv", "recvfrom", "recvmsg", "recvmmsg":
			i.Receive = true
		case "syscall":
			// It may make any call by number.
			return Imports{Listen: true, Accept: true, Receive: true}, true
		}
	}
	return i, true
}
