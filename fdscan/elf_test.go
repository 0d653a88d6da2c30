package fdscan

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// importsOf reads what a file of these bytes imports.
func importsOf(t testing.TB, code []byte) *Imports {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, code, 0o644); err != nil {
		t.Fatal(err)
	}
	file, _, err := openRegular(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return readImports(file)
}

// program reads one of the machine's programs.
func readProgram(t testing.TB, name string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	testenv.NeedWorking(t, name, err)
	code, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestImportsOfPrograms(t *testing.T) {
	if i := importsOf(t, readProgram(t, "sleep")); i == nil || i.Listen || i.Accept {
		t.Errorf("sleep imports %+v", i)
	}
	if i := importsOf(t, readProgram(t, "cat")); i == nil || i.Accept || !i.Transfer {
		t.Errorf("cat imports %+v", i)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if i := importsOf(t, self); i != nil {
		t.Errorf("a Go program imports %+v: it calls the kernel itself", i)
	}
	for name, code := range map[string][]byte{"nothing": nil, "text": []byte("#!/bin/sh\n"), "a header": readProgram(t, "sleep")[:64], "half": readProgram(t, "sleep")[:20000]} {
		if i := importsOf(t, code); i != nil {
			t.Errorf("%s imports %+v", name, i)
		}
	}
}

func TestImportsByName(t *testing.T) {
	for name, want := range map[string]Imports{
		"listen":                {Listen: true},
		"accept4":               {Accept: true},
		"accept":                {Accept: true},
		"acceptable":            {},
		"__read_chk":            {Transfer: true},
		"syscall":               {Listen: true, Accept: true, Transfer: true},
		"io_uring_get_sqe":      {Listen: true, Accept: true, Transfer: true},
		"io_uring_prep_a_thing": {Listen: true, Accept: true, Transfer: true},
		"ptrace":                {Trace: true},
		"__asan_init":           {Trace: true},
		"__lsan_init":           {Trace: true},
		"__lsan_is_turned_off":  {Trace: true},
		"":                      {},
	} {
		var i Imports
		i.add([]byte(name + "\x00accept\x00"))
		if i != want {
			t.Errorf("%q: %+v, want %+v", name, i, want)
		}
	}
}

// patchSymbols changes the section header of the dynamic symbols of a program.
func patchSymbols(t *testing.T, code []byte, change func(*elf.Section64)) []byte {
	t.Helper()
	code = bytes.Clone(code)
	var header elf.Header64
	if err := binary.Read(bytes.NewReader(code), binary.NativeEndian, &header); err != nil {
		t.Fatal(err)
	}
	for i := range int(header.Shnum) {
		at := code[int(header.Shoff)+i*int(header.Shentsize):][:header.Shentsize]
		var section elf.Section64
		if err := binary.Read(bytes.NewReader(at), binary.NativeEndian, &section); err != nil {
			t.Fatal(err)
		}
		if elf.SectionType(section.Type) != elf.SHT_DYNSYM {
			continue
		}
		change(&section)
		var b bytes.Buffer
		if err := binary.Write(&b, binary.NativeEndian, section); err != nil {
			t.Fatal(err)
		}
		copy(at, b.Bytes())
	}
	return code
}

// A file that says to be large costs little time and memory.
func TestImportsOfHostileFiles(t *testing.T) {
	code := readProgram(t, "sleep")
	for name, change := range map[string]func(*elf.Section64){
		"large":          func(s *elf.Section64) { s.Size = 1 << 40 },
		"endless":        func(s *elf.Section64) { s.Size = 1<<64 - 1 },
		"elsewhere":      func(s *elf.Section64) { s.Off = 1 << 62 },
		"without names":  func(s *elf.Section64) { s.Link = 1 << 30 },
		"its own names":  func(s *elf.Section64) { s.Link = 0 },
		"compressed":     func(s *elf.Section64) { s.Flags |= uint64(elf.SHF_COMPRESSED) },
		"without bytes":  func(s *elf.Section64) { s.Type = uint32(elf.SHT_NOBITS) },
		"nothing at all": func(s *elf.Section64) { *s = elf.Section64{} },
	} {
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, patchSymbols(t, code, change), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 1<<42); err != nil { // it has holes
			t.Logf("truncate: %v", err)
		}
		file, _, err := openRegular(path)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		i := readImports(file)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		file.Close()
		if i != nil && (i.Listen || i.Accept) {
			t.Errorf("%s: imports %+v", name, i)
		}
		if took > 5*time.Second || after.TotalAlloc-before.TotalAlloc > 512<<20 {
			t.Errorf("%s: took %v and %d MiB", name, took, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
}

func TestOpenRegular(t *testing.T) {
	directory := t.TempDir()
	fifo := filepath.Join(directory, "fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, directory, "/dev/null", "/no/such"} {
		if file, _, err := openRegular(path); err == nil {
			file.Close()
			t.Errorf("%s is opened", path)
		}
	}
}

func FuzzReadImports(f *testing.F) {
	f.Add(readProgram(f, "sleep"))
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, code []byte) { importsOf(t, code) })
}
