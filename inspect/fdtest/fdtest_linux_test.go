package fdtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

func TestMain(m *testing.M) {
	if leaks, ok := mains[os.Getenv(mainVariable)]; ok {
		VerifyTestMain(main(func() int { code := m.Run(); leaks(); return code }))
	}
	if os.Getenv(sceneVariable) != "" {
		os.Exit(m.Run()) // VerifyNone is what is tried there
	}
	VerifyTestMain(m)
}

type main func() int

func (m main) Run() int { return m() }

// again runs this test binary anew, with something in its environment.
func again(t *testing.T, variable string, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{"-test.timeout=60s"}, args...)...)
	cmd.Env = append(os.Environ(), variable)
	cmd.Dir = t.TempDir()
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func TestVerifyNone(t *testing.T) {
	for name, s := range scenes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, code := again(t, sceneVariable+"="+name, "-test.run=^TestScene$", "-test.v")
			if !strings.Contains(output, "=== RUN   TestScene/leaks\n") {
				t.Fatalf("the scene was not played:\n%s", output)
			}
			var lines []string
			for line := range strings.Lines(output) {
				if text, ok := strings.CutPrefix(strings.TrimSpace(line), "fd "); ok {
					lines = append(lines, "fd "+text)
				}
			}
			if failed := code != 0; failed != (len(s.want) > 0) || len(lines) != len(s.want) {
				t.Fatalf("exit status %d, %d descriptors, want %d:\n%s", code, len(lines), len(s.want), output)
			}
			for i, want := range s.want {
				if !regexp.MustCompile("^" + want).MatchString(lines[i]) {
					t.Errorf("says %q, want match for %s", lines[i], want)
				}
			}
		})
	}
}

// mainVariable in the environment makes TestMain leak something.
const mainVariable = "FDTEST_MAIN"

var mains = map[string]func(){
	"nothing": func() {},
	"file":    func() { keep(os.Open("/dev/null")) },
}

func TestVerifyTestMain(t *testing.T) {
	for _, tt := range []struct {
		leak, want string
		code       int
		args       []string
	}{
		{leak: "nothing", want: `(?m)^PASS$`},
		{leak: "file", want: `\nfdtest: the tests have leaked 1 descriptor:\n\tfd \d+: device /dev/null \(O_RDONLY, FD_CLOEXEC\)\n$`, code: 1},
		// What package testing keeps open is no leak of the tests.
		{leak: "nothing", want: `(?m)^PASS$`, args: []string{"-test.cpuprofile=cpu.out", "-test.trace=trace.out", "-test.testlogfile=log"}},
		{leak: "nothing", want: `(?m)^PASS$`, args: []string{"-test.cpuprofile=cpu.out", "-test.trace=trace.out", "-test.outputdir=/tmp"}},
	} {
		args := append([]string{"-test.run=^$"}, tt.args...)
		for i, a := range args {
			if a == "-test.outputdir=/tmp" {
				args[i] = "-test.outputdir=" + t.TempDir()
			}
		}
		output, code := again(t, mainVariable+"="+tt.leak, args...)
		if leaks := strings.Contains(output, "fdtest:"); leaks != (tt.code != 0) || code != tt.code || !regexp.MustCompile(tt.want).MatchString(output) {
			t.Errorf("%s %v: exit status %d, want %d; says %q, want match for %s", tt.leak, tt.args, code, tt.code, output, tt.want)
		}
	}
}

// A failure stays the failure that it is.
func TestRunKeepsTheExitStatus(t *testing.T) {
	var stderr bytes.Buffer
	var leak *os.File
	code := run(main(func() int {
		leak, _ = os.Open("/dev/null")
		return 7
	}), &stderr, []Option{RetryFor(0)})
	leak.Close()
	if code != 7 || !strings.Contains(stderr.String(), "/dev/null") {
		t.Errorf("exit status %d, says %q", code, stderr.String())
	}
	if code := run(main(func() int { return 0 }), &stderr, nil); code != 0 {
		t.Errorf("exit status %d of tests that leak nothing", code)
	}
}

// recorder is a testing.TB that notes failures.
type recorder struct {
	*testing.T
	failure string
}

func (r *recorder) Errorf(format string, args ...any) { r.failure += fmt.Sprintf(format, args...) }

func TestVerifyNoneInheritable(t *testing.T) {
	look := func() string {
		r := &recorder{T: t}
		VerifyNoneInheritable(r, RetryFor(0))
		return r.failure
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if failure := look(); failure != "" {
		t.Errorf("what package net opens can be inherited: %s", failure)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	want := `^fdtest: 1 descriptor can be inherited by every program that is started:\n\tfd \d+: tcp socket 0\.0\.0\.0:0 \(O_RDWR, no FD_CLOEXEC\)$`
	if failure := look(); !regexp.MustCompile(want).MatchString(failure) {
		t.Errorf("says %q, want match for %s", failure, want)
	}
	syscall.CloseOnExec(fd)
	if failure := look(); failure != "" {
		t.Errorf("sealed, and still: %s", failure)
	}
}

// What the program was started with is none of its leaks.
func TestInheritedDescriptorsDoNotCount(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestVerifyNoneInheritable$")
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.ExtraFiles = []*os.File{file}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, output)
	}
}

func TestVerifyNoneRefusesParallelTests(t *testing.T) {
	for name, test := range map[string]func(t *testing.T){
		"parallel": func(t *testing.T) {
			t.Parallel()
			r := &fatal{T: t}
			r.verify()
			if !strings.Contains(r.failure, "cannot tell the descriptors of parallel tests apart") {
				t.Errorf("says %q", r.failure)
			}
		},
		"parallel later": func(t *testing.T) {
			VerifyNone(t)
			defer func() {
				if recover() == nil {
					t.Error("the test may become parallel")
				}
			}()
			t.Parallel()
		},
	} {
		t.Run(name, test)
	}
}

// fatal is a testing.TB whose Fatal comes back.
type fatal struct {
	*testing.T
	failure string
}

func (f *fatal) Fatal(args ...any) { f.failure = fmt.Sprint(args...); panic(f) }

func (f *fatal) verify() {
	defer func() { recover() }()
	VerifyNone(f)
}

// The environment is afterwards what it was.
func TestVerifyNoneLeavesTheEnvironment(t *testing.T) {
	before := os.Environ()
	t.Run("", func(t *testing.T) { VerifyNone(t) })
	if after := os.Environ(); strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("%q, was %q", after, before)
	}
}

func TestTakeAndDiff(t *testing.T) {
	before, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "file")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	after, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	opened, closed := Diff(before, after), Diff(after, before)
	if len(opened) != 1 || len(closed) != 0 || opened[0].Name != path || opened[0].Kind != "file" || opened[0].Inode == 0 || !opened[0].CloseOnExec {
		t.Errorf("opened %v, closed %v", opened, closed)
	}
	if again := Diff(after, after); len(again) != 0 {
		t.Errorf("a snapshot differs from itself in %v", again)
	}
	if all := Diff(Snapshot{}, after); len(all) != len(after.Descriptors()) {
		t.Errorf("%d of %d are new since nothing was open", len(all), len(after.Descriptors()))
	}
}

// Two sockets in succession differ although number and addresses are the same.
func TestSocketsHaveCookies(t *testing.T) {
	seen := map[uint64]bool{}
	for range 2 {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		d, err := describe(fd)
		syscall.Close(fd)
		if err != nil || d.Cookie == 0 || seen[d.Cookie] {
			t.Errorf("cookie %d, %v", d.Cookie, err)
		}
		seen[d.Cookie] = true
	}
}

func memfd(name string) (int, error) {
	return call(map[string]uintptr{"amd64": 319, "arm64": 279}, uintptr(unsafe.Pointer(&append([]byte(name), 0)[0])))
}

func eventfd() (int, error) { return call(map[string]uintptr{"amd64": 290, "arm64": 19}, 0) }

// call makes a system call that package syscall does not know everywhere.
func call(numbers map[string]uintptr, first uintptr) (int, error) {
	fd, _, errno := syscall.Syscall(numbers[runtime.GOARCH], first, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
