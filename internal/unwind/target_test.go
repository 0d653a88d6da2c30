package unwind

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// maxCalls is the limit of the stacks that tests ask for.
const maxCalls = 64

// compile compiles a C or C++ program of the test data with the flags, and returns its path.
func compile(t testing.TB, source string, flags ...string) string {
	t.Helper()
	gcc := testenv.NeedTool(t, "gcc", "gcc")
	if filepath.Ext(source) == ".cc" {
		gcc = testenv.NeedTool(t, "g++", "g++")
	}
	return compileBy(t, gcc, source, flags...)
}

// compileBy is compile with another compiler.
func compileBy(t testing.TB, gcc, source string, flags ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), strings.TrimSuffix(source, filepath.Ext(source)))
	args := append([]string{"-o", program, filepath.Join("testdata", source)}, flags...)
	if out, err := exec.Command(gcc, args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc %v: %v\n%s", args, err, out)
	}
	return program
}

// visit runs the command, and calls see whenever one of its threads is about to
// call memfd_create(2), which nothing does that the tests have not written.
func visit(t testing.TB, command []string, see func(pid, tid int, r Registers)) {
	t.Helper()
	visitCalls(t, unix.SYS_MEMFD_CREATE, command, see)
}

// visitCalls is visit for another system call.
func visitCalls(t testing.TB, call uint64, command []string, see func(pid, tid int, r Registers)) {
	t.Helper()
	// ptrace(2) is the thread's business.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.SysProcAttr = &unix.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	t.Cleanup(func() { cmd.Process.Release() })
	const options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE
	entering := map[int]bool{}
	for first := true; ; {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatalf("wait: %v", err)
		}
		if status.Exited() || status.Signaled() {
			if tid != pid {
				continue
			}
			if status.Signaled() || status.ExitStatus() != 0 {
				t.Errorf("%v ends with status %#x", command, status)
			}
			return
		}
		if first {
			first = false
			if err := unix.PtraceSetOptions(pid, options); err != nil {
				unix.Kill(pid, unix.SIGKILL)
				t.Errorf("ptrace: %v", err)
			}
		}
		deliver := 0
		switch signal := status.StopSignal(); signal {
		case unix.SIGTRAP | 0x80:
			entering[tid] = !entering[tid]
			var regs unix.PtraceRegs
			switch err := unix.PtraceGetRegs(tid, &regs); err {
			case nil:
			case unix.ESRCH:
				continue // another thread has ended the process meanwhile
			default:
				t.Errorf("ptrace: %v", err)
			}
			if r, number := registers(&regs); entering[tid] && number == call {
				see(pid, tid, r)
			}
		case unix.SIGTRAP, unix.SIGSTOP:
		default:
			deliver = int(signal)
		}
		unix.PtraceSyscall(tid, deliver)
	}
}

// stacks returns the frames of the stacks that visit sees, named after the
// command has ended.
func stacks(t *testing.T, command ...string) [][]Frame {
	t.Helper()
	u := New("/proc")
	defer u.Close()
	return stacksBy(t, u, command...)
}

// stacksBy is stacks with an Unwinder that has seen others.
func stacksBy(t *testing.T, u *Unwinder, command ...string) (all [][]Frame) {
	t.Helper()
	var seen []Stack
	visit(t, command, func(pid, tid int, r Registers) {
		if len(seen) == 0 {
			u.Forget(pid) // another process had the number
		}
		seen = append(seen, u.Stack(pid, tid, r, maxCalls))
	})
	for _, s := range seen {
		all = append(all, u.Frames(s))
	}
	return all
}

// want checks that the calls are among the frames, one after the other without
// gaps. A call is a function, and where its line is to be checked too,
// FUNCTION@TEXT, with text that the line of the source has, and none before it.
func want(t *testing.T, frames []Frame, calls ...string) {
	t.Helper()
	matches := func(f Frame, call string) bool {
		function, text, hasLine := strings.Cut(call, "@")
		if f.Function != function {
			return false
		}
		return !hasLine || f.Line > 0 && f.Line == lineOf(t, f.File, text)
	}
	for i := range frames {
		if rest := frames[i:]; len(rest) >= len(calls) && slices.EqualFunc(rest[:len(calls)], calls, matches) {
			return
		}
	}
	t.Errorf("there is no %q in\n%s", calls, told(frames))
}

// lineOf returns the number of the first line of a source file that has the text.
func lineOf(t *testing.T, file, text string) int {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, _, ok := strings.Cut(string(source), text)
	if !ok {
		t.Fatalf("%s has no %q", file, text)
	}
	return 1 + strings.Count(before, "\n")
}

// told writes the frames as a person would read them.
func told(frames []Frame) string {
	var b strings.Builder
	for _, f := range frames {
		fmt.Fprintf(&b, "%s %s:%d (%s+%#x)", f.Function, f.File, f.Line, f.Module, f.Offset)
		if f.Inlined {
			b.WriteString(" inlined")
		}
		b.WriteString("\n")
	}
	return b.String()
}
