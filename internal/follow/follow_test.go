package follow_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stray/fdscan"
	"stray/internal/follow"
	"stray/internal/testenv"
	"stray/internal/tracee"
)

// one lets one command be followed at a time: signals have one destination.
var one sync.Mutex

// start follows a command to its end, and ends what it leaves behind.
func start(t *testing.T, o follow.Options, argv ...string) *follow.Run {
	t.Helper()
	one.Lock()
	defer one.Unlock()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		t.Fatal(err)
	}
	o.Path, o.Argv = path, argv
	if o.Env == nil {
		o.Env = os.Environ()
	}
	run, err := follow.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left := run.Kill(10 * time.Second); left > 0 {
			t.Errorf("%d survivors do not end", left)
		}
		run.Close()
	})
	return run
}

// told is what a run comes to, without the numbers that differ from run to run:
// "sleep got fd 3 FILE of leaks ×2". Where names is given, a path in it is
// written as its value.
func told(r *follow.Run, names map[string]string) []string {
	what := func(d *fdscan.Descriptor) string {
		switch {
		case d.Socket != nil && d.Socket.State == fdscan.Listen:
			return "listener"
		case names[d.Link] != "":
			return names[d.Link]
		case strings.HasPrefix(d.Link, "/"):
			return d.Link
		}
		return d.Kind.Name
	}
	lines := []string{}
	for _, c := range r.Crossings {
		line := fmt.Sprintf("%s got fd %d %s of %s", strings.Join(c.Into, ", "), c.FD, what(c.Descriptor), c.From.Comm)
		if c.Count > 1 {
			line += fmt.Sprintf(" ×%d", c.Count)
		}
		if c.Plumbing != "" {
			line += " by redirection"
		}
		if c.Closed == c.Count {
			line += ", closed"
		}
		lines = append(lines, line)
	}
	for _, s := range r.Survivors {
		line := s.Process.Comm + " survives"
		for _, stream := range s.Streams {
			line += " with " + stream
		}
		for _, d := range s.Ports {
			line += " with " + what(d)
		}
		for _, d := range s.Locked {
			line += " with lock on " + what(d)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// unclosed is what was open at exits: "leaks FILE".
func unclosed(r *follow.Run, names map[string]string) []string {
	lines := []string{}
	for _, u := range r.Unclosed {
		name := names[u.Link]
		if name == "" {
			name = u.Kind.Name
		}
		line := u.Process.Comm + " " + name
		if u.Signal != 0 {
			line += fmt.Sprintf(" signal %d", u.Signal)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

func equal(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// leaks is the C program of testdata.
var leaks = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "leaks")
	out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread", "-o", path, "testdata/leaks.c").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("gcc: %w\n%s", err, out)
	}
	return path, nil
})

// Every way in which a process comes to be another program, with a descriptor
// that it is not meant to have and without.
func TestEveryWay(t *testing.T) {
	testenv.NeedTool(t, "gcc", "gcc")
	program, err := leaks()
	if err != nil {
		t.Fatal(err)
	}
	const got = "sleep got fd 3 FILE of leaks"
	for _, tt := range []struct {
		way          string
		leaky, clean []string // crossings and survivors
		open         string   // at the exit, in both
		status       int
		processes    int
		unfollowed   string
	}{
		{way: "fork", processes: 2},
		{way: "fork+exec", leaky: []string{got}, processes: 2},
		{way: "vfork", leaky: []string{got}, processes: 2},
		{way: "posix_spawn", leaky: []string{got}, processes: 2},
		{way: "clone-files", leaky: []string{got}, processes: 2},
		{way: "clone-no-signal", leaky: []string{got}, processes: 2},
		{way: "thread-exec", leaky: []string{got}, processes: 1},
		{way: "leader-exits-first", leaky: []string{got}, processes: 1},
		{way: "thread-forks", leaky: []string{got}, processes: 2},
		{way: "sigkill", open: "leaks FILE signal 9", status: 137, processes: 1},
		{way: "closer", leaky: []string{"exe got fd 3 FILE of leaks, closed"}, processes: 2},
		{way: "storm", leaky: []string{got + " ×200"}, processes: 201},
		{way: "stops", processes: 2},
		{way: "exec-chain", leaky: []string{"env got fd 3 FILE of leaks"}, processes: 1},
		{way: "daemon", leaky: []string{got, "sleep survives"}, clean: []string{"sleep survives"}, processes: 3},
		// Nothing is seen of it before it is left behind.
		{way: "untraced", leaky: []string{"sleep survives"}, clean: []string{"sleep survives"}, processes: 1, unfollowed: "sleep"},
		{way: "moved", processes: 2},
		// Only what had FD_CLOEXEC had it taken off on purpose.
		{way: "uncloexec", leaky: []string{got}, processes: 2},
	} {
		for _, how := range []string{"leaky", "clean", "leaky with stacks", "clean with stacks"} {
			t.Run(tt.way+"/"+how, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "file")
				mood, _, stacks := strings.Cut(how, " ")
				if stacks && tt.unfollowed != "" {
					return // can open nothing, and ends
				}
				run := start(t, follow.Options{Stacks: stacks}, program, tt.way, mood, file)
				want := tt.leaky
				if mood == "clean" {
					want = tt.clean
				}
				names := map[string]string{file: "FILE"}
				equal(t, "crossings and survivors", want, told(run, names))
				var open []string
				if tt.open != "" {
					open = []string{tt.open}
				}
				equal(t, "open at exit", open, unclosed(run, names))
				status := run.Status.ExitStatus()
				if run.Status.Signaled() {
					status = 128 + int(run.Status.Signal())
				}
				if status != tt.status || run.Processes != tt.processes || run.Sampled || len(run.Unread) > 0 {
					t.Errorf("status %d, %d processes, sampled %v, unread %v; want %d, %d", status, run.Processes, run.Sampled, run.Unread, tt.status, tt.processes)
				}
				unfollowed := ""
				if run.Unfollowed != nil {
					unfollowed = run.Unfollowed.Comm
				}
				if unfollowed != tt.unfollowed {
					t.Errorf("not followed: %q, want %q", unfollowed, tt.unfollowed)
				}
			})
		}
	}
}

// What tools of builds do by themselves is a note; a number that is that of make's
// jobserver names no file.
func TestTools(t *testing.T) {
	testenv.NeedTool(t, "gcc", "gcc")
	flock := testenv.NeedTool(t, "flock", "util-linux")
	program, err := leaks()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctest, file := filepath.Join(dir, "ctest"), filepath.Join(dir, "file")
	if err := os.Link(program, ctest); err != nil {
		t.Fatal(err)
	}
	jobserver := append(os.Environ(), "MAKEFLAGS= -j3 --jobserver-auth=3,4")
	for name, tt := range map[string]struct {
		argv []string
		env  []string
		want string
	}{
		"ctest":     {argv: []string{ctest, "fork+exec", "leaky", file}, want: "sleep got fd 3 FILE of ctest by redirection"},
		"flock":     {argv: []string{flock, file, "sleep", "0"}, want: "sleep got fd 3 FILE of flock by redirection"},
		"jobserver": {argv: []string{program, "fork+exec", "leaky", file}, env: jobserver, want: "sleep got fd 3 FILE of leaks"},
	} {
		t.Run(name, func(t *testing.T) {
			run := start(t, follow.Options{Command: tracee.Command{Env: tt.env}}, tt.argv...)
			equal(t, "told", []string{tt.want}, told(run, map[string]string{file: "FILE"}))
		})
	}
}

// What Go's runtime keeps open is not the program's.
func TestGoAtExit(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := start(t, follow.Options{}, program, "-test.list=^$")
	equal(t, "open at exit", nil, unclosed(run, nil))
}

// Whoever is killed in the midst of a fork does not tell of it; what it has made
// runs all the same.
func TestKilledForking(t *testing.T) {
	testenv.NeedTool(t, "gcc", "gcc")
	program, err := leaks()
	if err != nil {
		t.Fatal(err)
	}
	run := start(t, follow.Options{Grace: time.Minute}, program, "killed-forking", "clean", filepath.Join(t.TempDir(), "file"))
	if run.Status.ExitStatus() != 0 || len(run.Survivors) != 0 || len(run.Crossings) != 0 {
		t.Errorf("status %v, told %v", run.Status, told(run, nil))
	}
}

// Nothing that programs do on purpose is told as a leak.
func TestQuiet(t *testing.T) {
	testenv.NeedTool(t, "bash", "bash")
	python := testenv.NeedTool(t, "python3", "python3")
	configure := script(t, "configure", `#!/bin/sh
exec 5>>config.log
exec 6>&1
exec 7<&0 </dev/null
uname >&5
(ls >&6)
cat <&7
`)
	redirecting := script(t, "redirecting", `
exec 4>log
( ls; ls ) >/dev/null
{ ls /dev/null >/dev/null; sleep 0.01; } 6>>log &
wait
( flock -n 9 || exit 1
  ls >/dev/null ) 9>>log
`)
	// A shell that the machine does not list is known by its script.
	unlisted := filepath.Join(t.TempDir(), "unlisted")
	if out, err := exec.Command("cp", "--", "/bin/sh", unlisted).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	multiprocessing := script(t, "mp.py", `
import multiprocessing, subprocess
def square(x):
    subprocess.run(["true"], check=True)
    return x * x
if __name__ == "__main__":
    for way in "fork", "spawn", "forkserver":
        context = multiprocessing.get_context(way)
        with context.Pool(2) as pool:
            assert pool.map(square, [2, 3]) == [4, 9]
        queue = context.Queue()
        process = context.Process(target=square, args=(3,))
        process.start(); process.join()
        assert process.exitcode == 0
`)
	makefile := script(t, "Makefile", "all: a b c d\na b:\n\t@sleep 0.01\nc d:\n\t@$(MAKE) -s -f $(firstword $(MAKEFILE_LIST)) sub$@\nsubc subd:\n\t@sleep 0.01\n")
	for name, tt := range map[string]struct {
		argv []string
		want []string
	}{
		"process substitution":    {argv: []string{"bash", "-c", `diff <(echo a) <(echo a); echo x | tee >(cat >/dev/null) >/dev/null; sleep 0.01`}},
		"two substitutions":       {argv: []string{"bash", "-c", `diff <(sort "$0") <(sort "$0"); cat <(ls /dev/null) <(ls /dev/null) <(ls /dev/null) >/dev/null; true`, configure}},
		"a substitution's reader": {argv: []string{"bash", "-c", `f() { ls /dev/null >/dev/null; cat "$1"; }; f <(true); source <(echo 'ls /dev/null >/dev/null; true'); true`}},
		"coprocess":               {argv: []string{"bash", "-c", `coproc cat; echo hi >&${COPROC[1]}; read -u ${COPROC[0]} line; ls >/dev/null; exec {COPROC[1]}>&-; wait`}},
		"subshells of bash":       {argv: []string{"bash", "-c", `cd "$0"; exec bash ./redirecting`, filepath.Dir(redirecting)}, want: []string{"X"}},
		"subshells of sh":         {argv: []string{"sh", "-c", `cd "$0"; exec sh ./redirecting`, filepath.Dir(redirecting)}, want: []string{"X"}},
		"subshells of another":    {argv: []string{"sh", "-c", `cd "$0"; exec "$1" ./redirecting`, filepath.Dir(redirecting), unlisted}, want: []string{"X"}},
		"a sourced script":        {argv: []string{"bash", "-c", `cd "$0"; exec bash -c 'source ./redirecting'`, filepath.Dir(redirecting)}, want: []string{"X"}},
		"a script as the input":   {argv: []string{"sh", "-c", `cd "$0"; exec sh <redirecting`, filepath.Dir(redirecting)}, want: []string{"X"}},
		"streams under a number":  {argv: []string{"sh", "-c", `exec 3>&1 4>&2; ls /dev/null >/dev/null 2>&1`}},
		"a file for one program":  {argv: []string{"bash", "-c", `x=9; ls /dev/null 8>/dev/full >/dev/null; true`}},
		"multiprocessing":         {argv: []string{python, multiprocessing}},
		"configure":               {argv: []string{"sh", "-c", "exec 7>&-; cd " + filepath.Dir(configure) + " && ./configure >out"}, want: []string{"cat got fd 5 X of configure by redirection"}},
		"make":                    {argv: []string{"make", "-s", "-j3", "-f", makefile}},
		"a redirection, by -c":    {argv: []string{"bash", "-c", `exec 3>"$0"; ls /dev/null >/dev/null; true`, filepath.Join(t.TempDir(), "x")}, want: []string{"ls got fd 3 X of bash by redirection"}},
		"a lock around a command": {argv: []string{"bash", "-c", `( flock -n 200; true; ls >/dev/null ) 200>"$0"`, filepath.Join(t.TempDir(), "lock")}, want: []string{"X"}},
	} {
		for _, stacks := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stacks %v", name, stacks), func(t *testing.T) {
				run := start(t, follow.Options{Grace: 10 * time.Second, Stacks: stacks}, tt.argv...)
				if run.Status.ExitStatus() != 0 {
					t.Errorf("exit %d", run.Status.ExitStatus())
				}
				for _, line := range told(run, nil) {
					if tt.want == nil || !strings.HasSuffix(line, " by redirection") {
						t.Errorf("told: %s", line)
					}
				}
			})
		}
	}
}

// An interpreter's script crosses as a note, as long as it is one and only read:
// no other file does that an argument names.
func TestOwnScript(t *testing.T) {
	python := testenv.NeedTool(t, "python3", "python3")
	const text = `
import os, subprocess, sys
fd = os.open(sys.argv[-1], int(sys.argv[1]))
os.set_inheritable(fd, True)
subprocess.run(["/bin/sleep", "0"], close_fds=False, check=True)
`
	for name, tt := range map[string]struct {
		content string
		flags   int
		note    bool
	}{
		"script":         {"#!/bin/interpreter\n", os.O_RDONLY, true},
		"PHP":            {"<?php echo 1;", os.O_RDONLY, true},
		"written to":     {"<?php echo 1;", os.O_RDWR, false},
		"data":           {"secret", os.O_RDONLY, false},
		"nothing at all": {"", os.O_RDONLY, false},
	} {
		t.Run(name, func(t *testing.T) {
			file := script(t, "file", tt.content)
			run := start(t, follow.Options{}, python, "-c", text, fmt.Sprint(tt.flags), file)
			var notes, faults int
			for _, c := range run.Crossings {
				switch {
				case c.Link == file && c.Plumbing != "":
					notes++
				case c.Link == file:
					faults++
				}
			}
			if notes+faults != 1 || notes == 1 != tt.note {
				t.Errorf("%d notes and %d errors of %v", notes, faults, told(run, nil))
			}
		})
	}
}
