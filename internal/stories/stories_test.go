package stories

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/cmd"
	"stray/internal/testenv"
	"stray/internal/tracee"
	"stray/internal/wiretest"
	"stray/report"
)

func TestMain(m *testing.M) {
	tracee.HelperMain()
	wiretest.Main()
	testenv.Main(m)
}

// stray runs the program and returns what it says; its exit code must be want.
func stray(t *testing.T, want int, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := cmd.Main(args, strings.NewReader(""), &stdout, &stderr); code != want {
		t.Fatalf("stray %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, &stdout, &stderr)
	}
	return stdout.String()
}

// alive reports that a process runs, and has not exited.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// bind binds and listens on a port, without any option, as the next server does.
func bind(t *testing.T, port int) error {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	return unix.Listen(fd, 1)
}

// who runs "stray who -o json" and returns the report.
func who(t *testing.T, port int) report.Document {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := cmd.Main([]string{"who", "-o", "json", strconv.Itoa(port)}, nil, &stdout, &stderr); code > 1 {
		t.Fatalf("who: exit %d: %s", code, &stderr)
	}
	var d report.Document
	if err := json.Unmarshal(stdout.Bytes(), &d); err != nil {
		t.Fatalf("who: %v", err)
	}
	return d
}

// server starts a program and returns the numbers in its first line, a pipe to
// its standard input, and its output. The test's end waits for it.
func server(t *testing.T, program string, args ...string) (numbers []int, in *os.File, out *bufio.Reader, process *os.Process) {
	t.Helper()
	return serverIn(t, func(start func() error) error { return start() }, program, args...)
}

// serverIn is server, with what calls the function that starts the program.
func serverIn(t *testing.T, in func(func() error) error, program string, args ...string) (numbers []int, stdin *os.File, out *bufio.Reader, process *os.Process) {
	t.Helper()
	c := exec.Command(program, args...)
	pipe, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := in(c.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = pipe.Close()
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	out = bufio.NewReader(stdout)
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(line) {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatalf("first line %q: %v", line, err)
		}
		numbers = append(numbers, n)
	}
	return numbers, pipe.(*os.File), out, c.Process
}

// endByPID kills a process that is no child of the test.
func endByPID(t *testing.T, pid int) {
	t.Cleanup(func() {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			t.Errorf("kill %d: %v", pid, err)
		}
	})
}

func holders(s report.Socket) map[int]report.Holder {
	byPID := map[int]report.Holder{}
	for _, h := range s.Holders {
		byPID[h.PID] = h
	}
	return byPID
}

func findings(d report.Document) (ids []string) {
	for _, f := range d.Findings {
		ids = append(ids, fmt.Sprintf("%s %s %d", f.Rule, f.Severity, *f.PID))
	}
	return ids
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// listenerOf returns the only listener of a report.
func listenerOf(t *testing.T, d report.Document) report.Socket {
	t.Helper()
	var found []report.Socket
	for _, s := range d.Sockets {
		if s.State == "LISTEN" {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d listeners, want 1: %+v", len(found), d.Sockets)
	}
	return found[0]
}

// TestCrystalListenerCrossesExec is the story of sockets without SOCK_CLOEXEC:
// sleep keeps the port after the server has closed its listener.
func TestCrystalListenerCrossesExec(t *testing.T) {
	crystal := testenv.NeedTool(t, "crystal", "crystal")
	program := filepath.Join(t.TempDir(), "server")
	build := exec.Command(crystal, "build", "../../testdata/stories/crystal.cr", "-o", program)
	build.Env = append(os.Environ(), "CRYSTAL_CACHE_DIR="+t.TempDir())
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("crystal build: %v\n%s", err, out)
	}
	n, in, out, _ := server(t, program)
	port, parent, sleep := n[0], n[1], n[2]
	endByPID(t, sleep)

	d := who(t, port)
	h := holders(listenerOf(t, d))
	if got := h[sleep]; got.Origin.Kind != "exec" || !got.Origin.Leak || got.Origin.FromPID == nil || *got.Origin.FromPID != parent {
		t.Errorf("sleep's origin %+v, want a leak by exec from pid %d", got.Origin, parent)
	}
	if got := h[parent]; got.Origin.Kind != "opened" || got.CloseOnExec == nil || *got.CloseOnExec {
		t.Errorf("the server: %+v, want it to have opened a descriptor without FD_CLOEXEC", got)
	}
	if ids := findings(d); !contains(ids, fmt.Sprint("FD101 error ", sleep)) || !contains(ids, fmt.Sprint("FD103 warning ", parent)) {
		t.Errorf("findings %v", ids)
	}

	if _, err := in.WriteString("close\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	d = who(t, port)
	h = holders(listenerOf(t, d))
	if len(h) != 1 || h[sleep].Origin.Kind != "exec" || !h[sleep].Origin.Leak {
		t.Errorf("after the server's close: holders %+v, want sleep alone, by exec", h)
	}
	if ids := findings(d); !contains(ids, fmt.Sprint("FD101 error ", sleep)) {
		t.Errorf("findings %v", ids)
	}
	for _, b := range d.Bind {
		if b.Address == "127.0.0.1" && b.ReuseAddr != "no" {
			t.Errorf("bind %+v, want no", b)
		}
	}
	if err := bind(t, port); err != unix.EADDRINUSE {
		t.Fatalf("bind: %v, want %v", err, unix.EADDRINUSE)
	}

	// And it ends well: sleep loses the listener and lives on.
	testenv.NeedRoot(t)
	stray(t, 0, "close", strconv.Itoa(port), "--holders", "leaked", "--yes")
	stray(t, 1, "who", strconv.Itoa(port))
	if err := bind(t, port); err != nil {
		t.Errorf("bind: %v", err)
	}
	if !alive(sleep) {
		t.Error("sleep has ended")
	}
	if said := stray(t, 0, "close", strconv.Itoa(port), "--holders", "leaked", "--yes"); said != "" {
		t.Errorf("with nothing to do it says %q, want nothing", said)
	}
}

// TestAsioForkedChildKeepsListener is Crow's story: a request handler forks,
// and the child keeps the port after the server has stopped.
func TestAsioForkedChildKeepsListener(t *testing.T) {
	n, _, _, process := server(t, asioServer(t))
	port, parent := n[0], n[1]
	client, child := forkRequest(t, port)

	d := who(t, port)
	h := holders(listenerOf(t, d))
	if h[parent].Serving != "yes" || h[parent].Origin.Kind != "opened" {
		t.Errorf("the server: %+v, want it to have opened and to serve", h[parent])
	}
	if got := h[child]; got.Origin.Kind != "fork" || !got.Origin.Leak || !got.Origin.Certain || got.Serving != "no" {
		t.Errorf("the child: %+v, want a leak by fork that does not serve, for certain", got)
	}
	if ids := findings(d); !contains(ids, fmt.Sprint("FD102 error ", child)) {
		t.Errorf("findings %v", ids)
	}

	// The server dies; the child keeps the listener and the connection.
	_ = process.Kill()
	_, _ = process.Wait()
	client.Close()
	d = who(t, port)
	h = holders(listenerOf(t, d))
	if len(h) != 1 || h[child].Origin.Kind != "fork" || !h[child].Origin.Leak {
		t.Errorf("after the server's death: holders %+v, want the child alone, by fork", h)
	}
	closeWait := false
	for _, s := range d.Sockets {
		closeWait = closeWait || s.State == "CLOSE_WAIT" && len(s.Holders) == 1 && s.Holders[0].PID == child
	}
	if !closeWait {
		t.Errorf("no CLOSE_WAIT connection of the child among %+v", d.Sockets)
	}
	if ids := findings(d); !contains(ids, fmt.Sprint("FD102 error ", child)) {
		t.Errorf("findings %v", ids)
	}
}

// TestAsioServerGoesOnWhileItsChildIsRelieved closes the child's copies while
// the server serves under load: no request may fail, and when the server stops
// the port is free and the child lives.
func TestAsioServerGoesOnWhileItsChildIsRelieved(t *testing.T) {
	testenv.NeedRoot(t)
	n, _, _, process := server(t, asioServer(t))
	port := n[0]
	_, child := forkRequest(t, port)

	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				failed <- nil
				return
			default:
			}
			if err := request(port, "x", "ok\n"); err != nil {
				failed <- err
				return
			}
		}
	}()
	said := stray(t, 0, "close", strconv.Itoa(port), "--holders", "leaked", "--connections", "--yes")
	if !strings.Contains(said, "verified") {
		t.Errorf("close says %q", said)
	}
	close(stop)
	if err := <-failed; err != nil {
		t.Errorf("a request failed: %v", err)
	}
	if h := holders(listenerOf(t, who(t, port))); len(h) != 1 || h[n[1]].Serving != "yes" {
		t.Errorf("holders %+v, want the server alone", h)
	}
	_ = process.Kill()
	_, _ = process.Wait()
	if !alive(child) {
		t.Error("the child has ended")
	}
	for _, s := range who(t, port).Sockets {
		if len(s.Holders) > 0 {
			t.Errorf("still held: %+v", s)
		}
	}
}

// asioServer builds the server of Crow's story.
func asioServer(t *testing.T) (program string) { return asio(t, "asio.cpp") }

// asio builds a program on Asio.
func asio(t *testing.T, source string) (program string) {
	compiler := testenv.NeedTool(t, "g++", "g++")
	if _, err := os.Stat("/usr/include/asio.hpp"); err != nil {
		testenv.NeedTool(t, "asio.hpp", "libasio-dev")
	}
	program = filepath.Join(t.TempDir(), strings.TrimSuffix(source, ".cpp"))
	if out, err := exec.Command(compiler, "-O1", "-o", program, "../../testdata/stories/"+source, "-lpthread").CombinedOutput(); err != nil {
		t.Fatalf("g++: %v\n%s", err, out)
	}
	return program
}

// forkRequest has the Asio server fork, and returns the connection of the
// request, which both processes have, and the child.
func forkRequest(t *testing.T, port int) (client net.Conn, child int) {
	client, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if _, err := client.Write([]byte("f")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(client).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if child, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	endByPID(t, child)
	// Until it sleeps, one look cannot tell what it will do.
	for end := time.Now().Add(20 * time.Second); !asleep(child); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the child does not come to rest")
		}
	}
	return client, child
}

// asleep reports that a process waits.
func asleep(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(stat, []byte(") S "))
}

// request asks the Asio server for something, on a connection of its own.
func request(port int, ask, want string) error {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte(ask)); err != nil {
		return err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && answer != want {
		err = fmt.Errorf("answer %q, want %q", answer, want)
	}
	return err
}
