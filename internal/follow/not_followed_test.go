package follow_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/follow"
	"stray/internal/testenv"
	"stray/internal/tracee"
)

// A program that looks for lost memory, at its end, by tracing itself fails when it
// is followed, and is named.
func TestSanitizers(t *testing.T) {
	testenv.NeedTool(t, "gcc", "gcc")
	source := filepath.Join(t.TempDir(), "clean.c")
	if err := os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{
		"address": {"-fsanitize=address"}, "static address": {"-fsanitize=address", "-static-libasan"}, "leak": {"-fsanitize=leak"},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "clean")
			if out, err := exec.Command("gcc", append(flags, "-o", program, source)...).CombinedOutput(); err != nil {
				testenv.NeedWorking(t, "the sanitizer", fmt.Errorf("%w\n%s", err, out))
			}
			run := start(t, follow.Options{}, program)
			if run.Status.ExitStatus() == 0 || run.FailedTracer == nil || run.FailedTracer.Comm != "clean" {
				t.Errorf("status %v, blamed %+v", run.Status, run.FailedTracer)
			}
			run = start(t, follow.Options{Sample: true}, program)
			if run.Status.ExitStatus() != 0 {
				t.Errorf("not followed: status %v", run.Status)
			}
		})
	}
}

// A command that cannot be executed is not run, and the reason is exec's.
func TestNotExecutable(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{"/no/such/program": unix.ENOENT, plain: unix.EACCES, "/": unix.EACCES} {
		for _, sample := range []bool{false, true} {
			_, err := follow.Start(context.Background(), follow.Options{Command: tracee.Command{Path: path, Argv: []string{path}}, Sample: sample})
			if !errors.Is(err, want) {
				t.Errorf("%s, sampled %v: %v, want %v", path, sample, err, want)
			}
		}
	}
}

// A script without an interpreter line is one for sh(1), as for execvp(3).
func TestScriptWithoutInterpreter(t *testing.T) {
	path := script(t, "plain", "exit 5\n")
	if run := start(t, follow.Options{}, path); run.Status.ExitStatus() != 5 {
		t.Errorf("exit %d", run.Status.ExitStatus())
	}
}

// Without ptrace, what lasts is found all the same.
func TestSampled(t *testing.T) {
	testenv.NeedTool(t, "gcc", "gcc")
	program, err := leaks()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	run := start(t, follow.Options{Sample: true}, program, "daemon", "leaky", file)
	equal(t, "survivors", []string{"sleep survives"}, told(run, nil))
	if !run.Sampled || run.Refused != nil {
		t.Errorf("sampled %v, refused %v", run.Sampled, run.Refused)
	}
	run = start(t, follow.Options{Sample: true}, "sh", "-c", "exec 3>"+file+"; sleep 0.3; exit 4")
	equal(t, "crossing", []string{"sleep got fd 3 FILE of sh by redirection"}, told(run, map[string]string{file: "FILE"}))
	if run.Status.ExitStatus() != 4 {
		t.Errorf("exit %d", run.Status.ExitStatus())
	}
}

// A signal that came before the relay has ended the context: it ends the command,
// or keeps it from being run.
func TestContextEnds(t *testing.T) {
	one.Lock()
	defer one.Unlock()
	mark := filepath.Join(t.TempDir(), "mark")
	if err := unix.Mkfifo(mark, 0o600); err != nil {
		t.Fatal(err)
	}
	command := tracee.Command{Path: "/bin/sh", Argv: []string{"sh", "-c", `: >"$0"; exec sleep 600`, mark}, Env: os.Environ()}
	for _, sample := range []bool{false, true} {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			defer cancel()
			if _, err := os.ReadFile(mark); err != nil {
				t.Error(err)
			}
		}()
		run, err := follow.Start(ctx, follow.Options{Command: command, Sample: sample})
		if err != nil {
			t.Fatal(err)
		}
		run.Close()
		if !run.Status.Signaled() || run.Status.Signal() != unix.SIGTERM {
			t.Errorf("sampled %v: status %#x, want SIGTERM", sample, uint32(run.Status))
		}
		if _, err := follow.Start(ctx, follow.Options{Command: command, Sample: sample}); !errors.Is(err, context.Canceled) {
			t.Errorf("sampled %v: run in a context that has ended: %v", sample, err)
		}
	}
}
