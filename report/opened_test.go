package report_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

// followed is a run of check --stacks: a file that a C program has opened and
// duplicated, a listener that Go's runtime has opened, what an interpreter has, and
// names that mean something to whoever reads a report.
func followed() *report.Result {
	server := &fdscan.Process{PID: 40, PPID: 1, Comm: "server", Exe: "/src/repo/server", Cmdline: []string{"./server"}, User: "dev", UID: 1000}
	child := func(pid int) *fdscan.Process {
		return &fdscan.Process{PID: pid, PPID: 40, Comm: "sleep", Exe: "/bin/sleep", Cmdline: []string{"sleep", "60"}, User: "dev", UID: 1000}
	}
	libc := func(function string) fdscan.Frame {
		return fdscan.Frame{Function: function, Module: "/lib/x86_64-linux-gnu/libc.so.6", Offset: 0x27249}
	}
	own := func(function, file string, line int) fdscan.Frame {
		return fdscan.Frame{Function: function, File: file, Line: line, Module: "/src/repo/server", Offset: 0x1149}
	}
	inlined := own("connect_to", "/src/repo/src/net.c", 7)
	inlined.Inlined = true
	original := &fdscan.Opening{Call: "socket", Program: "server", Stack: []fdscan.Frame{
		libc("__socket"), inlined, own("open_backend", "/src/repo/src/net.c", 30), own("handle_request", "/src/repo/src/main.c", 9),
		own("main", "/src/repo/src/main.c", 20), libc("__libc_start_main"), own("_start", "", 0),
	}}
	hostile := &fdscan.Opening{Call: "openat", Program: "a\x1bb", Stack: []fdscan.Frame{
		own("f\n::error::<b>|`]]>\xff", "/src/repo/a b%,:\n#?é\xff.c", 3), {Module: "/src/re\npo/lib.so", Offset: 16},
	}}
	golang := &fdscan.Opening{Call: "socket", Program: "server", Stack: []fdscan.Frame{
		own("syscall.socket", "/usr/local/go/src/syscall/zsyscall_linux_amd64.go", 1541), own("net.sysSocket", "/usr/local/go/src/net/sock_cloexec.go", 21),
		own("main.listen", "/elsewhere/listen.go", 12), own("runtime.main", "/usr/local/go/src/runtime/proc.go", 290),
	}}
	python := &fdscan.Opening{Call: "openat", Program: "python3", Stack: []fdscan.Frame{
		libc("__open64"), {Function: "_io_open_impl", Module: "/usr/lib/libpython3.11.so.1.0", Offset: 9}, libc("__libc_start_main"),
	}}
	crossing := func(fd int, o *fdscan.Opening) *fdscan.Crossing {
		return &fdscan.Crossing{From: server, Count: 1, Into: []string{"sleep"}, Descriptor: &fdscan.Descriptor{
			Process: child(40 + fd), FD: fd, Kind: fdscan.Regular, Link: fmt.Sprintf("/srv/data%d", fd), Opening: o,
		}}
	}
	run := &inspect.Run{
		Argv: []string{"make", "test"}, Duration: time.Second, Processes: 7, Stacks: true, Directory: "/src/repo", SourceRoot: "/src/repo",
		Crossings: []*fdscan.Crossing{
			crossing(3, original), crossing(4, &fdscan.Opening{Call: "dup", Program: "server", Stack: original.Stack[3:5], Of: original}),
			crossing(5, hostile), crossing(6, nil),
		},
		Unclosed: []*fdscan.Unclosed{
			{Descriptor: &fdscan.Descriptor{Process: server, FD: 7, Kind: fdscan.Pipe, Link: "pipe:[5]", Inode: 5, Opening: golang}, Count: 1},
			{Descriptor: &fdscan.Descriptor{Process: server, FD: 8, Kind: fdscan.Regular, Link: "/srv/script", Opening: python}, Count: 2},
			{Descriptor: &fdscan.Descriptor{Process: server, FD: 9, Kind: fdscan.Regular, Link: "/srv/lost", Opening: &fdscan.Opening{Call: "accept4"}}, Count: 1},
		},
		Survivors: []*fdscan.Survivor{{Process: child(60), Locked: []*fdscan.Descriptor{
			{Process: child(60), FD: 11, Kind: fdscan.Regular, Link: "/run/lock", Opening: original},
		}}},
	}
	run.LeftBehind = []*fdscan.Process{run.Survivors[0].Process}
	snap := &fdscan.Snapshot{Processes: map[int]*fdscan.Process{}, TablesComplete: true, HoldersComplete: true}
	snap.Host.Name, snap.Host.Kernel = "host", "6.18.0"
	return &report.Result{Version: "1.2.3", Command: "check", Query: run.Argv, Outcome: inspect.Check(snap, run, rules.All())}
}

// TestOpened holds what every format says of where descriptors were opened.
func TestOpened(t *testing.T) {
	r := followed()
	var b strings.Builder
	for _, page := range []struct {
		format string
		width  int
	}{{"table", 0}, {"table", 80}, {"wide", 0}} {
		fmt.Fprintf(&b, "$ stray check --stacks -o %s -- make test (%d columns)\n%s\n", page.format, page.width, render(t, r, page.format, report.Style{Headers: true, Width: page.width}))
	}
	compare(t, "opened-stacks.txt", b.String())
	for _, format := range []string{"json", "sarif", "junit", "github", "gitlab", "markdown"} {
		text := render(t, r, format, report.Style{})
		if format == "sarif" {
			text = regexp.MustCompile(`(?m)^( *"(text|markdown)": ").{200,}(",?)$`).ReplaceAllString(text, "$1…$3")
		}
		compare(t, "opened-stacks."+format, text)
	}
	whole := compile(t, "")
	if err := validate(whole, render(t, r, "json", report.Style{})); err != nil {
		t.Error(err)
	}
}

// Who has not asked where descriptors were opened is told once how to.
func TestOpenedHint(t *testing.T) {
	r := followed()
	run := *r.Outcome.Run
	run.Stacks = false
	for _, c := range run.Crossings {
		c.Opening = nil
	}
	for _, tt := range []struct {
		argv       []string
		openAtExit bool
		noStacks   string
		want       string
	}{
		{argv: []string{"make", "te st", "it's"}, want: `next: stray check --stacks -- make 'te st' 'it'\''s'   shows where it was opened`},
		{argv: []string{"make", strings.Repeat("x", 200)}, want: "next: stray check --stacks -- COMMAND   shows where it was opened"},
		{argv: []string{"make"}, openAtExit: true, want: "next: stray check --stacks --open-at-exit -- make   shows where it was opened"},
		{argv: []string{"make"}, noStacks: "seccomp is refused"},
	} {
		run.Argv, run.OpenAtExit, run.NoStacks = tt.argv, tt.openAtExit, tt.noStacks
		o := inspect.Check(r.Outcome.Snapshot, &run, rules.All())
		text := render(t, &report.Result{Command: "check", Outcome: o}, "table", report.Style{})
		var got []string
		for line := range strings.Lines(text) {
			if strings.Contains(line, "--stacks") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if want := tt.want; len(got) > 1 || strings.Join(got, "\n") != want {
			t.Errorf("%q: %q, want %q", tt.argv, got, want)
		}
	}
}
