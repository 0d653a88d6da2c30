package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// world is a scene that has been built, in namespaces of its own.
type world struct {
	scene
	// holders are the pids that hold the listener, in the world's numbering.
	holders []int

	generator *exec.Cmd
	stdin     io.Closer
	orders    *json.Encoder
	answers   *json.Decoder
	stdout    *os.File // of the last command, a memfd
	stderr    *os.File
}

// build makes a world, which ends with the test.
func build(tb testing.TB, s scene) *world {
	tb.Helper()
	testenv.NeedRoot(tb)
	testenv.NeedNetNS(tb)
	testenv.NeedPIDNS(tb)
	w := &world{scene: s, stdout: memory(tb, "stdout"), stderr: memory(tb, "stderr")}
	w.generator = exec.Command("/proc/self/exe")
	w.generator.Env = append(os.Environ(), worldEnv+"="+s.Name, directoryEnv+"="+tb.TempDir(),
		"GODEBUG=containermaxprocs=0", // or the runtime keeps two files of its cgroup open
		"GORACE=atexit_sleep_ms=0",    // or each end takes a second with -race
	)
	w.generator.Stderr = os.Stderr
	w.generator.ExtraFiles = []*os.File{w.stdout, w.stderr}
	w.generator.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWNS}
	stdin, err := w.generator.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := w.generator.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := w.generator.Start(); err != nil {
		tb.Fatalf("start load generator: %v", err)
	}
	w.stdin = stdin
	w.orders, w.answers = json.NewEncoder(stdin), json.NewDecoder(stdout)
	tb.Cleanup(func() {
		if err := w.end(); err != nil {
			tb.Error(err)
		}
	})
	var r ready
	if err := w.answers.Decode(&r); err != nil {
		tb.Fatalf("build world %s: %v", s.Name, err)
	}
	if r.Error != "" {
		tb.Fatalf("build world %s: %s", s.Name, r.Error)
	}
	w.holders = r.Holders
	return w
}

// memory is a file in memory.
func memory(tb testing.TB, name string) *os.File {
	tb.Helper()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		tb.Fatal(os.NewSyscallError("memfd_create", err))
	}
	f := os.NewFile(uintptr(fd), name)
	tb.Cleanup(func() { f.Close() })
	return f
}

// end closes the load generator's stdin and waits for it. The end of a pid
// namespace's process 1 is the end of all its processes, and is not reported
// before they are gone: pid_namespaces(7).
func (w *world) end() error {
	if w.stdin == nil {
		return nil
	}
	err := w.stdin.Close()
	w.stdin = nil
	return errors.Join(err, w.generator.Wait())
}

// run runs a command in the world. Its output is in w.stdout and w.stderr
// until the next.
func (w *world) run(argv []string, uid int) (usage, error) {
	for _, f := range []*os.File{w.stdout, w.stderr} {
		if err := f.Truncate(0); err != nil {
			return usage{}, err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil { // the offset is the command's too
			return usage{}, err
		}
	}
	if err := w.orders.Encode(order{Argv: argv, UID: uid}); err != nil {
		return usage{}, err
	}
	var u usage
	if err := w.answers.Decode(&u); err != nil {
		return usage{}, fmt.Errorf("run %q: %w", argv, err)
	}
	if u.Error != "" {
		return usage{}, fmt.Errorf("run %q: %s", argv, u.Error)
	}
	return u, nil
}

// output returns what the last command wrote.
func output(f *os.File) (string, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	text, err := io.ReadAll(f)
	return string(text), err
}

// members returns the processes of the world, process 1 aside, as a map from
// the pid in our pid namespace to that in the world's.
func (w *world) members(t *testing.T) map[int]int {
	t.Helper()
	home, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", w.generator.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	members := inPIDNamespace(t, home)
	delete(members, w.generator.Process.Pid)
	return members
}

func inPIDNamespace(t *testing.T, link string) map[int]int {
	t.Helper()
	found := make(map[int]int)
	paths, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if l, err := os.Readlink(path); err != nil || l != link {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		inner := strings.Fields(statusField(t, pid, "NSpid"))
		if found[pid], err = strconv.Atoi(inner[len(inner)-1]); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func statusField(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "\n"+name+":\t")
	if !ok {
		t.Fatalf("no %s in the status of pid %d", name, pid)
	}
	value, _, _ := strings.Cut(after, "\n")
	return value
}

// TestWorldIsWhatItsSceneSays looks at a world from outside, without any of
// the tools that are measured in it.
func TestWorldIsWhatItsSceneSays(t *testing.T) {
	for _, name := range []string{"small", "threads"} {
		t.Run(name, func(t *testing.T) {
			s, _ := findScene(name)
			w := build(t, s)
			members := w.members(t)
			if len(members) != s.Processes {
				t.Errorf("%d processes, want %d", len(members), s.Processes)
			}
			m := s.mix()
			listener, tcp := tcpSockets(t, w.generator.Process.Pid)
			wantTCP := map[string]int{"LISTEN": s.Processes*m.listeners + 1, "ESTABLISHED": s.Processes * m.conns}
			if diff := cmp.Diff(wantTCP, tcp); diff != "" {
				t.Errorf("TCP sockets (-want +got):\n%s", diff)
			}
			var holders []int
			var all, closing int
			for pid, inner := range members {
				kinds, closeOnExec := descriptors(t, pid, listener)
				if kinds["listener"] == 1 {
					holders = append(holders, inner)
				}
				delete(kinds, "listener")
				want := map[string]int{
					"stdio": 3, "file": m.files, "pipe": m.pipes, "eventfd": m.events,
					"socket": m.listeners + m.conns + m.units,
				}
				if diff := cmp.Diff(want, kinds); diff != "" {
					t.Fatalf("descriptors of pid %d (-want +got):\n%s", pid, diff)
				}
				all += s.Descriptors
				closing += closeOnExec
				threads, _ := strconv.Atoi(statusField(t, pid, "Threads"))
				if threads < s.Threads || s.Threads == 1 && threads > 1 {
					t.Errorf("%d threads in pid %d, want %d", threads, pid, s.Threads)
				}
			}
			if closing != all/2 {
				t.Errorf("%d of %d descriptors are close-on-exec, want half", closing, all)
			}
			slices.Sort(holders)
			if diff := cmp.Diff(w.holders, holders); diff != "" || len(holders) != holderCount {
				t.Errorf("holders (-told +found):\n%s", diff)
			}
		})
	}
}

// tcpSockets counts the sockets of /proc/PID/net/tcp by state and returns the
// inode of the listener on heldPort.
func tcpSockets(t *testing.T, pid int) (listener string, states map[string]int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		t.Fatal(err)
	}
	states = make(map[string]int)
	names := map[string]string{"01": "ESTABLISHED", "0A": "LISTEN"}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		fields := strings.Fields(line)
		states[names[fields[3]]]++
		if strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", heldPort)) {
			listener = fields[9]
		}
	}
	return listener, states
}

// descriptors counts the descriptors of a process by kind, and those that are
// close-on-exec.
func descriptors(t *testing.T, pid int, listener string) (kinds map[string]int, closeOnExec int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	kinds = make(map[string]int)
	for _, e := range entries {
		link, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case link == os.DevNull:
			kinds["stdio"]++
		case link == "socket:["+listener+"]":
			kinds["listener"]++
		case strings.HasPrefix(link, "socket:"):
			kinds["socket"]++
		case strings.HasPrefix(link, "pipe:"):
			kinds["pipe"]++
		case link == "anon_inode:[eventfd]":
			kinds["eventfd"]++
		case strings.HasPrefix(filepath.Base(link), "f"):
			kinds["file"]++
		default:
			kinds[link]++
		}
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		_, flags, _ := strings.Cut(string(info), "flags:\t")
		flags, _, _ = strings.Cut(flags, "\n")
		bits, err := strconv.ParseUint(flags, 8, 64)
		if err != nil {
			t.Fatal(err)
		}
		if bits&unix.O_CLOEXEC != 0 {
			closeOnExec++
		}
	}
	return kinds, closeOnExec
}

func TestWorldLeavesNothing(t *testing.T) {
	for _, name := range []string{"small", "threads"} {
		t.Run(name, func(t *testing.T) {
			s, _ := findScene(name)
			w := build(t, s)
			// Held open, the namespace keeps its number from being given again.
			home, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", w.generator.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			defer home.Close()
			link, err := os.Readlink(home.Name())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.end(); err != nil {
				t.Error(err)
			}
			if left := inPIDNamespace(t, link); len(left) != 0 {
				t.Errorf("processes left behind: %v", left)
			}
		})
	}
}

func TestWorldRunsCommands(t *testing.T) {
	s, _ := findScene("small")
	w := build(t, s)
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		script                 string
		uid                    int
		exit                   int
		wantStdout, wantStderr string
	}{
		{script: "echo out; echo err >&2; exit 7", exit: 7, wantStdout: "out\n", wantStderr: "err\n"},
		{script: "kill -TERM $$", exit: 128 + 15},
		{script: "id -u; id -G", uid: nobody, wantStdout: "65534\n65534\n"},
		{script: "ulimit -n; ls /proc/self/fd", wantStdout: "1024\n0\n1\n2\n3\n"}, // 3 is ls's own
	} {
		u, err := w.run([]string{shell, "-c", test.script}, test.uid)
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := output(w.stdout)
		if err != nil {
			t.Fatal(err)
		}
		stderr, err := output(w.stderr)
		if err != nil {
			t.Fatal(err)
		}
		if stdout != test.wantStdout || stderr != test.wantStderr || u.Exit != test.exit {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", test.script, u.Exit, stdout, stderr)
		}
		if u.Wall <= 0 || u.MaxRSS <= 0 {
			t.Errorf("%s: used %+v", test.script, u)
		}
	}
	if _, err := w.run([]string{"/nonexistent"}, 0); err == nil || !strings.Contains(err.Error(), unix.ENOENT.Error()) {
		t.Errorf("run /nonexistent: %v", err)
	}
}
