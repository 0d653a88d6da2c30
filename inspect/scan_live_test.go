package inspect_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

// scan looks at this machine, as the command does.
func scan(t testing.TB) *inspect.Outcome {
	t.Helper()
	snap, err := (&fdscan.Scanner{}).Survey(t.Context(), fdscan.SurveyQuestion{})
	if err != nil {
		t.Fatal(err)
	}
	return inspect.Scan(snap, rules.All())
}

// told are the findings about the processes of a cast.
func (c cast) told(o *inspect.Outcome) []string {
	all := []string{}
	for _, f := range o.Findings {
		if name, ok := c[f.Process.PID]; ok {
			all = append(all, fmt.Sprintf("%s %s %s", f.Rule.ID, f.Severity, name))
		}
	}
	slices.Sort(all)
	return all
}

// scans checks what a scan finds in a story: a line for each finding. Threads
// that are about to rest are found running on a machine that has too much to do,
// and are not accused; then it looks again.
func (c cast) scans(t testing.TB, lines func(*inspect.Outcome) []string, story ...string) {
	t.Helper()
	want := []string{}
	for _, line := range story {
		if line = strings.TrimSpace(line); line != "" {
			want = append(want, line)
		}
	}
	slices.Sort(want)
	for try := 0; ; try++ {
		o := scan(t)
		got := lines(o)
		diff := cmp.Diff(want, got)
		if diff == "" {
			return
		}
		if try < 10 {
			continue
		}
		t.Errorf("(-want +got):\n%s", diff)
		for _, f := range o.Findings {
			if _, ok := c[f.Process.PID]; ok {
				t.Logf("%s %s", f.Rule.ID, f.Message)
			}
		}
		return
	}
}

// What scan says of a listener is what who says of it.
func TestScanJudgesAsWhoDoes(t *testing.T) {
	for name, story := range originStories {
		t.Run(name, func(t *testing.T) {
			role := startStory(t, story.script)
			c := roles(role)
			inode := role.Socket("").Inode
			c.scans(t, func(o *inspect.Outcome) []string {
				got := c.told(o)
				i := slices.IndexFunc(o.Sockets, func(s *inspect.Socket) bool { return s.Inode == inode })
				if i < 0 {
					return got
				}
				got = append(got, c.origins(o.Sockets[i])...)
				slices.Sort(got)
				return got
			}, strings.Split(story.want, "\n")...)
		})
	}
}

// A rule fires on one side of the line, and not on the other.
var scanStories = map[string]struct {
	script string
	want   string
}{
	"FD104 a connection crosses exec": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; connect tcp4 web name=client ; accept web cloexec=1
		exec sleep 60`,
		`FD104 warning b`,
	},
	"FD104 a copy sleeps on a connection that its parent waits on": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; connect tcp4 web name=client cloexec=1 ; accept web name=server cloexec=1
		fork { close web client ; serve sleep }
		serve recv server`,
		`FD104 warning b`,
	},
	"FD104 a server keeps the connection that its child serves": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; connect tcp4 web name=client cloexec=1 ; accept web name=server cloexec=1
		fork { close web client ; serve recv server }
		serve accept web`,
		`FD104 warning a`,
	},
	"FD104 a copy keeps listener and connection": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; connect tcp4 web name=client cloexec=1 ; accept web name=server cloexec=1
		fork { close client ; serve sleep }
		close server ; serve accept web`,
		`FD102 error b
		FD104 warning b`,
	},
	"not FD104: a monitor waits for the child that serves": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; connect tcp4 web name=client cloexec=1 ; accept web name=server cloexec=1
		close web
		fork { close client ; serve recv server }
		serve wait`,
		``,
	},
	"not FD104: a monitor listens to the child that serves": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; connect tcp4 web name=client cloexec=1 ; accept web name=server cloexec=1
		close web ; pair name=monitor
		fork { close client ; serve recv server }
		serve recv monitor`,
		``,
	},
	"not FD104: a master keeps nothing of what its workers accept": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		fork times=2 { serve accept web }
		connect tcp4 web cloexec=1 ; serve wait`,
		``,
	},
	"not FD104: workers share a client's connection": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; connect tcp4 web name=client cloexec=1 ; accept web name=server cloexec=1
		close web
		fork { close server ; serve recv client } ; fork { close server ; serve recv client }
		close client ; serve wait`,
		``,
	},
	"FD105 a pipe": {
		`pipe ; exec sleep 60`,
		`FD105 warning b`,
	},
	"FD105 a file": {
		`open /proc/version ; exec sleep 60`,
		`FD105 warning b`,
	},
	"FD105 an event counter": {
		`make eventfd ; exec sleep 60`,
		`FD105 warning b`,
	},
	"FD105 a pair of sockets": {
		`pair ; exec as=other { serve pause }`,
		`FD105 warning b`,
	},
	"FD105 through a program in between": {
		`pipe ; exec as=other { exec sleep 60 ; serve pause } ; serve pause`,
		`FD105 warning b
		FD105 warning c`,
	},
	"FD105 of /dev/null": {
		`open /dev/null ; exec sleep 60`,
		`FD105 note b`,
	},
	"not FD105: close-on-exec": {
		`pipe cloexec=1 ; make eventfd cloexec=1 ; exec sleep 60`,
		``,
	},
	"not FD105: its parent waits for it": {
		`pipe ; exec sleep 60 ; serve wait`,
		``,
	},
	"not FD105: the environment names it": {
		`pipe ; exec READY_FD=3 LOG_FD=4 sleep 60`,
		``,
	},
	"not FD105: it is waited for": {
		`pair name=pair ; cloexec pair2 on ; exec as=other { serve recv pair }`,
		``,
	},
	"not FD105: the same program": {
		`pipe ; exec { serve pause } ; fork { serve sleep }`,
		``,
	},
	"not FD105: handed over": {
		`pipe name=end ; close end2 ; exec LISTEN_FDS=1 LISTEN_PID=self pass=end sleep 60`,
		``,
	},
	"FD206 a reset that nobody has noticed": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; connect tcp4 web name=client cloexec=1 ; accept web name=server cloexec=1
		send client 10 ; close server`,
		`FD206 warning a`,
	},
	"FD206 a connect that was refused": {
		`bind tcp4 127.0.0.1:0 cloexec=1 name=nobody ; connect tcp4 nobody nonblock=1 cloexec=1`,
		`FD206 note a`,
	},
	"FD206 nothing was sent before the reset": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; connect tcp4 web name=client cloexec=1 ; close web`,
		`FD206 warning a`,
	},
	"not FD206: fresh, bound, and connected": {
		`socket tcp4 ; socket tcp6 ; socket udp4 ; bind tcp4 127.0.0.1:0
		listen tcp4 127.0.0.1:0 cloexec=1 name=web ; connect tcp4 web cloexec=1 ; accept web cloexec=1`,
		``,
	},
	"FD401 a listener in a message": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; scm web`,
		`FD401 note a`,
	},
	"FD401 a listener in a thread's own table": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; thread own=1 { serve accept web } ; close web`,
		`FD401 note a`,
	},
	"not FD401: a descriptor shows it too": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web ; dup web cloexec=1 name=copy ; scm copy ; serve accept web`,
		``,
	},
}

func TestScanStories(t *testing.T) {
	for name, story := range scanStories {
		t.Run(name, func(t *testing.T) {
			c := roles(proctest.Start(t, story.script))
			c.scans(t, c.told, strings.Split(story.want, "\n")...)
		})
	}
}

func TestHeldInARing(t *testing.T) {
	testenv.NeedIOURing(t)
	c := roles(proctest.Start(t, `listen tcp4 127.0.0.1:0 cloexec=1 name=web ; uring web`))
	c.scans(t, c.told, "FD401 note a")
}

// reserve keeps an address for sockets with SO_REUSEPORT, and from all others,
// until the test ends. kind is SOCK_STREAM, of which it does not listen, or
// SOCK_DGRAM.
func reserve(t *testing.T, kind int) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 77, 12, 9}}); err != nil {
		t.Fatal(err)
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.77.12.9:%d", address.(*unix.SockaddrInet4).Port)
}

func TestSharedPorts(t *testing.T) {
	for name, tt := range map[string]struct{ script, want string }{
		"a stranger":      {"listen tcp4 %[1]s reuseport=1 cloexec=1 name=web ; exec as=stranger { listen tcp4 %[1]s reuseport=1 cloexec=1 ; serve accept } ; serve accept web", "FD402 warning b"},
		"one of two":      {"listen tcp4 %[1]s reuseport=1 cloexec=1 name=web ; exec { listen tcp4 %[1]s reuseport=1 cloexec=1 ; serve accept } ; exec as=stranger { listen tcp4 %[1]s reuseport=1 cloexec=1 ; serve accept } ; serve accept web", "FD402 warning c"},
		"workers":         {"listen tcp4 %[1]s reuseport=1 cloexec=1 name=web ; exec { listen tcp4 %[1]s reuseport=1 cloexec=1 ; serve accept } ; serve accept web", ""},
		"datagrams":       {"bind udp4 %[1]s reuseport=1 cloexec=1 name=web ; exec as=stranger { bind udp4 %[1]s reuseport=1 cloexec=1 ; serve recv } ; serve recv web", "FD402 note b"},
		"another address": {"listen tcp4 %[1]s reuseport=1 cloexec=1 name=web ; exec as=stranger { listen tcp4 127.0.0.1:0 reuseport=1 cloexec=1 ; serve accept } ; serve accept web", ""},
	} {
		t.Run(name, func(t *testing.T) {
			kind := unix.SOCK_STREAM
			if strings.HasPrefix(tt.script, "bind udp4") {
				kind = unix.SOCK_DGRAM
			}
			c := roles(proctest.Start(t, fmt.Sprintf(tt.script, reserve(t, kind))))
			c.scans(t, c.told, tt.want)
		})
	}
}

// The limit counts from the number of descriptors that there are.
func TestNearLimit(t *testing.T) {
	role := proctest.Start(t, strings.Repeat("make eventfd cloexec=1\n", 60))
	c := roles(role)
	for _, tt := range []struct {
		limit uint64
		want  string
	}{{200, ""}, {70, "FD204 warning a"}, {64, "FD204 error a"}, {20, ""}, {unix.RLIM_INFINITY, ""}} {
		var old unix.Rlimit
		if err := unix.Prlimit(role.PID, unix.RLIMIT_NOFILE, nil, &old); err != nil {
			t.Fatal(err)
		}
		limit := unix.Rlimit{Cur: min(tt.limit, old.Max), Max: old.Max}
		if err := unix.Prlimit(role.PID, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
			t.Fatal(err)
		}
		c.scans(t, c.told, tt.want)
	}
}

// What a deleted file takes is what its blocks take.
func TestDeletedFiles(t *testing.T) {
	directory := t.TempDir()
	file := func(name string, size int64) string {
		path := filepath.Join(directory, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if size > 0 {
			if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	for name, tt := range map[string]struct{ script, want string }{
		"small":                  {fmt.Sprintf("open %[1]s cloexec=1 ; unlink %[1]s", file("small", 1<<16)), "FD205 note a"},
		"large":                  {fmt.Sprintf("open %[1]s cloexec=1 ; unlink %[1]s", file("large", 101<<20)), "FD205 warning a"},
		"held by two, told once": {fmt.Sprintf("open %[1]s cloexec=1 ; unlink %[1]s ; fork { serve sleep }", file("two", 1<<16)), "FD205 note a"},
		"empty":                  {fmt.Sprintf("open %[1]s cloexec=1 ; unlink %[1]s", file("empty", 0)), ""},
		"not deleted":            {fmt.Sprintf("open %[1]s cloexec=1", file("kept", 1<<16)), ""},
		"never had a name":       {"make memfd cloexec=1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := roles(proctest.Start(t, tt.script))
			c.scans(t, c.told, tt.want)
		})
	}
	f, err := os.Open(file("a file that is called so (deleted)", 1<<16))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := cast{os.Getpid(): "this test"}
	c.scans(t, c.told)
}

// Of a lock that exec has carried along it is told that it is held.
func TestLockAcrossExec(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{"flock", "ofd"} {
		role := proctest.Start(t, `open `+file+` write=1 ; lock by=`+by+` ; exec sleep 60`)
		o := scan(t)
		o.Limit([]int{role.PID})
		if len(o.Findings) != 1 || o.Findings[0].Rule.ID != "FD105" || !strings.HasSuffix(o.Findings[0].Message, "/lock, locked") {
			t.Errorf("%s: %+v", by, o.Findings)
		}
	}
	// That of a process is not inherited.
	role := proctest.Start(t, `open `+file+`posix write=1 create=1 ; lock by=posix ; exec sleep 60`)
	o := scan(t)
	o.Limit([]int{role.PID})
	if len(o.Findings) != 1 || !strings.HasSuffix(o.Findings[0].Message, "/lockposix") {
		t.Errorf("POSIX: %+v", o.Findings)
	}
}

// With -p it speaks of those processes and of what descends from them.
func TestLimit(t *testing.T) {
	role := proctest.Start(t, `exec { pipe ; exec sleep 60 } ; exec { pipe ; exec sleep 60 }`)
	c := roles(role)
	c.scans(t, c.told, "FD105 warning c", "FD105 warning e")
	o := scan(t)
	o.Limit([]int{role.Children[0].PID})
	if diff := cmp.Diff([]string{"FD105 warning c"}, c.told(o)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(o.Tables) != 2 || len(o.PIDs) != 2 {
		t.Errorf("%d tables, pids %v", len(o.Tables), o.PIDs)
	}
}

// Of several holders the one that was asked for is named, whichever came first.
func TestLimitToTheSecondHolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	role := proctest.Start(t, `open `+file+` cloexec=1 ; unlink `+file+`
		listen tcp4 127.0.0.1:0 cloexec=1 name=web ; connect tcp4 web name=client cloexec=1 ; accept web name=server cloexec=1
		send client 10 ; close server ; close web
		fork { serve pause }`)
	c := roles(role)
	c.scans(t, c.told, "FD205 note a", "FD206 warning a")
	for _, pid := range []int{role.PID, role.Children[0].PID} {
		snap, err := (&fdscan.Scanner{}).Survey(t.Context(), fdscan.SurveyQuestion{})
		if err != nil {
			t.Fatal(err)
		}
		o := inspect.Scan(snap, rules.All(), pid)
		o.Limit([]int{pid})
		if diff := cmp.Diff([]string{"FD205 note " + c[pid], "FD206 warning " + c[pid]}, c.told(o)); diff != "" {
			t.Errorf("pid %d (-want +got):\n%s", pid, diff)
		}
		for _, f := range o.Findings {
			if !strings.HasPrefix(f.Message, fmt.Sprintf("pid %d ", pid)) {
				t.Errorf("of pid %d it says %q", pid, f.Message)
			}
		}
	}
}
