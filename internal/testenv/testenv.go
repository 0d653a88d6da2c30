// Package testenv says what a test needs of the machine, and fails a test
// binary that leaks descriptors or processes.
//
// On a laptop a test whose need is not met is skipped. Where the environment
// has STRAY_REQUIRE_PRIVILEGED=1, as in CI, it fails: a skip there would be a
// hole in the proof that nobody sees.
package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unmet skips the test for the reason, a sentence, or fails it where the
// machine is required to have everything.
func unmet(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("STRAY_REQUIRE_PRIVILEGED") == "1" {
		t.Fatalf("STRAY_REQUIRE_PRIVILEGED=1, but "+format, args...)
	}
	t.Skipf(format, args...)
}

// NeedRoot skips the test unless it runs with effective user id 0.
func NeedRoot(t testing.TB) {
	t.Helper()
	if uid := os.Geteuid(); uid != 0 {
		unmet(t, "this test needs root: it runs as user %d", uid)
	}
}

// NeedUntraced skips the test when somebody traces this process, and so what it
// starts: nobody else can trace that then.
func NeedUntraced(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if tracer, found := strings.CutPrefix(line, "TracerPid:\t"); found && tracer != "0\n" {
			unmet(t, "this test traces processes: pid %s does so already", strings.TrimSpace(tracer))
		}
	}
}

// NeedKernel skips the test on a Linux older than major.minor.
func NeedKernel(t testing.TB, major, minor int) {
	t.Helper()
	release := kernelRelease()
	var haveMajor, haveMinor int
	if _, err := fmt.Sscanf(release, "%d.%d", &haveMajor, &haveMinor); err != nil {
		t.Fatalf("parse kernel release %q: %v", release, err)
	}
	if haveMajor < major || haveMajor == major && haveMinor < minor {
		unmet(t, "this test needs Linux %d.%d: this is %s", major, minor, release)
	}
}

// kernelRelease is the release of uname(2), such as "6.8.0-31-generic".
func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// NeedTool skips the test unless the program is in PATH, and returns where. The
// package is the distribution's that has it, for the one who wants to cure it.
func NeedTool(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		unmet(t, "this test needs %s: install the package %s", name, pkg)
	}
	return path
}

// NeedNetNS skips the test unless it may make network namespaces, which takes
// CAP_SYS_ADMIN and a kernel with CONFIG_NET_NS.
func NeedNetNS(t testing.TB) {
	t.Helper()
	needNamespace(t, "network", "net", unix.CLONE_NEWNET)
}

// NeedPIDNS skips the test unless it may make pid namespaces, which takes
// CAP_SYS_ADMIN and a kernel with CONFIG_PID_NS.
func NeedPIDNS(t testing.TB) {
	t.Helper()
	needNamespace(t, "pid", "pid_for_children", unix.CLONE_NEWPID)
}

// needNamespace makes a namespace for this thread, and goes back.
func needNamespace(t testing.TB, kind, link string, flag int) {
	t.Helper()
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/"+link, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(home)
		if err = unix.Unshare(flag); err == nil {
			if err := unix.Setns(home, flag); err != nil {
				// The thread stays locked, so that no other test runs on it.
				t.Fatalf("go back to the %s namespace: %v", kind, err)
			}
		}
	}
	runtime.UnlockOSThread()
	if err != nil {
		unmet(t, "this test needs to make a %s namespace: %v", kind, err)
	}
}

// NeedIOURing skips the test unless io_uring_setup(2) works: a kernel may lack
// it, and kernel.io_uring_disabled or a container may forbid it.
func NeedIOURing(t testing.TB) {
	t.Helper()
	// With no entries EINVAL is the answer of a kernel that would do it.
	_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 0, 0, 0)
	if errno != unix.EINVAL && errno != unix.EFAULT {
		unmet(t, "this test needs io_uring: io_uring_setup: %v", errno)
	}
}

// NeedTUN skips the test unless there are tun(4) devices, and CAP_NET_ADMIN to
// make one.
func NeedTUN(t testing.TB) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unmet(t, "this test needs tun devices: %v", err)
		return
	}
	unix.Close(fd)
}

// NeedMPTCP skips the test unless multipath TCP sockets can be made.
func NeedMPTCP(t testing.TB) { needSocket(t, "MPTCP", unix.IPPROTO_MPTCP, unix.SOCK_STREAM) }

// NeedUDPLite skips the test unless UDP-Lite sockets can be made.
func NeedUDPLite(t testing.TB) { needSocket(t, "UDP-Lite", unix.IPPROTO_UDPLITE, unix.SOCK_DGRAM) }

func needSocket(t testing.TB, name string, protocol, kind int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		unmet(t, "this test needs %s: socket: %v", name, err)
		return
	}
	unix.Close(fd)
}

// NeedIPv6 skips the test unless the loopback device has ::1.
func NeedIPv6(t testing.TB) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet6{Addr: [16]byte{15: 1}})
		unix.Close(fd)
	}
	if err != nil {
		unmet(t, "this test needs IPv6: [::1] cannot be bound: %v", err)
	}
}

// NeedWorking skips the test unless err, which came of trying what it is about,
// is nil.
func NeedWorking(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		unmet(t, "this test needs %s: %v", what, err)
	}
}
