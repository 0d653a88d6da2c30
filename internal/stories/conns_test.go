package stories

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
	"stray/internal/wiretest"
)

// says runs "stray conns" until it says what the pattern matches: the kernel takes
// its own time to retransmit and to probe.
func says(t *testing.T, pattern string, args ...string) string {
	t.Helper()
	want := regexp.MustCompile(pattern)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		said := stray(t, 0, append([]string{"conns"}, args...)...)
		if want.MatchString(said) {
			return said
		}
		if time.Now().After(end) {
			t.Fatalf("stray conns %s says\n%s, which does not match %s", strings.Join(args, " "), said, pattern)
		}
	}
}

// TestPhoneSleeps is the websocket's story: the peers vanish without a FIN, and
// the server writes on.
func TestPhoneSleeps(t *testing.T) {
	w := wiretest.New(t)
	n, _, _, _ := serverIn(t, w.Near.In, asio(t, "websocket.cpp"), w.Near.Address)
	address, pid := fmt.Sprintf("%s:%d", w.Near.Address, n[0]), strconv.Itoa(n[1])
	phone := w.Far.Talk(t, "phone")
	for range 3 {
		phone.Dial(address)
	}
	says(t, `looked at 3 connections`, "-p", pid)
	w.Far.Deafen(t)
	said := says(t, `(?m)^FD302 warning  pid `+pid+` \(websocket\): 3 connections look dead, the worst 10\.77\.0\.1:\d+ → 10\.77\.0\.2:\d+ fd \d+: nothing acked for .*, \d+ retransmissions, [\d.]+ k?B unacknowledged, \d+ kB unsent \(the kernel gives up in about \d+ \w+\)`, "-p", pid, "--silence", "300ms")
	for _, want := range []string{"stray close --rule FD302 -p " + pid, "stray conns --for 3s -p " + pid, "stray explain FD302"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not propose %q:\n%s", want, said)
		}
	}
	t.Logf("\n%s", said)

	// One look more is certain of it.
	said = says(t, `and in the last .* nothing came, Send-Q grew by `, "-p", pid, "--silence", "300ms", "--for", "200ms")
	t.Logf("\n%s", said)

	// And it ends: the server loses three connections, and goes on.
	testenv.NeedRoot(t)
	plan := stray(t, 0, "close", "--rule", "FD302", "--silence", "300ms", "-p", pid, "--dry-run")
	if !regexp.MustCompile(`3 connections in all: [\d.]+ \w+ unsent, [\d.]+ \w+ unacknowledged and 0 B unread are at stake`).MatchString(plan) ||
		!regexp.MustCompile(`at stake: \d+ unsent and \d+ unacknowledged bytes \(--half lets the peer finish first\)`).MatchString(plan) {
		t.Errorf("the plan does not say what is lost:\n%s", plan)
	}
	stray(t, 0, "close", "--rule", "FD302", "--silence", "300ms", "-p", pid, "--yes")
	says(t, `looked at 0 connections`, "-p", pid)
	if !alive(n[1]) {
		t.Error("the server has ended")
	}
}

// TestClientDiesWithItsQueueFull is Cap'n Proto's story: the server is stopped,
// the client queues calls and is destroyed.
func TestClientDiesWithItsQueueFull(t *testing.T) {
	program := capnp(t)
	n, _, _, stopped := server(t, program, "server")
	port, serverPID := n[0], n[1]
	m, in, out, client := server(t, program, "client", strconv.Itoa(port), "30000")
	pid := m[0]
	if err := stopped.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := in.WriteString("queue\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := out.ReadString('\n'); err != nil || line != "queued\n" {
		t.Fatalf("the client says %q: %v", line, err)
	}
	undelivered := `[\d.]+ \wB accepted by the kernel and undelivered for .*; peer is pid ` + strconv.Itoa(serverPID) + ` sink, STOPPED, \d+ kB unread`
	said := says(t, `(?m)^FD303 warning  pid `+strconv.Itoa(pid)+` \(sink\): 127\.0\.0\.1:\d+ → 127\.0\.0\.1:`+strconv.Itoa(port)+` fd \d+ is stalled: `+undelivered, "-p", strconv.Itoa(pid), "--stalled", "300ms")
	if !strings.Contains(said, "kill -CONT "+strconv.Itoa(serverPID)) {
		t.Errorf("it does not propose to let the peer go on:\n%s", said)
	}
	t.Logf("\n%s", said)
	testenv.NeedRoot(t)
	// The server's address is the listener's too; the finding names the connection.
	command := regexp.MustCompile(`stray (close) (inode:\d+) (-p) (\d+)`).FindStringSubmatch(said)
	if command == nil {
		t.Fatalf("it does not propose to close the connection:\n%s", said)
	}
	plan := stray(t, 0, append(command[1:], "--dry-run")...)
	if !regexp.MustCompile(`at stake: \d{6,} unsent and \d+ unacknowledged bytes \(--half lets the peer finish first\)`).MatchString(plan) {
		t.Errorf("the plan does not say what is lost:\n%s", plan)
	}

	// The client object is destroyed: with 0.9.2 that overflows the stack.
	if _, err := in.WriteString("destroy\n"); err != nil {
		t.Fatal(err)
	}
	state, err := client.Wait()
	t.Logf("the client has ended: %v %v", state, err)
	said = says(t, `FIN_WAIT1, [\d.]+ \wB unsent for .*, no process owns it: closed, or its process died.*; peer is pid `+strconv.Itoa(serverPID)+` sink, STOPPED`, "--stalled", "300ms", strconv.Itoa(port))
	t.Logf("\n%s", said)

	// Only the kernel can end what no process owns.
	abort := regexp.MustCompile(`stray (close --destroy --rule FD303 127\.0\.0\.1:\d+ --stalled 300ms)`).FindStringSubmatch(said)
	if abort == nil {
		t.Fatalf("it does not propose to abort the orphan:\n%s", said)
	}
	if plan := stray(t, 0, append(strings.Fields(abort[1]), "--yes")...); !strings.Contains(plan, "no process holds it") || strings.Contains(plan, "--half") {
		t.Errorf("the plan for an orphan is\n%s", plan)
	}
	says(t, `nothing was looked at`, abort[1][strings.LastIndex(abort[1], "127."):strings.LastIndex(abort[1], " --stalled")])
}

// capnp builds the program on the distribution's Cap'n Proto.
func capnp(t *testing.T) (program string) {
	compiler := testenv.NeedTool(t, "g++", "g++")
	schema := testenv.NeedTool(t, "capnp", "capnproto")
	if _, err := os.Stat("/usr/include/capnp/ez-rpc.h"); err != nil {
		testenv.NeedTool(t, "capnp/ez-rpc.h", "libcapnp-dev")
	}
	dir := t.TempDir()
	source, err := filepath.Abs("../../testdata/stories/capnp")
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "sink")
	for _, argv := range [][]string{
		{schema, "compile", "-oc++:" + dir, "--src-prefix=" + source, source + "/sink.capnp"},
		{compiler, "-O1", "-I", dir, "-o", program, source + "/sink.cpp", dir + "/sink.capnp.c++", "-lcapnp-rpc", "-lcapnp", "-lkj-async", "-lkj"},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
	}
	return program
}
