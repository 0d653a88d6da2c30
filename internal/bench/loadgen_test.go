package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The environment of the load generator, which is this test binary again.
const (
	// worldEnv names the scene that a process 1 is to build.
	worldEnv = "STRAY_BENCH_BUILD_WORLD"
	// directoryEnv is an empty directory, over which it mounts its files.
	directoryEnv = "STRAY_BENCH_DIRECTORY"
	// memberEnv marks one process of a scene with threads: its index.
	memberEnv = "STRAY_BENCH_MEMBER"
)

// The descriptors that the load generator gets for the output of commands.
const (
	commandStdout = 3
	commandStderr = 4
)

// The descriptors of every process of a world beside the standard three.
const (
	readyFD    = 3 // for one byte when all else is open, and then closed
	listenerFD = 4 // the shared listener, in its holders only
)

// firstFD is the number of the first descriptor that a process opens itself.
func firstFD(index int) uintptr {
	if index < holderCount {
		return listenerFD + 1
	}
	return listenerFD
}

// ready is what the load generator says first.
type ready struct {
	Holders []int // pids, in the world's own pid namespace
	Error   string
}

// order is a command to run in the world.
type order struct {
	Argv []string // Argv[0] is an absolute path
	UID  int
}

// usage is what a command used.
type usage struct {
	Wall         time.Duration // from just before execve(2) to its end
	User, System time.Duration
	MaxRSS       int64 // bytes
	Exit         int   // exit status, or 128 + the signal
	Error        string
}

// generator is process 1 of a world.
type generator struct {
	scene  scene
	null   uintptr     // /dev/null
	limit  unix.Rlimit // RLIMIT_NOFILE, which the runtime has raised to its maximum
	report *report
}

// generate is the load generator: it builds the world, says so on stdout, runs
// the orders that it reads, and ends with its stdin, and its world with it.
func generate(name string) error {
	out := json.NewEncoder(os.Stdout)
	g := &generator{}
	pids, err := g.build(name)
	if err != nil {
		return errors.Join(err, out.Encode(ready{Error: err.Error()}))
	}
	if err := out.Encode(ready{Holders: pids}); err != nil {
		return err
	}
	orders := make(chan order)
	go read(os.Stdin, orders)
	for {
		u, err := g.run(<-orders)
		if err != nil {
			u.Error = err.Error()
		}
		if err := out.Encode(u); err != nil {
			return err
		}
	}
}

// read passes the orders on, and ends the process when there will be no more,
// even while a command runs.
func read(r io.Reader, orders chan<- order) {
	for in := json.NewDecoder(r); ; {
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			end(nil)
		} else if err != nil {
			end(err)
		}
		orders <- o
	}
}

// build makes the processes and returns the pids of the holders.
func (g *generator) build(name string) ([]int, error) {
	var ok bool
	if g.scene, ok = findScene(name); !ok {
		return nil, fmt.Errorf("no scene %q", name)
	}
	unix.CloseOnExec(commandStdout)
	unix.CloseOnExec(commandStderr)
	if err := furnish(os.Getenv(directoryEnv)); err != nil {
		return nil, err
	}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &g.limit); err != nil {
		return nil, os.NewSyscallError("getrlimit", err)
	}
	var err error
	if g.report, err = newReport(); err != nil {
		return nil, err
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR, 0)
	if err != nil {
		return nil, os.NewSyscallError("open "+os.DevNull, err)
	}
	if g.null, err = raise(null); err != nil {
		return nil, err
	}
	return g.populate()
}

// furnish gives the namespaces a /proc, a loopback interface, and a directory
// of files to work in.
func furnish(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount private", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return os.NewSyscallError("mount proc", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		return os.NewSyscallError("mount tmpfs", err)
	}
	for _, name := range fileNames {
		if err := os.WriteFile(filepath.Join(dir, strings.TrimRight(string(name[:]), "\x00")), nil, 0o644); err != nil {
			return err
		}
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	return loopbackUp()
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("ioctl SIOCSIFFLAGS", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
}

// raise moves a descriptor above those that a child may want to set.
func raise(fd int) (uintptr, error) {
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 64)
	if err != nil {
		return 0, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	return uintptr(high), unix.Close(fd)
}

// listen opens the listener that the holders share.
func listen() (uintptr, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: heldPort, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		return 0, os.NewSyscallError("listen", err)
	}
	return raise(fd)
}

// populate makes all processes, the holders first, and returns when every one
// of them has opened what it is to open.
func (g *generator) populate() ([]int, error) {
	listener, err := listen()
	if err != nil {
		return nil, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	write, err := raise(pipe[1])
	if err != nil {
		return nil, err
	}
	var pids []int
	var s script
	for i := range g.scene.Processes {
		s = s[:0]
		if err := g.process(&s, i, write, listener); err != nil {
			return nil, err
		}
		pid, err := s.fork(g.report)
		if err != nil {
			return nil, fmt.Errorf("make process %d: %w", i, err)
		}
		if i < holderCount {
			pids = append(pids, pid)
		}
	}
	unix.Close(int(listener))
	unix.Close(int(write))
	if err := awaitReady(pipe[0], g.scene.Processes); err != nil {
		return nil, errors.Join(err, g.report.error())
	}
	debug.FreeOSMemory() // the ru_maxrss of a command starts at what its fork copies
	return pids, nil
}

// process writes the script of one process.
func (g *generator) process(s *script, index int, ready, listener uintptr) error {
	from := []uintptr{g.null, g.null, g.null, readyFD: ready}
	if index < holderCount {
		from = append(from, listener)
	}
	s.place(from...)
	if g.scene.Threads > 1 {
		env := append(os.Environ(), fmt.Sprintf("%s=%d", memberEnv, index))
		return s.execute(g.report, []string{"/proc/self/exe"}, env)
	}
	s.open(g.scene.mix(), index, firstFD(index))
	s.sayReady()
	s.stay()
	return nil
}

// awaitReady reads n bytes up to the end of the pipe, which comes when every
// process has closed it, by intent or by its end.
func awaitReady(fd, n int) error {
	defer unix.Close(fd)
	buf := make([]byte, n+1)
	have := 0
	for {
		count, err := unix.Read(fd, buf)
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		if count == 0 {
			break
		}
		have += count
	}
	if have != n {
		return fmt.Errorf("%d of %d processes failed", n-have, n)
	}
	return nil
}

// What measured commands get.
var (
	commandEnv   = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	commandLimit unix.Rlimit // RLIMIT_NOFILE: the usual one, not this process's
)

// run executes a command and waits for its end.
func (g *generator) run(o order) (usage, error) {
	commandLimit = unix.Rlimit{Cur: 1024, Max: g.limit.Max}
	var s script
	s.place(g.null, commandStdout, commandStderr)
	s.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, address(&commandLimit), 0)
	if o.UID != 0 {
		s.become(o.UID)
	}
	if err := s.execute(g.report, o.Argv, commandEnv); err != nil {
		return usage{}, err
	}
	g.report.failed = 0
	pid, err := s.fork(g.report)
	if err != nil {
		return usage{}, err
	}
	var status unix.WaitStatus
	var used unix.Rusage
	if _, err := unix.Wait4(pid, &status, 0, &used); err != nil {
		return usage{}, os.NewSyscallError("wait4", err)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return usage{}, os.NewSyscallError("clock_gettime", err)
	}
	u := usage{
		Wall:   time.Duration(now.Nano() - g.report.begun.Nano()),
		User:   time.Duration(used.Utime.Nano()),
		System: time.Duration(used.Stime.Nano()),
		MaxRSS: used.Maxrss * 1024, // getrusage(2): in kilobytes
		Exit:   status.ExitStatus(),
	}
	if status.Signaled() {
		u.Exit = 128 + int(status.Signal())
	}
	return u, g.report.error()
}

// member is a process of a scene with threads. Its descriptors were put in
// place by the fork before its exec.
func member(sceneName, index string) error {
	s, ok := findScene(sceneName)
	if !ok {
		return fmt.Errorf("no scene %q", sceneName)
	}
	i, err := strconv.Atoi(index)
	if err != nil {
		return err
	}
	var opening script
	opening.open(s.mix(), i, firstFD(i))
	if err := opening.run(); err != nil {
		return err
	}
	var started sync.WaitGroup
	for range s.Threads - 1 {
		started.Add(1)
		go func() {
			runtime.LockOSThread()
			started.Done()
			pause()
		}()
	}
	started.Wait()
	var ready script
	ready.sayReady()
	if err := ready.run(); err != nil {
		return err
	}
	pause()
	return nil
}

func pause() {
	for {
		_ = unix.Pause() // EINTR
	}
}
