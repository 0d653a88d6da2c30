package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stray/internal/testenv"
)

// followed is a command that runs once by itself and once by stray check, in
// turn.
type followed struct {
	name string
	// prepare makes what the command needs in a directory of its own.
	prepare func(b *testing.B, dir string)
	argv    []string
	flags   []string // of check
	// most is the ratio of the wall times, check to plain, that is good enough.
	most float64
	// peer runs the command too, and shall take least times as long as check; nil
	// for none. It costs much, and so runs once.
	peer  []string
	least float64
}

// threadsProgram computes, and makes system calls, in 16 threads.
const threadsProgram = `#define _GNU_SOURCE
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *run(void *unused) {
	volatile double x = 1;
	for (int i = 0; i < 20000000; i++) {
		x *= 1.0000001;
		if (i % 100 == 0)
			syscall(SYS_getppid);
	}
	return unused;
}

int main(void) {
	pthread_t t[16];
	for (int i = 0; i < 16; i++)
		if (pthread_create(&t[i], NULL, run, NULL))
			return 1;
	for (int i = 0; i < 16; i++)
		pthread_join(t[i], NULL);
	return 0;
}
`

// socketsProgram does nothing but open sockets.
const socketsProgram = `#include <sys/socket.h>
#include <unistd.h>

int main(void) {
	for (int i = 0; i < 50000; i++)
		close(socket(AF_INET, SOCK_STREAM, 0));
	return 0;
}
`

var followeds = []followed{
	{
		name: "2000-forks", most: 2,
		argv: []string{"sh", "-c", "i=0; while [ $i -lt 2000 ]; do /bin/true; i=$((i+1)); done"},
	},
	{
		name: "make-1000-targets", most: 2.2, argv: []string{"make", "-s", "-j2"},
		prepare: func(b *testing.B, dir string) {
			targets := make([]string, 1000)
			for i := range targets {
				targets[i] = fmt.Sprintf("t%d", i)
			}
			file(b, dir, "Makefile", "all: "+strings.Join(targets, " ")+"\nt%:\n\t@true $@; :\n")
		},
	},
	{name: "go-test", most: 1.15, argv: []string{"go", "test", "-count=1", "sort", "strings", "net/netip"}},
	{
		name: "16-threads", most: 1.05, argv: []string{"./threads"},
		prepare: func(b *testing.B, dir string) { compile(b, dir, "threads", threadsProgram) },
		peer:    []string{"valgrind", "--track-fds=yes", "--log-file=/dev/null", "./threads"}, least: 5,
	},
	{
		name: "50000-sockets-stacks", most: 40, argv: []string{"./sockets"}, flags: []string{"--stacks"},
		prepare: func(b *testing.B, dir string) { compile(b, dir, "sockets", socketsProgram) },
	},
	{
		name: "500-forks-stacks", most: 4, flags: []string{"--stacks"},
		argv: []string{"sh", "-c", "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done"},
	},
	{name: "go-test-stacks", most: 2, argv: []string{"go", "test", "-count=1", "sort", "strings", "net/netip"}, flags: []string{"--stacks"}},
	{
		name: "16-threads-stacks", most: 1.1, argv: []string{"./threads"}, flags: []string{"--stacks"},
		prepare: func(b *testing.B, dir string) { compile(b, dir, "threads", threadsProgram) },
	},
}

// compile makes a program in a directory.
func compile(b *testing.B, dir, name, source string) {
	b.Helper()
	file(b, dir, name+".c", source)
	path := filepath.Join(dir, name)
	if out, err := exec.Command("gcc", "-O1", "-pthread", "-o", path, path+".c").CombinedOutput(); err != nil {
		testenv.NeedWorking(b, "gcc", fmt.Errorf("%w\n%s", err, out))
	}
}

func file(b *testing.B, dir, name, text string) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCheck measures what it costs to be followed by stray check: the ratio
// of wall times in pairs of runs, one after the other.
func BenchmarkCheck(b *testing.B) {
	stray, err := stray()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range followeds {
		b.Run(f.name, func(b *testing.B) {
			if _, err := exec.LookPath(f.argv[0]); err != nil && !strings.HasPrefix(f.argv[0], "./") {
				b.Skip(err)
			}
			dir := b.TempDir()
			if f.prepare != nil {
				f.prepare(b, dir)
			}
			check := slices.Concat([]string{stray, "check"}, f.flags, []string{"--"}, f.argv)
			timed(b, dir, f.argv) // warms the caches, of files and of go
			var ratios []float64
			var took []float64
			for b.Loop() {
				plain, checked := timed(b, dir, f.argv), timed(b, dir, check)
				ratios = append(ratios, checked.Seconds()/plain.Seconds())
				took = append(took, checked.Seconds())
			}
			ratio := median(ratios)
			b.ReportMetric(ratio, "check/plain")
			if ratio > f.most {
				missed(b, "check takes %.2f times as long as the command alone, want at most %.2f", ratio, f.most)
			}
			if f.peer == nil {
				return
			}
			if _, err := exec.LookPath(f.peer[0]); err != nil {
				b.Logf("%s is left out: %v", f.peer[0], err)
				return
			}
			times := timed(b, dir, f.peer).Seconds() / median(took)
			b.ReportMetric(times, f.peer[0]+"/check")
			if times < f.least {
				missed(b, "%s takes %.1f times as long as check, want at least %.1f", f.peer[0], times, f.least)
			}
		})
	}
}

// timed runs a command in a directory and returns how long it took.
func timed(b *testing.B, dir string, argv []string) time.Duration {
	b.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return time.Since(began)
}
