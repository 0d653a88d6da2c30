package inspect_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/proctest"
	"stray/internal/testenv"
)

// performer is a program that tells, in a line of JSON, its processes by name,
// and its port.
type performer struct {
	PIDs  map[string]int
	Port  int
	Inode uint64
}

func (p performer) cast() cast {
	c := cast{}
	for name, pid := range p.PIDs {
		c[pid] = name
	}
	return c
}

// perform starts a program, and ends it and its process group with the test.
func perform(t *testing.T, argv ...string) performer {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	// No Pdeathsig: it goes by the thread that forks, and threads end here as
	// often as another network namespace is looked at.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s says nothing: %v", argv[0], err)
	}
	var p performer
	if err := json.Unmarshal(line, &p); err != nil {
		t.Fatalf("%s says %q: %v", argv[0], line, err)
	}
	return p
}

// python performs a script, below what all of them need: it listens, forks with
// act(name, function), and tells.
func python(t *testing.T, script string) performer {
	t.Helper()
	interpreter := testenv.NeedTool(t, "python3", "python3")
	return perform(t, interpreter, "-c", pythonStage+script)
}

const pythonStage = `
import fcntl, json, os, select, signal, socket, sys, time
import multiprocessing # before any fork: it opens nothing yet
web = socket.socket()
web.bind(("127.0.0.1", 0))
web.listen(8)
pids = {"a": os.getpid()}
def act(name, play):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        play()
        os._exit(0)
    pids[name] = pid
def settled(pid, calls):
    while True:
        with open("/proc/%d/syscall" % pid) as f:
            if f.read().split()[0] in calls: return
        time.sleep(0.001)
def tell():
    print(json.dumps({"PIDs": pids, "Port": web.getsockname()[1], "Inode": os.fstat(web.fileno()).st_ino}), flush=True)
`

// Workers that wait for their turn to accept are not idle copies.
func TestAcceptMutexes(t *testing.T) {
	for name, mutex := range map[string]string{
		"flock":    "def take():\n    global file; file = open('FILE', 'w'); fcntl.flock(file, fcntl.LOCK_EX)",
		"fcntl":    "def take():\n    global file; file = open('FILE', 'w'); fcntl.lockf(file, fcntl.LOCK_EX)",
		"futex":    "lock = multiprocessing.Lock()\ndef take():\n    lock.acquire()",
		"semaphor": "import ctypes\nlibc = ctypes.CDLL(None)\nsem = libc.semget(0, 1, 0o600)\nclass Op(ctypes.Structure):\n    _fields_ = [('num', ctypes.c_ushort), ('op', ctypes.c_short), ('flg', ctypes.c_short)]\nlibc.semop(sem, ctypes.byref(Op(0, 1, 0)), 1)\ndef take():\n    libc.semop(sem, ctypes.byref(Op(0, -1, 0)), 1)",
		"pipe":     "r, w = os.pipe()\nos.write(w, b'x')\ndef take():\n    os.read(r, 1)",
	} {
		t.Run(name, func(t *testing.T) {
			script := strings.ReplaceAll(mutex, "FILE", filepath.Join(t.TempDir(), "lock")) + `
def serve():
    take()
    web.accept()
act("b", serve); act("c", serve); act("d", serve)
waiting = ["43", "288", "72", "73", "202", "220", "65", "0"]
for pid in list(pids.values())[1:]: settled(pid, waiting)
time.sleep(0.05) # until one has the mutex and the others wait
tell()
os.wait()
`
			p := python(t, script)
			a := who(t, fmt.Sprint(p.Port))
			for _, line := range p.cast().findings(a) {
				t.Errorf("finding %s", line)
			}
			serving := 0
			for _, h := range a.Sockets[0].Holders {
				if h.Origin.Leak {
					t.Errorf("%s is accused: %q", p.cast().name(h.Process.PID), h.Origin.Evidence)
				}
				if h.Serving == "yes" {
					serving++
				}
			}
			if serving != 1 || len(a.Sockets[0].Holders) != 4 {
				t.Errorf("%d of %d serve: %v", serving, len(a.Sockets[0].Holders), p.cast().origins(a.Sockets[0]))
			}
		})
	}
}

// A worker that sleeps in the midst of a request looks idle; that it has a
// connection for itself, which it must have accepted, tells it from a copy that
// nobody wants. Under a server that accepts by itself it tells nothing: there
// the child has inherited it.
func TestWorkersThatSleepInARequest(t *testing.T) {
	const stage = `
client = socket.create_connection(web.getsockname())
def busy():
    connection, _ = web.accept()
    signal.pause()
act("b", busy)
settled(pids["b"], ["34"])
`
	t.Run("beside one that serves", func(t *testing.T) {
		p := python(t, stage+`
act("c", web.accept)
settled(pids["c"], ["43", "288"])
tell()
os.wait()
`)
		p.cast().check(t, fmt.Sprint(p.Port), p.Inode, "a: opened, idle", "b: intended from a, certain, unclear", "c: intended from a, certain, serves")
	})
	t.Run("all of them", func(t *testing.T) {
		p := python(t, stage+"tell()\nos.wait()\n")
		p.cast().check(t, fmt.Sprint(p.Port), p.Inode, "a: opened, idle", "b: intended from a, certain, unclear")
	})
	t.Run("beside a copy that nobody wants", func(t *testing.T) {
		p := python(t, stage+`
act("c", signal.pause)
settled(pids["c"], ["34"])
act("d", web.accept)
settled(pids["d"], ["43", "288"])
tell()
os.wait()
`)
		p.cast().check(t, fmt.Sprint(p.Port), p.Inode, "FD102 error c",
			"a: opened, idle", "b: intended from a, certain, unclear", "c: fork from a, certain, idle, leak", "d: intended from a, certain, serves")
	})
	t.Run("under a server that accepts", func(t *testing.T) {
		p := python(t, `
client = socket.create_connection(web.getsockname())
connection, _ = web.accept()
act("b", signal.pause)
settled(pids["b"], ["34"])
connection.close()
tell()
web.accept()
`)
		p.cast().check(t, fmt.Sprint(p.Port), p.Inode, "FD102 error b", "FD104 warning b", "a: opened, serves", "b: fork from a, certain, idle, leak")
	})
}

// A prefork worker that is about a request waits for its client alone.
func TestWorkersAboutARequest(t *testing.T) {
	p := python(t, `
here, there = socket.socketpair()
here.settimeout(60) # so that recv polls
act("b", web.accept)
act("c", lambda: here.recv(1))
act("d", lambda: there.recv(1))
act("e", lambda: select.select([there], [], []))
settled(pids["b"], ["43", "288"]); settled(pids["c"], ["7", "271"]); settled(pids["d"], ["45"]); settled(pids["e"], ["23", "270"])
tell()
os.wait()
`)
	p.cast().check(t, fmt.Sprint(p.Port), p.Inode,
		"a: opened, idle",
		"b: intended from a, certain, serves",
		"c: intended from a, elsewhere",
		"d: intended from a, unclear",
		"e: intended from a, elsewhere",
	)
}

// A listener that came over SCM_RIGHTS to a process of another descent.
func TestReceivedListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	receiver := exec.Command(testenv.NeedTool(t, "python3", "python3"), "-c", `
import os, socket, sys, time
way = socket.socket(socket.AF_UNIX)
while True:
    try: way.connect(sys.argv[1]); break
    except OSError: time.sleep(0.001)
_, fds, _, _ = socket.recv_fds(way, 1, 1)
os.set_inheritable(fds[0], False)
web = socket.socket(fileno=fds[0])
way.send(b"x")
web.accept()
`, path)
	receiver.Stderr = os.Stderr
	if err := receiver.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { receiver.Process.Kill(); receiver.Wait() }()
	p := python(t, fmt.Sprintf(`
way = socket.socket(socket.AF_UNIX)
way.bind(%q)
way.listen(1)
peer, _ = way.accept()
socket.send_fds(peer, [b"x"], [web.fileno()])
peer.recv(1)
pids["b"] = %d
settled(pids["b"], ["43", "288"])
tell()
web.accept()
`, path, receiver.Process.Pid))
	settle(t, p.PIDs["a"], unix.SYS_ACCEPT, unix.SYS_ACCEPT4)
	// Nothing tells which of them received it: the elder is taken for the opener.
	p.cast().check(t, fmt.Sprint(p.Port), p.Inode,
		"a: received from b, serves",
		"b: opened, serves",
	)
}

// settle waits until a process is in one of the system calls.
func settle(t *testing.T, pid int, calls ...int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		for _, call := range calls {
			if strings.HasPrefix(string(text), fmt.Sprint(call, " ")) {
				return
			}
		}
	}
	t.Fatalf("pid %d is not in %v", pid, calls)
}

// What a server is stopped in, by a terminal or a debugger, does not count
// against it; nor what it goes on with.
func TestStoppedAndContinued(t *testing.T) {
	for _, mode := range []string{"accept", "epoll", "poll", "select"} {
		role := proctest.Start(t, "exec { listen tcp4 127.0.0.1:0 cloexec=1 name=web ; fork { serve sleep } ; serve "+mode+" }")
		server, web := role.Children[0], role.Socket("web")
		story := []string{"b: opened, serves", "c: fork from b, certain, idle, leak", "FD102 error c"}
		for _, p := range server.All() {
			if err := unix.Kill(p.PID, unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			awaitState(t, p.PID, "Tt") // t below a tracer
		}
		roles(role).check(t, fmt.Sprint(web.Port()), web.Inode, story...)
		for _, p := range server.All() {
			if err := unix.Kill(p.PID, unix.SIGCONT); err != nil {
				t.Fatal(err)
			}
			awaitState(t, p.PID, "S")
		}
		roles(role).check(t, fmt.Sprint(web.Port()), web.Inode, story...)
	}
}

// awaitState waits until a process is in one of the states.
func awaitState(t *testing.T, pid int, states string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if i := strings.LastIndex(string(text), ") "); i >= 0 && strings.IndexByte(states, text[i+2]) >= 0 {
			return
		}
	}
	t.Fatalf("pid %d is in none of the states %s", pid, states)
}

// A listener as standard input was put there on purpose.
func TestListenerAsStandardInput(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.Stdin = f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	f.Close()
	settle(t, cmd.Process.Pid, unix.SYS_CLOCK_NANOSLEEP)
	c := cast{os.Getpid(): "a", cmd.Process.Pid: "b"}
	a := who(t, l.Addr().String())
	for _, line := range c.origins(a.Sockets[0]) {
		if strings.HasPrefix(line, "b: ") && line != "b: intended from a, idle" {
			t.Error(line)
		}
	}
	if findings := c.findings(a); len(findings) > 0 {
		t.Errorf("findings %v", findings)
	}
}

// What waits in io_uring may serve anything; and the kernel may, while no
// thread of a process waits.
func TestIOURingIsNotAccused(t *testing.T) {
	testenv.NeedIOURing(t)
	p := python(t, `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
def ring():
    fd = libc.syscall(425, 4, (ctypes.c_char * 120)()) # io_uring_setup
    libc.mmap(None, ctypes.c_size_t(4096), 1, 1, fd, ctypes.c_long(0))
    return fd
act("b", lambda: libc.syscall(426, ring(), 0, 1, 1, None, 0)) # io_uring_enter
def rest():
    ring()
    signal.pause()
act("c", rest)
act("d", signal.pause)
settled(pids["b"], ["426"]); settled(pids["c"], ["34"]); settled(pids["d"], ["34"])
tell()
web.accept()
`)
	settle(t, p.PIDs["a"], unix.SYS_ACCEPT, unix.SYS_ACCEPT4)
	p.cast().check(t, fmt.Sprint(p.Port), p.Inode,
		"a: opened, serves",
		"b: fork from a, certain, unclear",
		"c: fork from a, certain, unclear",
		"d: fork from a, certain, idle, leak",
		"FD102 error d",
	)
}

// A signal tells a server with O_ASYNC that there is a connection.
func TestSignalDrivenServer(t *testing.T) {
	p := python(t, `
act("b", signal.pause)
settled(pids["b"], ["34"])
fcntl.fcntl(web, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(web, fcntl.F_SETFL, os.O_ASYNC)
tell()
signal.pause()
`)
	settle(t, p.PIDs["a"], 34)
	p.cast().check(t, fmt.Sprint(p.Port), p.Inode,
		"a: opened, unclear",
		"b: fork from a, certain, unclear",
	)
}

// A program of another word size has other system call numbers.
func TestProgramsOf32Bits(t *testing.T) {
	idle, server := program32(t, "call(29, 0, 0)"), program32(t, "call(102, 5, (int)(int[]){9, 0, 0})") // pause; socketcall, SYS_ACCEPT
	role := proctest.Start(t, fmt.Sprintf("listen tcp4 127.0.0.1:0 fd=9 name=web ; exec %s ; exec %s ; serve pause", idle, server))
	web := role.Socket("web")
	roles(role).check(t, fmt.Sprint(web.Port()), web.Inode,
		"a: opened, idle",
		"b: exec from a, certain, idle, leak",
		"c: intended from a, serves",
		"FD101 error b",
	)
}

// program32 compiles a program that makes a system call again and again.
func program32(t *testing.T, call string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "program")
	cmd := exec.Command(testenv.NeedTool(t, "gcc", "gcc"), "-m32", "-static", "-nostdlib", "-fno-pie", "-no-pie", "-x", "c", "-", "-o", path)
	cmd.Stdin = strings.NewReader(`
static int call(int n, int a, int b) { int r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b) : "memory"); return r; }
void _start(void) { for (;;) ` + call + `; }`)
	if out, err := cmd.CombinedOutput(); err != nil {
		testenv.NeedWorking(t, "a compiler that makes 32-bit programs", fmt.Errorf("%w\n%s", err, out))
	}
	testenv.NeedWorking(t, "a kernel that runs 32-bit programs", exec.Command("sh", "-c", path+" & kill $!").Run())
	return path
}
