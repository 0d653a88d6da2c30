package follow_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/follow"
	"stray/internal/testenv"
)

// opens is the C program of testdata that has functions to open things in.
var opens = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "opens")
	out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-g", "-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread", "-o", path, "testdata/opens.c").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("gcc: %w\n%s", err, out)
	}
	return path, nil
})

// openedBy says how a descriptor was opened: "socket open_listener<main", of the
// functions of the program alone; that of which it is a duplicate behind "of". Each
// has to have a line in the source.
func openedBy(t *testing.T, o *fdscan.Opening, program, source string) string {
	t.Helper()
	if o == nil {
		return "unknown"
	}
	var calls []string
	for _, f := range o.Stack {
		if f.Module != program || f.Function == "_start" {
			continue
		}
		calls = append(calls, f.Function)
		if filepath.Base(f.File) != source || f.Line == 0 {
			t.Errorf("%s is at %s:%d, want %s", f.Function, f.File, f.Line, source)
		}
	}
	text := o.Call + " " + strings.Join(calls, "<")
	if o.Of != nil {
		text += " of " + openedBy(t, o.Of, program, source)
	}
	return text
}

// openings are the openings of what a run tells, with what they are of.
func openings(t *testing.T, r *follow.Run, program, source string) (lines []string) {
	t.Helper()
	add := func(what string, d *fdscan.Descriptor) {
		lines = append(lines, fmt.Sprintf("%s %d: %s", what, d.FD, openedBy(t, d.Opening, program, source)))
	}
	for _, c := range r.Crossings {
		add("crossed", c.Descriptor)
	}
	for _, u := range r.Unclosed {
		add("open", u.Descriptor)
	}
	for _, s := range r.Survivors {
		for _, d := range slices.Concat(s.Ports, s.Locked) {
			add("left", d)
		}
	}
	slices.Sort(lines)
	return lines
}

// Where descriptors were opened, of C without frame pointers.
func TestOpenings(t *testing.T) {
	testenv.NeedTool(t, "gcc", "gcc")
	program, err := opens()
	if err != nil {
		t.Fatal(err)
	}
	for way, want := range map[string][]string{
		"crosses":   {"crossed 3: socket open_listener<open_backend<main", "open 3: socket open_listener<open_backend<main"},
		"left-open": {"open 3: openat open_file<main"},
		"pair": {
			"crossed 3: pipe2 open_pair<main", "crossed 4: pipe2 open_pair<main", "open 3: pipe2 open_pair<main",
		},
		"duplicate": {"crossed 40: fcntl main of openat open_file<main"},
		"thread":    {"crossed 3: openat open_file<opening", "open 3: openat open_file<opening"},
		"forked": {
			"crossed 3: openat open_file<main",
			"crossed 4: dup keep<main of openat open_file<main", "crossed 4: socket open_listener<open_backend<main",
			"open 3: openat open_file<main",
			"open 4: dup keep<main of openat open_file<main", "open 4: socket open_listener<open_backend<main",
		},
		"reused":  {"crossed 3: openat open_file<main", "open 3: openat open_file<main"},
		"unseen":  {"crossed 5: unknown", "open 3: socketpair main", "open 5: unknown"},
		"process": {"crossed 5: unknown", "open 3: socketpair main"},
		"removed": {"crossed 3: openat open_file<main", "open 3: openat open_file<main"},
		"renamed": {"crossed 3: openat open_file<main", "open 3: openat open_file<main"},
		"behind":  {"left 5: socket open_listener<open_backend<main"},
	} {
		t.Run(way, func(t *testing.T) {
			if way == "process" {
				testenv.NeedKernel(t, 6, 9)
			}
			run := start(t, follow.Options{Stacks: true}, program, way, filepath.Join(t.TempDir(), "file"))
			equal(t, "openings", want, openings(t, run, program, "opens.c"))
			if run.Status.ExitStatus() != 0 || !run.Stacks || run.Foreign != nil || len(run.Unread) > 0 {
				t.Errorf("status %#x, stacks %v (%v), foreign %v, unread %v", uint32(run.Status), run.Stacks, run.NoStacks, run.Foreign, run.Unread)
			}
			if way != "behind" {
				return
			}
			// The judge of listeners hears of it too.
			h := run.Snapshot.Sockets[0].Holders[0]
			if by := openedBy(t, h.Opening, program, "opens.c"); by != "socket open_listener<open_backend<main" {
				t.Errorf("its holder: %s", by)
			}
		})
	}
}

// goOpens opens in functions of its own, in goroutines, and by package net.
const goOpens = `package main

import (
	"net"
	"os/exec"
	"syscall"
)

//go:noinline
func openRaw(path string) int {
	fd, err := syscall.Open(path, 0, 0)
	if err != nil {
		panic(err)
	}
	return fd
}

//go:noinline
func serve() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	return l
}

func main() {
	done := make(chan int)
	go func() { done <- openRaw("/etc/passwd") }()
	<-done
	l := serve()
	if err := exec.Command("/bin/sleep", "0").Run(); err != nil {
		panic(err)
	}
	_ = l
}
`

func TestOpeningsOfGo(t *testing.T) {
	dir := t.TempDir()
	source, program := filepath.Join(dir, "opens.go"), filepath.Join(dir, "opens")
	if err := os.WriteFile(source, []byte(goOpens), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{"with DWARF": nil, "stripped": {"-ldflags=-s -w"}} {
		t.Run(name, func(t *testing.T) {
			build := exec.Command("go", append(append([]string{"build"}, flags...), "-o", program, source)...)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			run := start(t, follow.Options{Stacks: true}, program)
			at := func(o *fdscan.Opening, functions ...string) {
				t.Helper()
				var got []string
				for _, f := range o.Stack {
					if strings.HasPrefix(f.Function, "main.") && f.File == source {
						got = append(got, f.Function)
					}
				}
				equal(t, o.Call, functions, got)
			}
			if len(run.Crossings) != 1 || run.Crossings[0].Opening == nil {
				t.Fatalf("told: %v", told(run, nil))
			}
			at(run.Crossings[0].Opening, "main.openRaw", "main.main.func1")
			listener := slices.IndexFunc(run.Unclosed, func(u *fdscan.Unclosed) bool { return u.Socket != nil && u.Socket.State == fdscan.Listen })
			if listener < 0 || run.Unclosed[listener].Opening == nil {
				t.Fatalf("open: %v", unclosed(run, nil))
			}
			at(run.Unclosed[listener].Opening, "main.serve", "main.main")
			for _, u := range run.Unclosed {
				if strings.HasPrefix(u.Link, "/sys/") {
					t.Errorf("the runtime's %s is told of", u.Link)
				}
			}
		})
	}
}

// cppOpens opens in a method, below one that throws and catches.
const cppOpens = `#include <fcntl.h>
#include <stdexcept>
#include <stdlib.h>
#include <string>

struct store {
	int fd = -1;
	__attribute__((noinline)) void open_at(const std::string &path) {
		if (path.empty())
			throw std::runtime_error("no path");
		fd = ::open(path.c_str(), O_RDONLY);
	}
	template <class T> __attribute__((noinline)) int load(T path) {
		try {
			open_at("");
		} catch (const std::exception &) {
			open_at(path);
		}
		return fd;
	}
};

int main(void) {
	store s;
	int fd = s.load("/etc/passwd");
	return system("/bin/sleep 0") + fd - fd;
}
`

func TestOpeningsOfCPlusPlus(t *testing.T) {
	gpp := testenv.NeedTool(t, "g++", "g++")
	dir := t.TempDir()
	source, program := filepath.Join(dir, "opens.cc"), filepath.Join(dir, "opens")
	if err := os.WriteFile(source, []byte(cppOpens), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gpp, "-g", "-O2", "-fno-optimize-sibling-calls", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := start(t, follow.Options{Stacks: true}, program)
	if len(run.Crossings) != 1 {
		t.Fatalf("told: %v", told(run, nil))
	}
	var lines []string
	for _, f := range run.Crossings[0].Opening.Stack {
		if f.File == source {
			lines = append(lines, strings.TrimSpace(strings.Split(cppOpens, "\n")[f.Line-1]))
		}
	}
	equal(t, "lines", []string{"fd = ::open(path.c_str(), O_RDONLY);", "open_at(path);", `int fd = s.load("/etc/passwd");`}, lines)
}

// What crosses from different places is told of apart, and what crosses from one, in
// whatever process, once.
func TestOpeningsTally(t *testing.T) {
	python := testenv.NeedTool(t, "python3", "python3")
	path := script(t, "many.py", `
import os, subprocess, sys
def one(): return os.open("/etc/passwd", os.O_RDONLY)
if len(sys.argv) > 1:
    fds = [one() for _ in range(50)]
else:
    for _ in range(3):
        subprocess.run([sys.executable, "-I", sys.argv[0], "again"], check=True)
`)
	run := start(t, follow.Options{Stacks: true}, python, "-I", path)
	var kept, count int
	for _, u := range run.Unclosed {
		if u.Link == "/etc/passwd" {
			kept, count = kept+1, count+u.Count
			if u.Opening == nil || len(u.Opening.Stack) < 5 {
				t.Errorf("opened by %+v", u.Opening)
			}
		}
	}
	// One stack for each version of the code that opens, and never one for each descriptor.
	if count != 150 || kept > 10 {
		t.Errorf("%d kept for %d descriptors", kept, count)
	}
}

// What is left behind is followed for as long as it lives, and hears signals.
func TestLeftBehindGoesOn(t *testing.T) {
	ready, answer := filepath.Join(t.TempDir(), "ready"), filepath.Join(t.TempDir(), "answer")
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	run := start(t, follow.Options{Stacks: true}, "sh", "-c", `(trap 'cat /dev/null && echo heard >"$1"; exit' TERM; : >"$0"; while :; do sleep 0.01; done) & read x <"$0"; exit 3`, ready, answer)
	if len(run.Survivors) == 0 || run.Status.ExitStatus() != 3 {
		t.Fatalf("status %#x, told %v", uint32(run.Status), told(run, nil))
	}
	if left := run.Kill(time.Minute); left != 0 {
		t.Errorf("%d are left", left)
	}
	if text, err := os.ReadFile(answer); err != nil || string(text) != "heard\n" {
		t.Errorf("it said %q, %v", text, err)
	}
}

// A program of 32 bits is named: its calls are not seen.
func TestForeign(t *testing.T) {
	testenv.NeedTool(t, "gcc", "gcc")
	source, program := filepath.Join(t.TempDir(), "foreign.c"), filepath.Join(t.TempDir(), "foreign")
	if err := os.WriteFile(source, []byte("void _start(void) { __asm__ volatile(\"mov $1, %eax; xor %ebx, %ebx; int $0x80\"); }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-m32", "-static", "-nostdlib", "-o", program, source).CombinedOutput(); err != nil {
		testenv.NeedWorking(t, "gcc -m32", fmt.Errorf("%w\n%s", err, out))
	}
	run := start(t, follow.Options{Stacks: true}, "sh", "-c", `"$0"; exit 0`, program)
	if run.Foreign == nil || run.Foreign.Comm != "foreign" {
		t.Errorf("foreign: %+v", run.Foreign)
	}
}

// A command may serve a file system (FUSE), and execute programs from it: their files
// are not waited for while it stands still, nor kept open when it unmounts it.
func TestServesItsOwnFiles(t *testing.T) {
	testenv.NeedRoot(t)
	bindfs := testenv.NeedTool(t, "bindfs", "bindfs")
	testenv.NeedTool(t, "gcc", "gcc")
	program, err := opens()
	if err != nil {
		t.Fatal(err)
	}
	served := t.TempDir()
	// Were it to hang, no signal would end it: this does.
	defer time.AfterFunc(time.Minute, func() { unix.Unmount(served, unix.MNT_FORCE|unix.MNT_DETACH) }).Stop()
	script := `"$0" -f "${1%/*}" "$2" &
until mountpoint -q "$2"; do sleep 0.01; done
"$2/${1##*/}" crosses unused && umount "$2" && wait`
	run := start(t, follow.Options{Stacks: true}, "sh", "-c", script, bindfs, program, served)
	if run.Status != 0 {
		unix.Unmount(served, unix.MNT_DETACH)
		t.Errorf("status %#x", uint32(run.Status))
	}
	if len(run.Crossings) != 1 || run.Crossings[0].Opening == nil {
		t.Errorf("crossings %v, want one with its opening", run.Crossings)
	}
}
