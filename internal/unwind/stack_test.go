package unwind

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"stray/internal/testenv"
)

// plainFlags are those of a program as distributions build it.
var plainFlags = []string{"-g", "-O2", "-fomit-frame-pointer"}

// builds are the ways in which programs come.
var builds = map[string][]string{
	"pie":            {"-fpie", "-pie"},
	"fixed":          {"-fno-pie", "-no-pie"},
	"static":         {"-static", "-fno-pie", "-no-pie"},
	"static-pie":     {"-static-pie", "-fpie"},
	"no-table":       {"-Wl,--no-eh-frame-hdr"},
	"frame-pointers": {"-fno-omit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"},
	"dwarf-4":        {"-gdwarf-4", "-Os"},
}

func TestStacksOfC(t *testing.T) {
	request := []string{"make@memfd_create(name, 0)", "open_backend@make(name);", "handle_request@open_backend(name);"}
	after := func(calls ...string) []string { return append(slices.Clone(request), calls...) }
	for build, flags := range builds {
		t.Run(build, func(t *testing.T) {
			program := compile(t, "open.c", append(slices.Clone(plainFlags), flags...)...)
			u := New("/proc")
			defer u.Close()
			for _, tt := range []struct {
				how  string
				want []string
				main string // the call in main, of a stack that something interrupts
			}{
				{how: "plain", want: after(`main@handle_request("plain", argc)`)},
				{how: "thread", want: after("worker@handle_request(name, 100)")},
				{how: "signal", want: after(`on_signal@handle_request("signal", signal)`), main: "raise(SIGUSR1); /* on this stack */"},
				{how: "altstack", want: after(`on_signal@handle_request("signal", signal)`), main: "raise(SIGUSR1); /* on the other stack */"},
				{how: "deep", want: after(`deep@handle_request("deep", 3)`, "deep@/* once more */", "deep@/* once more */")},
				{how: "aligned", want: after(`aligned@handle_request("aligned",`, "main@aligned(argc)")},
				{how: "compiled", want: []string{"open_backend@make(name);", "", "compiled_at_run_time@made)(", "main@compiled_at_run_time()"}},
			} {
				t.Run(tt.how, func(t *testing.T) {
					all := stacksBy(t, u, program, tt.how)
					if len(all) != 2 {
						t.Fatalf("%d stacks, want 2", len(all))
					}
					want(t, all[0], tt.want...)
					if tt.main != "" {
						want(t, all[0], "main@"+tt.main)
					}
					if n := len(all[0]); tt.how == "deep" && n < maxCalls {
						t.Errorf("%d frames of a thousand, want the limit", n)
					}
					want(t, all[1], after("finish@handle_request(\"finish\", 5)", "main@finish();")...)
				})
			}
		})
	}
}

func TestStacksOfCPlusPlus(t *testing.T) {
	frames := stacks(t, compile(t, "open.cc", plainFlags...))[0]
	want(t, frames, "memfd_create", "pool::Connections::open@memfd_create(", "in_handler@// while handled", "main::{lambda(int)#1}::operator()@// by name", "main@call(1)")
}

// A program without names and lines has addresses that a debug file explains.
func TestSeparateDebugInformation(t *testing.T) {
	objcopy := testenv.NeedTool(t, "objcopy", "binutils")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(objcopy, args...).CombinedOutput(); err != nil {
			t.Fatalf("objcopy %v: %v\n%s", args, err, out)
		}
	}
	program := compile(t, "open.c", plainFlags...)
	whole := stacks(t, program, "plain")[0]
	symbols := filepath.Join(filepath.Dir(program), ".debug", "open.debug")
	if err := os.Mkdir(filepath.Dir(symbols), 0o755); err != nil {
		t.Fatal(err)
	}
	run("--only-keep-debug", "--compress-debug-sections", program, symbols)
	run("--strip-all", "--add-gnu-debuglink="+symbols, program)
	if got := stacks(t, program, "plain")[0]; !slices.Equal(got, whole) {
		t.Errorf("with a separate file\n%s\nwithout it was\n%s", told(got), told(whole))
	}

	// A file that belongs to another program explains nothing.
	other := compile(t, "open.c", "-g", "-O1")
	copyFile(t, other, symbols)
	stripped := stacks(t, program, "plain")[0]
	for i, f := range stripped {
		if f.Module == program && (f.Function != "" || f.Line != 0) {
			t.Errorf("frame %d has a name that no file of the program has:\n%s", i, told(stripped))
		}
	}
	// The call of make is inlined, which takes debugging information to know.
	whole = slices.DeleteFunc(whole, func(f Frame) bool { return f.Inlined && f.Module == program })
	offsets := func(frames []Frame) (o []uint64) {
		for _, f := range frames {
			if f.Module == program {
				o = append(o, f.Offset)
			}
		}
		return o
	}
	if a, b := offsets(whole), offsets(stripped); !slices.Equal(a, b) || len(a) < 4 {
		t.Errorf("offsets %#x with names, %#x without", a, b)
	}
}

// copyFile makes a copy of a file, in place of what has its name.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// A symbol table without lines, as of most programs that are installed.
func TestSymbolsOnly(t *testing.T) {
	program := compile(t, "open.c", "-O2", "-fomit-frame-pointer")
	want(t, stacks(t, program, "plain")[0], "memfd_create", "open_backend", "handle_request", "main")
}

// The library comes after the process is known.
func TestLibraryThatIsLoadedLater(t *testing.T) {
	library := compile(t, "library.c", append(slices.Clone(plainFlags), "-shared", "-fPIC")...)
	program := compile(t, "open.c", plainFlags...)
	frames := stacks(t, program, "library", library)[1]
	want(t, frames, "open_backend@make(name);", "library_call@then(", "main@call(open_backend)")
}

// What has been replaced or removed meanwhile is found as long as a process has
// it, if this one may follow the kernel's links to it.
func TestProgramThatIsDeleted(t *testing.T) {
	testenv.NeedRoot(t)
	program := compile(t, "open.c", plainFlags...)
	u := New("/proc")
	defer u.Close()
	var seen []Stack
	visit(t, []string{program, "plain"}, func(pid, tid int, r Registers) {
		os.Remove(program)
		if err := os.WriteFile(program, []byte("another file"), 0o755); err != nil {
			t.Error(err)
		}
		seen = append(seen, u.Stack(pid, tid, r, maxCalls))
	})
	frames := u.Frames(seen[0])
	want(t, frames, "make@memfd_create(name, 0)", "open_backend@make(name);")
	if m := frames[1].Module; m != program {
		t.Errorf("the program is called %q, want %q", m, program)
	}
}

// In another root, the names of files are others.
func TestProgramInAnotherRoot(t *testing.T) {
	testenv.NeedRoot(t)
	chroot := testenv.NeedTool(t, "chroot", "coreutils")
	program := compile(t, "open.c", append(slices.Clone(plainFlags), "-static")...)
	frames := stacks(t, chroot, filepath.Dir(program), "/open", "plain")[0]
	want(t, frames, "make@memfd_create(name, 0)", "open_backend@make(name);")
}

// The C library musl has neither call frame information nor frame pointers.
func TestStacksOfMusl(t *testing.T) {
	gcc := testenv.NeedTool(t, "musl-gcc", "musl-tools")
	for name, flags := range map[string][]string{"dynamic": nil, "static": {"-static"}, "no-plt": {"-fno-plt"}} {
		t.Run(name, func(t *testing.T) {
			program := compileBy(t, gcc, "open.c", append(slices.Clone(plainFlags), flags...)...)
			frames := stacks(t, program, "plain")[0]
			want(t, frames, "memfd_create", "make@memfd_create(name, 0)", "open_backend@make(name);", "handle_request@open_backend(name);", "main@handle_request(\"plain\", argc)")
			u := New("/proc")
			defer u.Close()
			var last Stack // the dynamic linker opens files before
			visitCalls(t, openCall, []string{program, "file"}, func(pid, tid int, r Registers) {
				last = u.Stack(pid, tid, r, maxCalls)
			})
			want(t, u.Frames(last), "open", "open_file@/* of another library */", "main@open_file(\"/dev/null\", argc)")
		})
	}
}

// Equal stacks are one, so that a million of them take no more room.
func TestEqualStacks(t *testing.T) {
	program := compile(t, "open.c", plainFlags...)
	u := New("/proc")
	defer u.Close()
	seen := map[Stack]int{}
	visit(t, []string{program, "many"}, func(pid, tid int, r Registers) {
		seen[u.Stack(pid, tid, r, maxCalls)]++
	})
	if len(seen) != 2 {
		t.Errorf("%d different stacks, want 2: %v", len(seen), seen)
	}
}

// BenchmarkStack measures the stack of a place that is known; that of a process
// that is not, of programs that are; and the first of all.
func BenchmarkStack(b *testing.B) {
	program := compile(b, "open.c", plainFlags...)
	for name, forget := range map[string]func(u *Unwinder, pid int) *Unwinder{
		"known":       func(u *Unwinder, pid int) *Unwinder { return u },
		"new process": func(u *Unwinder, pid int) *Unwinder { u.Forget(pid); return u },
		"first":       func(u *Unwinder, pid int) *Unwinder { u.Close(); return New("/proc") },
	} {
		b.Run(name, func(b *testing.B) {
			u := New("/proc")
			visited := false
			visit(b, []string{program, "many"}, func(pid, tid int, r Registers) {
				if visited {
					return
				}
				visited = true
				b.ReportAllocs()
				calls := 0
				for b.Loop() {
					u = forget(u, pid)
					calls = len(u.Stack(pid, tid, r, maxCalls).trace.calls)
				}
				b.ReportMetric(float64(calls), "calls")
			})
			u.Close()
		})
	}
}
