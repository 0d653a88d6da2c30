package unwind

import (
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

// build compiles a C program of the test data with the flags, and returns its path.
func build(t testing.TB, source string, flags ...string) string {
	t.Helper()
	gcc := testenv.NeedTool(t, "gcc", "gcc")
	program := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), ".c"))
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
			if err := unix.PtraceGetRegs(tid, &regs); err != nil {
				t.Errorf("ptrace: %v", err)
			}
			if r, number := registers(&regs); entering[tid] && number == unix.SYS_MEMFD_CREATE {
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
func stacks(t *testing.T, command ...string) (all [][]Frame) {
	t.Helper()
	u := New("/proc")
	defer u.Close()
	var seen []Stack
	visit(t, command, func(pid, tid int, r Registers) {
		seen = append(seen, u.Stack(pid, tid, r, maxCalls))
	})
	for _, s := range seen {
		all = append(all, u.Frames(s))
	}
	return all
}

// want checks that the functions, and their lines where these are given as
// FUNCTION:LINE, are among the frames, one after the other without gaps.
func want(t *testing.T, frames []Frame, functions ...string) {
	t.Helper()
	matches := func(f Frame, want string) bool {
		return f.Function == want || f.Function+":"+itoa(f.Line) == want
	}
	for i := range frames {
		if rest := frames[i:]; len(rest) >= len(functions) && slices.EqualFunc(rest[:len(functions)], functions, matches) {
			return
		}
	}
	t.Errorf("there is no %v in\n%s", functions, told(frames))
}
