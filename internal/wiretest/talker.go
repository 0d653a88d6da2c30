package wiretest

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// talkerVariable makes the test binary a talker, by this name.
const talkerVariable = "STRAY_TALKER"

// Main makes this process a talker, if that is what it was started as.
func Main() {
	name := os.Getenv(talkerVariable)
	if name == "" {
		return
	}
	_ = os.WriteFile("/proc/self/comm", []byte(name), 0)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := obey(strings.Fields(lines.Text()))
		if err != nil {
			fmt.Println("error", err)
		} else {
			fmt.Println("ok", answer)
		}
	}
	os.Exit(0)
}

// obey carries out one order: the first word says what, and descriptors are
// numbers.
func obey(words []string) (answer string, err error) {
	if len(words) < 2 {
		return "", errors.New("no order")
	}
	number := func(i int) int {
		n := 0
		if i < len(words) {
			n, err = strconv.Atoi(words[i])
		}
		return n
	}
	fd := 0
	switch words[0] {
	case "listen", "dial", "udp", "pair", "unix-listen", "unix-dial":
	default:
		fd = number(1)
	}
	switch words[0] {
	case "listen": // ADDRESS BACKLOG PROTOCOL REUSEPORT
		return open(words[1], number(3), unix.SOCK_STREAM, func(fd int, at unix.Sockaddr) error {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, number(4)); err != nil {
				return err
			}
			if err := unix.Bind(fd, at); err != nil {
				return err
			}
			return unix.Listen(fd, number(2))
		})
	case "dial": // ADDRESS - PROTOCOL
		return open(words[1], number(3), unix.SOCK_STREAM, func(fd int, to unix.Sockaddr) error { return unix.Connect(fd, to) })
	case "udp": // ADDRESS
		return open(words[1], 0, unix.SOCK_DGRAM, func(fd int, at unix.Sockaddr) error { return unix.Bind(fd, at) })
	case "pair":
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return fmt.Sprint(pair[0], " ", pair[1]), err
	case "unix-listen", "unix-dial": // PATH
		s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil && words[0] == "unix-dial" {
			err = unix.Connect(s, &unix.SockaddrUnix{Name: words[1]})
		} else if err == nil {
			if err = unix.Bind(s, &unix.SockaddrUnix{Name: words[1]}); err == nil {
				err = unix.Listen(s, 16)
			}
		}
		return fmt.Sprint(s), err
	case "accept":
		n, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		return fmt.Sprint(n), err
	case "write": // FD BYTES: as many as go without blocking
		return fmt.Sprint(write(fd, number(2))), nil
	case "read": // FD BYTES
		buf := make([]byte, number(2))
		n, err := unix.Read(fd, buf)
		return fmt.Sprint(n), err
	case "send": // FD ADDRESS BYTES TIMES: datagrams
		to, err := netip.ParseAddrPort(words[2])
		if err != nil {
			return "", err
		}
		for range number(4) {
			if err := unix.Sendto(fd, make([]byte, number(3)), 0, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
				return "", err
			}
		}
		return "", nil
	case "shut":
		return "", unix.Shutdown(fd, unix.SHUT_WR)
	case "close":
		return "", unix.Close(fd)
	case "set": // FD LEVEL OPTION VALUE
		return "", unix.SetsockoptInt(fd, number(2), number(3), number(4))
	}
	return "", fmt.Errorf("unknown order %q", words[0])
}

func open(address string, protocol, kind int, use func(fd int, a unix.Sockaddr) error) (string, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return "", err
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return "", err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := use(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return "", err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(fd, " ", name.(*unix.SockaddrInet4).Port), nil
}

// write writes up to n bytes, and returns how many the kernel has taken before it
// would have blocked.
func write(fd, n int) (taken int) {
	block := make([]byte, 64<<10)
	for taken < n {
		m, err := unix.SendmsgN(fd, block[:min(len(block), n-taken)], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != nil {
			break
		}
		taken += m
	}
	return taken
}

// Talker is a process that opens, uses and neglects sockets as it is told.
type Talker struct {
	PID int
	t   testing.TB
	in  *os.File
	out *bufio.Reader
}

// Talk starts a talker in the namespace of e. The test's end kills it, stopped or
// not.
func (e *End) Talk(t testing.TB, name string) *Talker {
	t.Helper()
	return talk(t, name, e.In)
}

// TalkHere starts a talker in the test's own namespace.
func TalkHere(t testing.TB, name string) *Talker {
	t.Helper()
	return talk(t, name, func(f func() error) error { return f() })
}

func talk(t testing.TB, name string, in func(func() error) error) *Talker {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), talkerVariable+"="+name)
	c.Stderr = os.Stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := in(c.Start); err != nil {
		t.Fatalf("start a talker: %v", err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = stdin.Close()
		_ = c.Wait()
	})
	return &Talker{PID: c.Process.Pid, t: t, in: stdin.(*os.File), out: bufio.NewReader(stdout)}
}

// Do gives an order and returns the numbers of the answer.
func (k *Talker) Do(order string, args ...any) (numbers []int) {
	k.t.Helper()
	for _, a := range args {
		order += " " + fmt.Sprint(a)
	}
	k.Tell(order)
	line, err := k.out.ReadString('\n')
	if err != nil {
		k.t.Fatalf("%s: %v", order, err)
	}
	words := strings.Fields(line)
	if words[0] != "ok" {
		k.t.Fatalf("%s: %s", order, line)
	}
	for _, w := range words[1:] {
		n, err := strconv.Atoi(w)
		if err != nil {
			k.t.Fatalf("%s: %s", order, line)
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// Tell gives an order without waiting for it to be carried out, which may never
// happen.
func (k *Talker) Tell(order string) {
	k.t.Helper()
	if _, err := k.in.WriteString(order + "\n"); err != nil {
		k.t.Fatal(err)
	}
}

// Listen listens on an address, whose port may be 0, and returns the descriptor
// and the address.
func (k *Talker) Listen(address string, backlog int) (fd int, at string) {
	k.t.Helper()
	n := k.Do("listen", netip.AddrPortFrom(netip.MustParseAddr(address), 0), backlog)
	return n[0], fmt.Sprintf("%s:%d", address, n[1])
}

// Dial connects, and returns the descriptor and the own port.
func (k *Talker) Dial(address string) (fd, port int) {
	k.t.Helper()
	n := k.Do("dial", address)
	return n[0], n[1]
}

// Accept accepts a connection.
func (k *Talker) Accept(listener int) (fd int) {
	k.t.Helper()
	return k.Do("accept", listener)[0]
}

// Stop stops the process, as Ctrl-Z does, and returns when it stands.
func (k *Talker) Stop() {
	k.t.Helper()
	if err := unix.Kill(k.PID, unix.SIGSTOP); err != nil {
		k.t.Fatal(err)
	}
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", k.PID))
		if err != nil {
			k.t.Fatal(err)
		}
		if strings.Contains(string(stat), ") T ") || strings.Contains(string(stat), ") t ") { // t below a tracer
			return
		}
	}
}

// Kill ends the process at once.
func (k *Talker) Kill() { _ = unix.Kill(k.PID, unix.SIGKILL) }
