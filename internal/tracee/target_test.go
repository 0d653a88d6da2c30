package tracee

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// runningTarget is a program that a test has started, and that ends with it.
type runningTarget struct {
	testing.TB
	command *exec.Cmd
	stdin   io.WriteCloser
	lines   *bufio.Scanner
	more    []string // what the line "ready" says besides
}

// start runs a program, and waits for its line "ready".
func start(t testing.TB, path string, arguments ...string) *runningTarget {
	t.Helper()
	command := exec.Command(path, arguments...)
	return startCommand(t, command)
}

func startCommand(t testing.TB, command *exec.Cmd) *runningTarget {
	t.Helper()
	if command.Stderr == nil {
		command.Stderr = os.Stderr
	}
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
	})
	r := &runningTarget{TB: t, command: command, stdin: stdin, lines: bufio.NewScanner(stdout)}
	r.more = r.expect("ready")
	return r
}

func (r *runningTarget) pid() int { return r.command.Process.Pid }

// target identifies the program.
func (r *runningTarget) target() Target {
	r.Helper()
	target, err := Identify(r.pid())
	if err != nil {
		r.Fatal(err)
	}
	return target
}

// expect reads the next line, whose first word has to be the one, and returns
// the others.
func (r *runningTarget) expect(word string) []string {
	r.Helper()
	line := make(chan string, 1)
	go func() {
		if r.lines.Scan() {
			line <- r.lines.Text()
		}
		close(line)
	}()
	select {
	case text := <-line:
		fields := strings.Fields(text)
		if len(fields) == 0 || fields[0] != word {
			r.Fatalf("the target says %q instead of %q: %s", text, word, r.describe())
		}
		return fields[1:]
	case <-time.After(20 * time.Second):
		r.Fatalf("the target does not say %q: %s", word, r.describe())
	}
	return nil
}

// describe is what /proc has on the program, for a failure.
func (r *runningTarget) describe() string {
	directory := fmt.Sprintf("/proc/%d/", r.pid())
	var text strings.Builder
	for _, name := range []string{"stat", "syscall"} {
		content, err := os.ReadFile(directory + name)
		fmt.Fprintf(&text, "%s: %s %v; ", name, content, err)
	}
	return text.String()
}

// value is the number that follows a word on the line "ready".
func (r *runningTarget) value(word string) int {
	r.Helper()
	for i, w := range r.more {
		if w == word && i+1 < len(r.more) {
			n, err := strconv.Atoi(r.more[i+1])
			if err == nil {
				return n
			}
		}
	}
	r.Fatalf("no %s in %q", word, r.more)
	return 0
}

// numbersOf reads the numbers on the next line, whose first word is given.
func (r *runningTarget) numbersOf(word string) []int {
	r.Helper()
	var values []int
	for _, field := range r.expect(word) {
		n, err := strconv.Atoi(field)
		if err != nil {
			r.Fatal(err)
		}
		values = append(values, n)
	}
	return values
}

// event is what the program waits for.
func (r *runningTarget) event() {
	r.Helper()
	if _, err := io.WriteString(r.stdin, "\n"); err != nil {
		r.Fatalf("%v; the program: %v", err, r.command.Wait())
	}
}

// connect is what a program in accept waits for.
func (r *runningTarget) connect() {
	r.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.value("port")))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { c.Close() })
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came true that %s", what)
		}
	}
}

// waitsIn waits until the thread sleeps in the system call, or in what goes on
// with it after an interruption.
func (r *runningTarget) waitsIn(tid, number int) {
	r.Helper()
	p, err := openProcess(r.pid())
	if err != nil {
		r.Fatal(err)
	}
	defer p.close()
	eventually(r, fmt.Sprintf("thread %d waits in call %d", tid, number), func() bool {
		line, err := member{p, tid}.callLine()
		return err == nil && (line.number == number || line.number == unix.SYS_RESTART_SYSCALL)
	})
}

// state is the letter of the process's state.
func (r *runningTarget) state() byte {
	r.Helper()
	p, err := openProcess(r.pid())
	if err != nil {
		r.Fatal(err)
	}
	defer p.close()
	stat, err := p.stat("stat")
	if err != nil {
		r.Fatal(err)
	}
	return stat.state
}

// do runs the script in the program, and fails the test if it fails.
func (r *runningTarget) do(opt Options, s script) ([]int, Report) {
	r.Helper()
	if opt.StopTimeout == 0 {
		opt.StopTimeout = 20 * time.Second // other tests want the processors too
	}
	values, report, err := runScript.Do(r.Context(), r.target(), opt, s)
	if err != nil {
		r.Fatalf("%v (report %+v; %s)", err, report, r.describe())
	}
	return values, report
}

// programs are the C programs of testdata, compiled once.
var programs struct {
	sync.Mutex
	directory string
	built     map[string]string
}

// program compiles testdata/name.c and returns the path of the program.
func program(t testing.TB, name string, flags ...string) string {
	t.Helper()
	gcc := testenv.NeedTool(t, "gcc", "gcc")
	programs.Lock()
	defer programs.Unlock()
	key := name + strings.Join(flags, "")
	if path := programs.built[key]; path != "" {
		return path
	}
	if programs.directory == "" {
		directory, err := os.MkdirTemp("", "tracee")
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(directory, 0o755) // for targets of another user
		programs.directory, programs.built = directory, map[string]string{}
	}
	path := filepath.Join(programs.directory, key)
	arguments := append([]string{"-O2", "-pthread", "-o", path, "testdata/" + name + ".c"}, flags...)
	if output, err := exec.Command(gcc, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, output)
	}
	programs.built[key] = path
	return path
}

func removePrograms() { os.RemoveAll(programs.directory) }

// startC runs testdata/target.c in the mode.
func startC(t testing.TB, mode ...string) *runningTarget {
	t.Helper()
	return start(t, program(t, "target", "-lrt"), mode...)
}
