package proctest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// roleVariable in the environment makes this program a role.
const roleVariable = "PROCTEST_ROLE"

// roleName is what a role's process calls itself, unless told otherwise.
const roleName = "holder"

// environment is that of every process of a role: without what the runner's
// could say to a process about descriptors, such as LISTEN_FDS or MAKEFLAGS.
func environment() []string {
	var kept []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			kept = append(kept, name+"="+value)
		}
	}
	return kept
}

// roleEnvironment makes this program take a role. The runtime would hold the
// CPU limit of its cgroup open, and the race detector sleep before it exits.
func roleEnvironment(base []string, which string) []string {
	return append(base[:len(base):len(base)], "GODEBUG=containermaxprocs=0", "GORACE=atexit_sleep_ms=0",
		roleVariable+"="+which)
}

// highDescriptor is above what a script makes.
const highDescriptor = 500

// openHigh opens a file without taking one of the low numbers, which are for
// what the script makes meanwhile.
func openHigh(path string, flags int) (int, error) {
	low, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(low)
	return unix.FcntlInt(uintptr(low), unix.F_DUPFD_CLOEXEC, highDescriptor)
}

// launch is an exec of a program or of another role.
type launch struct {
	environment []string
	attributes  syscall.SysProcAttr
	newNet      bool
	// passed are put at descriptor 3 and up.
	passed []entry
	// path is the program of a role; empty for this one.
	path string
	// stdio become 0, 1 and 2; 0 of a role is its request.
	stdio [3]int
}

// options reads the options of exec.
func (l *launch) options(op *operation, t table) (err error) {
	l.newNet = op.on("newnet")
	if op.on("newpid") {
		l.attributes.Cloneflags |= unix.CLONE_NEWPID
	}
	if op.on("newuser") {
		// Root inside is this user outside.
		l.attributes.Cloneflags |= unix.CLONE_NEWUSER
		l.attributes.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		l.attributes.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if uid := op.number("uid", -1); uid >= 0 {
		l.attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	if words := op.option("pass", ""); words != "" {
		l.passed, err = t.findAll(strings.Split(words, ","))
	}
	return err
}

// program executes another program, and returns its pid.
func (l *launch) program(path string, argv []string) (pid int, err error) {
	return l.forkExec(path, argv, l.environment)
}

// role executes this program in another role.
func (l *launch) role(req *request) error {
	stdin, err := req.pipe()
	if err != nil {
		return err
	}
	defer unix.Close(stdin)
	l.stdio[0] = stdin
	path := l.path
	if path == "" {
		path = "/proc/self/exe"
	}
	_, err = l.forkExec(path, []string{req.Name}, roleEnvironment(l.environment, "role"))
	return err
}

// pipe returns a pipe that brings the request, and then its end.
func (req *request) pipe() (int, error) {
	message, err := json.Marshal(req)
	if err != nil {
		return 0, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return 0, fmt.Errorf("pipe: %w", err)
	}
	defer unix.Close(pipe[1])
	// Nobody reads yet: a request has to fit.
	if _, err := unix.FcntlInt(uintptr(pipe[1]), unix.F_SETPIPE_SZ, len(message)+1); err != nil {
		return 0, fmt.Errorf("size pipe: %w", err)
	}
	if err := writeAll(pipe[1], message); err != nil {
		return 0, err
	}
	return pipe[0], nil
}

// forkExec executes a program, and returns its pid.
func (l *launch) forkExec(path string, argv, environment []string) (pid int, err error) {
	sources := l.stdio[:]
	for _, e := range l.passed {
		sources = append(sources, e.FD)
	}
	// The child of syscall.ForkExec moves descriptors out of the way, to
	// numbers just above the highest of these: they have to be free.
	var files []uintptr
	for _, source := range sources {
		fd, err := unix.FcntlInt(uintptr(source), unix.F_DUPFD_CLOEXEC, highDescriptor)
		if err != nil {
			return 0, fmt.Errorf("dup %d: %w", source, err)
		}
		defer unix.Close(fd)
		files = append(files, uintptr(fd))
	}
	execute := func() (err error) {
		pid, err = syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: environment, Files: files, Sys: &l.attributes})
		return err
	}
	if l.newNet {
		err = inNewNet(execute)
	} else {
		err = execute()
	}
	return pid, err
}

// inNewNet calls f with the calling thread, which is locked, in a new network
// namespace whose loopback device is up.
func inNewNet(f func() error) error {
	home, err := openHigh("/proc/thread-self/ns/net", unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(home)
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare network namespace: %w", err)
	}
	err = loopbackUp()
	if err == nil {
		err = f()
	}
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		return fmt.Errorf("go back to the network namespace: %w", back)
	}
	return err
}

// loopbackUp sets IFF_UP on lo of the thread's network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	var device struct { // struct ifreq
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(device.name[:], "lo")
	device.flags = unix.IFF_UP
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&device))); errno != 0 {
		return fmt.Errorf("set lo up: %w", errno)
	}
	return nil
}

// inherited is the table of a program that this process executes.
func (r *role) inherited(passed []entry) table {
	var t table
	for i, e := range passed {
		e.FD = 3 + i
		t = append(t, e)
	}
	for _, e := range r.table {
		flags, err := unix.FcntlInt(uintptr(e.FD), unix.F_GETFD, 0)
		switch {
		case err != nil, flags&unix.FD_CLOEXEC != 0:
			// The exec closes it.
		case e.FD < 3+len(passed):
			// Its number is another's now.
		case t.has(e.Name):
			t.add(e.Name+strconv.Itoa(e.FD), e.Kind, e.FD)
		default:
			t = append(t, e)
		}
	}
	return t
}

// copyOfProgram returns the path of a copy of this program under another name.
func copyOfProgram(directory, name string) (string, error) {
	path := filepath.Join(directory, filepath.Base(name))
	if unix.Access(path, unix.X_OK) == nil {
		return path, nil
	}
	from, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open /proc/self/exe: %w", err)
	}
	defer unix.Close(from)
	// Another process of the role may want it too.
	temporary := fmt.Sprintf("%s.%d", path, unix.Getpid())
	to, err := unix.Open(temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o755)
	if err != nil {
		return "", fmt.Errorf("create %s: %w", temporary, err)
	}
	for n := 1; n > 0 && err == nil; {
		n, err = unix.Sendfile(to, from, nil, 1<<30)
	}
	unix.Close(to) // what is open for writing cannot be executed
	if err == nil {
		err = unix.Rename(temporary, path)
	}
	if err != nil {
		return "", fmt.Errorf("copy the program to %s: %w", path, err)
	}
	return path, nil
}
