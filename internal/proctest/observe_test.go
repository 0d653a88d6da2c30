package proctest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What stands here looks at roles from outside, by /proc and plain system
// calls, and shares nothing with the code that makes them.

// links returns the link text of every descriptor that a directory of /proc
// shows; it is nil when the directory cannot be read.
func links(directory string) map[int]string {
	entries, err := os.ReadDir(directory + "/fd")
	if err != nil {
		return nil
	}
	found := map[int]string{}
	for _, entry := range entries {
		fd, _ := strconv.Atoi(entry.Name())
		found[fd], _ = os.Readlink(directory + "/fd/" + entry.Name())
	}
	return found
}

// process returns the directory of a process.
func process(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// socketLink is the link text of a socket.
func socketLink(inode uint64) string { return fmt.Sprintf("socket:[%d]", inode) }

// holders returns "pid/fd" of every descriptor in any thread of any process
// that leads to the text.
func holders(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	pids, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if _, err := strconv.Atoi(pid.Name()); err != nil {
			continue
		}
		tids, _ := os.ReadDir("/proc/" + pid.Name() + "/task")
		for _, tid := range tids {
			for fd, link := range links("/proc/" + pid.Name() + "/task/" + tid.Name()) {
				if link == text {
					found = append(found, fmt.Sprintf("%s/%d", tid.Name(), fd))
				}
			}
		}
	}
	return found
}

// status returns a field of /proc/PID/status.
func status(t *testing.T, pid int, field string) string {
	t.Helper()
	for line := range strings.Lines(read(t, process(pid)+"/status")) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("/proc/%d/status has no field %s", pid, field)
	return ""
}

// fdinfo returns the values of a key in /proc/PID/fdinfo/FD.
func fdinfo(t *testing.T, pid, fd int, key string) []string {
	t.Helper()
	var values []string
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// closeOnExec reads FD_CLOEXEC of another process's descriptor.
func closeOnExec(t *testing.T, pid, fd int) bool {
	t.Helper()
	flags, err := strconv.ParseUint(fdinfo(t, pid, fd, "flags")[0], 8, 32)
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_CLOEXEC != 0
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readLink(t *testing.T, path string) string {
	t.Helper()
	text, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// row is a line of /proc/PID/net/tcp or another table of its kind.
type row struct {
	local, remote, state string
	sendQueue, recvQueue uint64
	inode                uint64
}

// rows returns the rows of a table of a process's network namespace with this
// local port.
func rows(t *testing.T, pid int, table string, port int) []row {
	t.Helper()
	var found []row
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/net/%s", pid, table))) {
		f := strings.Fields(line)
		if f[0] == "sl" || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			continue
		}
		r := row{local: f[1], remote: f[2], state: f[3]}
		if _, err := fmt.Sscanf(f[4], "%x:%x", &r.sendQueue, &r.recvQueue); err != nil {
			t.Fatalf("parse %q: %v", line, err)
		}
		r.inode, _ = strconv.ParseUint(f[9], 10, 64)
		found = append(found, r)
	}
	return found
}

// onlyRow returns the row that has to be the only one.
func onlyRow(t *testing.T, pid int, table string, port int) row {
	t.Helper()
	found := rows(t, pid, table, port)
	if len(found) != 1 {
		t.Fatalf("port %d has rows %+v in %s, want one", port, found, table)
	}
	return found[0]
}

// connectionRow returns the row of a TCP connection over IPv4. Its port alone
// would not do: another connection may have had it.
func connectionRow(t *testing.T, pid int, s Socket) row {
	t.Helper()
	for _, r := range rows(t, pid, "tcp", s.Port()) {
		if strings.HasSuffix(r.remote, fmt.Sprintf(":%04X", s.Remote.Port())) {
			return r
		}
	}
	t.Fatalf("%v to %v is no connection", s.Local, s.Remote)
	return row{}
}

// borrow returns a copy of another process's descriptor, for the time of the test.
func borrow(t *testing.T, pid, fd int) int {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	copied, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		t.Fatalf("pidfd_getfd %d of pid %d: %v", fd, pid, err)
	}
	t.Cleanup(func() { unix.Close(copied) })
	return copied
}

// sockopt reads an integer option of another process's socket.
func sockopt(t *testing.T, pid, fd, level, name int) int {
	t.Helper()
	value, err := unix.GetsockoptInt(borrow(t, pid, fd), level, name)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// The types of kcmp(2).
const (
	kcmpFile  = 0
	kcmpFiles = 2
)

// same reports whether kcmp(2) finds two things of processes to be one.
func same(t *testing.T, kind, pid1, fd1, pid2, fd2 int) bool {
	t.Helper()
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), uintptr(kind), uintptr(fd1), uintptr(fd2), 0)
	if errno != 0 {
		t.Fatalf("kcmp: %v", errno)
	}
	return r == 0
}

// currentCall returns the system call that a thread is in, as /proc/TID/syscall
// shows it.
func currentCall(t *testing.T, tid int) string {
	t.Helper()
	call, _, _ := strings.Cut(strings.TrimSpace(read(t, process(tid)+"/syscall")), " ")
	return call
}

// canBind returns what bind(2) says here to a TCP socket.
func canBind(t *testing.T, port int) error {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}
