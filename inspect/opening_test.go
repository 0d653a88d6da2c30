package inspect

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stray/fdscan"
)

func frame(module, function, file string, line int) fdscan.Frame {
	return fdscan.Frame{Module: module, Function: function, File: file, Line: line, Offset: 0x40}
}

// What is a program's own code, and what are the libraries that it is linked with.
func TestOwnCalls(t *testing.T) {
	const program = "/src/repo/server"
	for _, tt := range []struct {
		frame fdscan.Frame
		own   bool
	}{
		{frame(program, "open_backend", "/src/repo/net.c", 3), true},
		{frame(program, "open_backend", "", 0), true},
		{frame(program, "", "", 0), true},
		{frame("/usr/lib/libpq.so.5", "pqsecure_open", "", 0), true},
		{frame("/usr/lib/x86_64-linux-gnu/libc.so.6", "__socket", "", 0), false},
		{frame("/lib/ld-linux-x86-64.so.2", "_dl_open", "", 0), false},
		{frame("/lib/ld-musl-x86_64.so.1", "socket", "", 0), false},
		{frame(program, "_start", "", 0), false},
		{frame(program, "__socket", "../sysdeps/unix/syscall-template.S", 120), false},
		{frame("/usr/lib/libstdc++.so.6", "std::basic_filebuf::open", "", 0), false},
		{frame(program, "std::__basic_file<char>::open", "/usr/include/c++/12/fstream", 7), false},
		{frame(program, "std::net::tcp::TcpListener::bind", "/rustc/abc/library/std/src/net/tcp.rs", 7), false},
		{frame(program, "main.serve", "/src/repo/main.go", 7), true},
		{frame(program, "example.com/net.Listen", "/src/repo/net/listen.go", 7), true},
		{frame(program, "stray/internal/follow.Start", "/src/repo/internal/follow/follow.go", 7), true},
		{frame(program, "net.Listen", "/src/repo/net/listen.go", 7), true}, // a module of that name
		{frame(program, "net.Listen", "/usr/local/go/src/net/dial.go", 7), false},
		{frame(program, "net.(*sysListener).listenTCP", "net/tcpsock_posix.go", 7), false}, // -trimpath
		{frame(program, "internal/poll.(*FD).Accept", "/usr/local/go/src/internal/poll/fd_unix.go", 7), false},
		{frame(program, "runtime.goexit", "/usr/local/go/src/runtime/asm_amd64.s", 7), false},
		{frame(program, "golang.org/x/sys/unix.Socket", "/root/go/pkg/mod/golang.org/x/sys@v0.1.0/unix/syscall.go", 7), false},
		{frame("/usr/bin/python3.11", "_PyEval_EvalFrameDefault", "", 0), false},
		{frame("/usr/lib/libpython3.11.so.1.0", "builtin_open", "", 0), false},
		{frame("/usr/lib/python3.11/lib-dynload/_socket.cpython-311-x86_64-linux-gnu.so", "", "", 0), false},
		{frame("/site-packages/zmq/_zmq.cpython-311-x86_64-linux-gnu.so", "zmq_open", "", 0), true},
		{frame("/usr/bin/nodejs-server", "main", "", 0), true},
		{frame("/usr/bin/node", "uv__socket", "", 0), false},
		{frame("[anonymous]", "", "", 0), false},
	} {
		o := &fdscan.Opening{Stack: []fdscan.Frame{tt.frame}}
		if own := len(OwnCalls(o)) == 1; own != tt.own {
			t.Errorf("%+v is its own: %v", tt.frame, own)
		}
	}
}

func TestOpeningText(t *testing.T) {
	libc := frame("/lib/libc.so.6", "__socket", "", 0)
	at := func(line int) fdscan.Frame { return frame("/repo/server", "f", "/repo/src/f.c", line) }
	for _, tt := range []struct {
		opening fdscan.Opening
		want    []string
	}{
		{fdscan.Opening{Call: "socket", Stack: []fdscan.Frame{libc, at(1), at(2)}}, []string{"opened by socket(2) at src/f.c:1 f ← src/f.c:2 f"}},
		{fdscan.Opening{Call: "socket", Stack: []fdscan.Frame{at(1), at(2), at(3), at(4), at(5)}}, []string{"opened by socket(2) at src/f.c:1 f ← src/f.c:2 f ← src/f.c:3 f ← src/f.c:4 f ← …"}},
		{fdscan.Opening{Call: "openat", Stack: []fdscan.Frame{frame("/repo/server", "", "", 0)}}, []string{"opened by openat(2) at server+0x40"}},
		{fdscan.Opening{Call: "socket", Stack: []fdscan.Frame{frame("/repo/server", "socket", "", 0), at(1)}}, []string{"opened by socket(2) at src/f.c:1 f"}},
		{fdscan.Opening{Call: "socket", Stack: []fdscan.Frame{frame("/repo/lib.so", "PQopen", "", 0), at(1)}}, []string{"opened by socket(2) at PQopen (lib.so) ← src/f.c:1 f"}},
		{fdscan.Opening{Call: "openat", Stack: []fdscan.Frame{libc}}, []string{"opened by openat(2) in the runtime, and not in code of the program's own"}},
		{fdscan.Opening{Call: "openat", Stack: []fdscan.Frame{libc, frame("/bin/bash", "redir_open", "", 0)}}, []string{"opened by openat(2) in a shell script, whose lines this stack does not tell"}},
		{fdscan.Opening{Call: "accept4"}, []string{"accepted by accept4(2), and its stack could not be read"}},
		{
			fdscan.Opening{Call: "fcntl", Stack: []fdscan.Frame{at(7)}, Of: &fdscan.Opening{Call: "pipe2", Stack: []fdscan.Frame{frame("/elsewhere/lib.so", "g", "/elsewhere/g.c", 1)}}},
			[]string{"duplicated by fcntl(2) at src/f.c:7 f", "opened by pipe2(2) at /elsewhere/g.c:1 g"},
		},
	} {
		if diff := cmp.Diff(tt.want, OpeningText(&tt.opening, "/repo")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// A line of source is one below the working directory, and no path that leads out of
// it again.
func TestSource(t *testing.T) {
	for _, tt := range []struct {
		dir   string
		files []string
		want  string
	}{
		{"/repo", []string{"/repo/src/f.c"}, "src/f.c"},
		{"/", []string{"/src/f.c"}, "src/f.c"},
		{"/repo", []string{"/usr/include/f.h", "/repo/f.c"}, "f.c"},
		{"/repo", []string{"/repo/../etc/f.c"}, ""},
		{"/repo", []string{"/repository/f.c"}, ""},
		{"/repo", []string{"src/f.c", "../f.c", ""}, ""},
		{"", []string{"/repo/f.c"}, ""},
	} {
		f := Finding{Opening: &fdscan.Opening{}}
		for _, file := range tt.files {
			f.Opening.Stack = append(f.Opening.Stack, frame("/repo/server", "f", file, 3))
		}
		file, line, ok := f.Source(tt.dir)
		if diff := cmp.Diff(tt.want, file, cmpopts.EquateEmpty()); diff != "" || ok != (tt.want != "") || ok && line != 3 {
			t.Errorf("%q in %q: %q:%d, %v", tt.files, tt.dir, file, line, ok)
		}
	}
	if _, _, ok := (&Finding{}).Source("/repo"); ok {
		t.Error("a line without an opening")
	}
}
