package fdtest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// sceneVariable in the environment makes TestScene play a scene.
const sceneVariable = "FDTEST_SCENE"

// kept keeps what a scene leaks from being garbage.
var kept []any

func keep[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	kept = append(kept, v)
	return v
}

// scene is a test that leaks something, or does not.
type scene struct {
	play func(t *testing.T)
	// want are what the lines of the failure have to match; none for a test that
	// passes.
	want []string
	opts []Option
}

const (
	cloexec   = `FD_CLOEXEC\)`
	noCloexec = `no FD_CLOEXEC\)`
	loopback  = `127\.0\.0\.1:\d+`
)

// scenes are what VerifyNone is tried on, with real descriptors.
var scenes = map[string]scene{
	"nothing": {play: func(t *testing.T) {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		t.Cleanup(func() { keep(os.Open("/dev/null")).Close() })
	}},
	"file": {
		play: func(t *testing.T) {
			keep(os.OpenFile(filepath.Join(t.TempDir(), "spool\n"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600))
		},
		want: []string{`fd \d+: file "/.*/spool\\n(?: \(deleted\))?" \(O_WRONLY\|O_APPEND, ` + cloexec},
	},
	"directory": {
		play: func(*testing.T) { keep(os.Open("/proc/self/")) },
		want: []string{`fd \d+: directory /proc/\d+ \(O_RDONLY, ` + cloexec},
	},
	"path only": {
		play: func(*testing.T) { keep(syscall.Open("/", 0o10000000, 0)) },
		want: []string{`fd \d+: directory / \(O_PATH, ` + noCloexec},
	},
	"pipe": {
		play: func(*testing.T) {
			r, w, err := os.Pipe()
			keep(r, err)
			keep(w, err)
		},
		want: []string{`fd \d+: pipe read end pipe:\[\d+\] \(O_RDONLY\|O_NONBLOCK, ` + cloexec, `fd \d+: pipe write end pipe:\[\d+\] \(O_WRONLY\|O_NONBLOCK, ` + cloexec},
	},
	"listener": {
		play: func(*testing.T) { keep(net.Listen("tcp4", "127.0.0.1:0")) },
		want: []string{`fd \d+: (?:mp)?tcp listener ` + loopback + ` \(O_RDWR\|O_NONBLOCK, ` + cloexec},
	},
	"connection": {
		play: func(t *testing.T) {
			listener, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			keep(net.Dial("tcp4", listener.Addr().String()))
			keep(listener.Accept())
		},
		want: []string{
			`fd \d+: tcp socket ` + loopback + ` → ` + loopback + ` \(O_RDWR\|O_NONBLOCK, ` + cloexec,
			`fd \d+: (?:mp)?tcp socket ` + loopback + ` → ` + loopback + ` \(O_RDWR\|O_NONBLOCK, ` + cloexec,
		},
	},
	"datagrams": {
		play: func(*testing.T) { keep(net.ListenPacket("udp4", "127.0.0.1:0")) },
		want: []string{`fd \d+: udp socket ` + loopback + ` \(`},
	},
	"unix": {
		play: func(t *testing.T) { keep(net.Listen("unix", fmt.Sprintf("@fdtest-%d", os.Getpid()))) },
		want: []string{`fd \d+: unix stream listener @fdtest-\d+ \(`},
	},
	"socket pair": {
		play: func(*testing.T) {
			pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET, 0)
			keep(pair, err)
		},
		want: []string{`fd \d+: unix seqpacket socket socket:\[\d+\] \(O_RDWR, ` + noCloexec, `fd \d+: unix seqpacket socket socket:\[\d+\] \(O_RDWR, ` + noCloexec},
	},
	"netlink": {
		play: func(*testing.T) {
			keep(syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE))
		},
		want: []string{`fd \d+: netlink socket .*\(O_RDWR, ` + cloexec},
	},
	"epoll": {
		play: func(*testing.T) { keep(syscall.EpollCreate1(0)) },
		want: []string{`fd \d+: eventpoll \(O_RDWR, ` + noCloexec},
	},
	"eventfd": {
		play: func(*testing.T) { keep(eventfd()) },
		want: []string{`fd \d+: eventfd(?: \S+)? \(O_RDWR, ` + noCloexec},
	},
	"inotify": {
		play: func(*testing.T) { keep(syscall.InotifyInit1(syscall.IN_CLOEXEC)) },
		want: []string{`fd \d+: inotify \(O_RDONLY, ` + cloexec},
	},
	"memfd": {
		play: func(*testing.T) { keep(memfd("cache")) },
		want: []string{`fd \d+: memfd cache \(O_RDWR, ` + noCloexec},
	},
	"pidfd and pipe of a command": {
		play: func(t *testing.T) {
			cmd := exec.Command("cat")
			stdin, err := cmd.StdinPipe()
			keep(stdin, err)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			keep(cmd, nil)
		},
		want: []string{`fd \d+: pipe write end pipe:\[\d+\] \(`, `fd \d+: pidfd(?: \S+)? \(`},
	},
	"output of a command": {
		play: func(t *testing.T) {
			cmd := exec.Command("true")
			stdout, err := cmd.StdoutPipe()
			keep(stdout, err)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := cmd.Process.Wait(); err != nil { // and not cmd.Wait, which closes the pipe
				t.Fatal(err)
			}
		},
		want: []string{`fd \d+: pipe read end pipe:\[\d+\] \(`},
	},
	"body of a response": {
		play: func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}))
			keep(http.Get(server.URL))
			server.Listener.Close() // and both ends of the connection stay
		},
		want: []string{`fd \d+: (?:mp)?tcp socket ` + loopback + ` → ` + loopback + ` \(`, `fd \d+: (?:mp)?tcp socket ` + loopback + ` → ` + loopback + ` \(`},
	},
	"body of a response, closed": {play: func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		defer server.Close()
		client := server.Client()
		response, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}},
	"dup": {
		play: func(*testing.T) { keep(syscall.Dup(1)) },
		want: []string{`fd \d+: .* no FD_CLOEXEC\)`},
	},
	"replaced": {
		play: func(t *testing.T) {
			// Under the number that it had before, what is open now is another file.
			if err := syscall.Dup3(keep(syscall.Open("/dev/zero", syscall.O_RDONLY, 0)), number, syscall.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			syscall.Close(kept[len(kept)-1].(int))
		},
		want: []string{`fd 400: device /dev/zero \(O_RDONLY, FD_CLOEXEC\), was: device /dev/null \(O_RDWR, FD_CLOEXEC\)`},
	},
	"replaced by a socket of its kind": {
		play: func(t *testing.T) {
			listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			file, err := listener.File()
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if err := syscall.Dup3(int(file.Fd()), number+1, 0); err != nil {
				t.Fatal(err)
			}
		},
		want: []string{`fd 401: (?:mp)?tcp listener ` + loopback + ` \(.*\), was: tcp socket 0\.0\.0\.0:0 \(O_RDWR, FD_CLOEXEC\)`},
	},
	"slowly": {play: func(*testing.T) {
		r, w, err := os.Pipe()
		keep(r, err)
		time.AfterFunc(100*time.Millisecond, func() { r.Close(); w.Close() })
	}},
	"too slowly": {
		play: func(*testing.T) {
			r, w, err := os.Pipe()
			keep(r, err)
			time.AfterFunc(time.Hour, func() { r.Close(); w.Close() })
		},
		want: []string{`fd \d+: pipe read end`, `fd \d+: pipe write end`},
		opts: []Option{RetryFor(0)},
	},
	"ignored": {
		play: func(*testing.T) {
			keep(os.Open("/dev/null"))
			keep(os.Open("/dev/zero"))
		},
		want: []string{`fd \d+: device /dev/zero`},
		opts: []Option{Ignore(func(d Descriptor) bool { return d.Name == "/dev/null" })},
	},
	"parallel subtests": {
		play: func(t *testing.T) {
			for range 3 {
				t.Run("", func(t *testing.T) {
					t.Parallel()
					keep(os.Open("/dev/null"))
				})
			}
		},
		want: []string{`fd \d+: device /dev/null`, `fd \d+: device /dev/null`, `fd \d+: device /dev/null`},
	},
	"splice": {play: func(t *testing.T) {
		// TCP to TCP goes through a pipe, which package net keeps for next time.
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		pair := func() (dialed, accepted net.Conn) {
			dialed, err := net.Dial("tcp4", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if accepted, err = listener.Accept(); err != nil {
				t.Fatal(err)
			}
			return dialed, accepted
		}
		in, from := pair()
		to, out := pair()
		for _, c := range []net.Conn{from, to, out} {
			defer c.Close()
		}
		io.WriteString(in, "data")
		in.Close()
		if n, err := io.Copy(to, from); n != 4 || err != nil {
			t.Fatal(n, err)
		}
		if !kept1MiB(t) {
			t.Fatal("package net keeps no pipe: the scene shows nothing")
		}
	}},
}

// number is where scenes find a descriptor that is theirs to replace; number+1
// is a socket.
const number = 400

// TestScene plays the scene of the environment, in a process of its own.
func TestScene(t *testing.T) {
	s, ok := scenes[os.Getenv(sceneVariable)]
	if !ok {
		return // the whole of the tests is run, and not one scene
	}
	if err := syscall.Dup3(keep(syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)), number, syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Dup3(keep(syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)), number+1, syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Run("leaks", func(t *testing.T) {
		VerifyNone(t, append([]Option{RetryFor(300 * time.Millisecond)}, s.opts...)...)
		s.play(t)
	})
	runtime.KeepAlive(kept)
}

// kept1MiB reports whether a pipe of package net is open.
func kept1MiB(t *testing.T) bool {
	now, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range now.Descriptors() {
		if d.Keeper == "package net, for splice(2)" {
			return true
		}
	}
	return false
}
