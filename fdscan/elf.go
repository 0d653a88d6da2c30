package fdscan

import (
	"debug/elf"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openRegular opens a file if it is a regular one. A name in another process's
// root leads wherever its owner likes: a FIFO would block, and the opening of a
// device can do things. So the file is looked at first, by O_PATH.
func openRegular(path string) (*os.File, FileID, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, FileID{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, FileID{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, FileID{}, errors.New("not a regular file")
	}
	file, err := os.Open("/proc/self/fd/" + strconv.Itoa(fd))
	return file, FileID{uint64(st.Dev), st.Ino}, err
}

// frugal reads from a file at most so many bytes in all, so that one made to
// look large costs little.
type frugal struct {
	file *os.File
	left int64
}

// mostSymbols bounds what is read of one file: the largest libraries that there
// are have some 20 MiB of symbols and names.
const mostSymbols = 64 << 20

var errLarge = errors.New("its symbols are too large to read")

func (f *frugal) ReadAt(b []byte, offset int64) (int, error) {
	if f.left -= int64(len(b)); f.left < 0 {
		return 0, errLarge
	}
	return f.file.ReadAt(b, offset)
}

// readImports reads the undefined dynamic symbols of an ELF file; nil when it
// has none, or calls the kernel itself.
func readImports(file *os.File) (found *Imports) {
	// Package elf is not made for hostile files: it may panic.
	defer func() {
		if recover() != nil {
			found = nil
		}
	}()
	f, err := elf.NewFile(&frugal{file, mostSymbols})
	if err != nil {
		return nil
	}
	for _, s := range f.Sections {
		if s.Name == ".go.buildinfo" || s.Name == ".gopclntab" {
			return nil // Go calls the kernel itself, cgo or not
		}
	}
	symbols := f.SectionByType(elf.SHT_DYNSYM)
	if symbols == nil || int(symbols.Link) >= len(f.Sections) {
		return nil
	}
	table, err1 := plainData(symbols)
	names, err2 := plainData(f.Sections[symbols.Link])
	if err1 != nil || err2 != nil {
		return nil
	}
	found = &Imports{}
	eachUndefined(f, table, func(name uint32) {
		if int(name) >= len(names) {
			return
		}
		text := names[name:min(len(names), int(name)+24)]
		found.add(text)
	})
	return found
}

// plainData returns the bytes of a section, unless they are compressed.
func plainData(s *elf.Section) ([]byte, error) {
	switch {
	case s.Flags&elf.SHF_COMPRESSED != 0, s.Type == elf.SHT_NOBITS:
		return nil, errors.New("no plain section")
	case s.Size > mostSymbols:
		return nil, errLarge
	}
	b := make([]byte, s.Size)
	_, err := s.ReadAt(b, 0)
	return b, err
}

// eachUndefined calls f with the offset of each undefined symbol's name.
func eachUndefined(f *elf.File, table []byte, each func(name uint32)) {
	// Elf64_Sym: name 4, info 1, other 1, section 2, value 8, size 8.
	// Elf32_Sym: name 4, value 4, size 4, info 1, other 1, section 2.
	size, section := 24, 6
	if f.Class == elf.ELFCLASS32 {
		size, section = 16, 14
	}
	for ; len(table) >= size; table = table[size:] {
		if f.ByteOrder.Uint16(table[section:]) == uint16(elf.SHN_UNDEF) {
			each(f.ByteOrder.Uint32(table))
		}
	}
}

// add notes a call by the NUL-terminated name of its symbol.
func (i *Imports) add(name []byte) {
	text, _, _ := strings.Cut(string(name), "\x00")
	switch text {
	case "listen":
		i.Listen = true
	case "accept", "accept4":
		i.Accept = true
	case "recv", "recvfrom", "recvmsg", "recvmmsg", "read", "readv", "__recv_chk", "__recvfrom_chk", "__read_chk",
		"send", "sendto", "sendmsg", "sendmmsg", "write", "writev", "connect":
		i.Transfer = true
	case "ptrace":
		i.Trace = true
	case "syscall":
		// It may make any call by number.
		i.Listen, i.Accept, i.Transfer = true, true, true
	default:
		if strings.HasPrefix(text, "io_uring_") {
			i.Listen, i.Accept, i.Transfer = true, true, true
		}
	}
}
