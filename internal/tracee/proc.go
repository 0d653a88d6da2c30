package tracee

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// procRoot is where proc(5) is mounted.
const procRoot = "/proc"

// process is an open /proc/PID. Whatever is read through it concerns the very
// process it was opened for: when that has ended reads fail with ESRCH, whoever
// has the number by then.
type process struct {
	pid   int
	dir   *os.File // /proc/PID
	tasks *os.File // /proc/PID/task
}

func openProcess(pid int) (*process, error) {
	dir, err := os.Open(procRoot + "/" + strconv.Itoa(pid))
	if err != nil {
		return nil, err
	}
	p := &process{pid: pid, dir: dir}
	fd, err := p.open("task", unix.O_DIRECTORY)
	if err != nil {
		dir.Close()
		return nil, err
	}
	p.tasks = os.NewFile(uintptr(fd), "task")
	return p, nil
}

func (p *process) close() {
	p.dir.Close()
	p.tasks.Close()
}

func (p *process) open(name string, flags int) (int, error) {
	fd, err := unix.Openat(int(p.dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: fmt.Sprintf("%s/%d/%s", procRoot, p.pid, name), Err: err}
	}
	return fd, nil
}

// read returns the file of the process; name may lead into task/TID.
func (p *process) read(name string) ([]byte, error) {
	fd, err := p.open(name, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var text []byte
	for buffer := make([]byte, 8192); ; {
		n, err := unix.Read(fd, buffer)
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: fmt.Sprintf("%s/%d/%s", procRoot, p.pid, name), Err: err}
		}
		if n == 0 {
			return text, nil
		}
		text = append(text, buffer[:n]...)
	}
}

// taskFile is the name, for read and open, of a thread's file.
func taskFile(tid int, name string) string { return "task/" + strconv.Itoa(tid) + "/" + name }

// threads lists the threads that exist now, in the order of their numbers.
func (p *process) threads() ([]int, error) {
	if _, err := p.tasks.Seek(0, 0); err != nil {
		return nil, err
	}
	names, err := p.tasks.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	return numbers(names), nil
}

// threadCount is how many threads exist now, zombies included: the kernel counts
// them as subdirectories of task.
func (p *process) threadCount() int {
	var stat unix.Stat_t
	if err := unix.Fstat(int(p.tasks.Fd()), &stat); err != nil {
		return 0
	}
	return int(stat.Nlink) - 2
}

// numbers are the names that are numbers, sorted.
func numbers(names []string) []int {
	ids := make([]int, 0, len(names))
	for _, name := range names {
		if id, err := strconv.Atoi(name); err == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// has reports whether tid is a thread of the process now.
func (p *process) has(tid int) bool {
	return unix.Faccessat(int(p.tasks.Fd()), strconv.Itoa(tid), unix.F_OK, 0) == nil
}

// processStat is what is needed of /proc/PID/stat, or of a thread's.
type processStat struct {
	comm       string
	state      byte   // R S D T t Z X I
	flags      uint64 // PF_ flags of the kernel's <linux/sched.h>
	startTicks uint64 // in USER_HZ since boot
}

func (p *process) stat(name string) (processStat, error) {
	text, err := p.read(name)
	if err != nil {
		return processStat{}, err
	}
	return parseStat(text)
}

// parseStat reads proc_pid_stat(5). The command name may hold any byte, blanks
// and parentheses included: the last parenthesis ends it.
func parseStat(text []byte) (processStat, error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return processStat{}, fmt.Errorf("parse stat %q: no command name", text)
	}
	fields := bytes.Fields(text[end+1:])
	// The first of these is field 3.
	if len(fields) < 20 {
		return processStat{}, fmt.Errorf("parse stat %q: %d fields", text, len(fields)+2)
	}
	flags, err1 := strconv.ParseUint(string(fields[9-3]), 10, 64)
	start, err2 := strconv.ParseUint(string(fields[22-3]), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return processStat{}, fmt.Errorf("parse stat: %w", err)
	}
	return processStat{
		comm:       string(text[open+1 : end]),
		state:      fields[0][0],
		flags:      flags,
		startTicks: start,
	}, nil
}

// processStatus is what is needed of /proc/PID/status, or of a thread's.
type processStatus struct {
	tracer  int
	seccomp int // 0 none, 1 strict, 2 filter; 0 on a kernel without seccomp
	uids    [3]uint32
	gids    [3]uint32 // real, effective, saved
	caps    uint64    // CapEff
}

func (p *process) status(name string) (processStatus, error) {
	text, err := p.read(name)
	if err != nil {
		return processStatus{}, err
	}
	return parseStatusFile(text)
}

// parseStatusFile reads proc_pid_status(5). A line that this kernel does not
// write leaves its field 0.
func parseStatusFile(text []byte) (processStatus, error) {
	var s processStatus
	var err error
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		fields := bytes.Fields(value)
		if len(fields) == 0 {
			continue
		}
		var bad error
		switch string(key) {
		case "TracerPid":
			s.tracer, bad = strconv.Atoi(string(fields[0]))
		case "Seccomp":
			s.seccomp, bad = strconv.Atoi(string(fields[0]))
		case "CapEff":
			s.caps, bad = strconv.ParseUint(string(fields[0]), 16, 64)
		case "Uid":
			bad = parseIDs(fields, &s.uids)
		case "Gid":
			bad = parseIDs(fields, &s.gids)
		}
		err = errors.Join(err, bad)
	}
	if err != nil {
		return processStatus{}, fmt.Errorf("parse status: %w", err)
	}
	return s, nil
}

func parseIDs(fields [][]byte, ids *[3]uint32) error {
	if len(fields) < len(ids) {
		return fmt.Errorf("%d ids", len(fields))
	}
	for i := range ids {
		id, err := strconv.ParseUint(string(fields[i]), 10, 32)
		if err != nil {
			return err
		}
		ids[i] = uint32(id)
	}
	return nil
}

// callLine is /proc/PID/task/TID/syscall: the system call in which a thread
// waits, with its arguments as they were given.
type callLine struct {
	number     int // -1 when it waits outside of any
	arguments  [6]uint64
	stack, pc  uint64
	inProgress bool // false for a thread that is running
}

// parseCallLine reads proc_pid_syscall(5).
func parseCallLine(text []byte) (callLine, error) {
	var c callLine
	fields := bytes.Fields(text)
	if len(fields) == 1 && string(fields[0]) == "running" {
		return callLine{number: -1}, nil
	}
	if len(fields) != 3 && len(fields) != 9 {
		return callLine{}, fmt.Errorf("parse syscall %q", text)
	}
	number, err := strconv.Atoi(string(fields[0]))
	if err != nil {
		return callLine{}, fmt.Errorf("parse syscall: %w", err)
	}
	c.number = number
	c.inProgress = number >= 0
	into := []*uint64{&c.stack, &c.pc}
	if len(fields) == 9 {
		into = []*uint64{
			&c.arguments[0], &c.arguments[1], &c.arguments[2], &c.arguments[3],
			&c.arguments[4], &c.arguments[5], &c.stack, &c.pc,
		}
	}
	for i, field := range fields[1:] {
		if *into[i], err = strconv.ParseUint(string(field), 0, 64); err != nil {
			return callLine{}, fmt.Errorf("parse syscall: %w", err)
		}
	}
	return c, nil
}

// auxiliary is what is needed of the auxiliary vector of a program.
type auxiliary struct {
	// bits is the width of the program: 64 or 32, and 0 for none (a kernel
	// thread, a zombie).
	bits int
	// vdso is where the kernel's own code is mapped (AT_SYSINFO_EHDR), and
	// filename is where the path of the program stands (AT_EXECFN). 0: nowhere.
	vdso, filename uint64
}

// parseAuxiliary reads /proc/PID/auxv of a 64-bit kernel. A 32-bit program's
// has entries of half the size, which read as 64-bit ones have absurd keys.
func parseAuxiliary(vector []byte) auxiliary {
	const null, filename, vdso, largestKey = 0, 31, 33, 1 << 16
	if len(vector) < 16 {
		return auxiliary{}
	}
	aux := auxiliary{bits: 64}
	for ; len(vector) >= 16; vector = vector[16:] {
		value := binary.NativeEndian.Uint64(vector[8:])
		switch key := binary.NativeEndian.Uint64(vector); {
		case key == null:
			return aux
		case key == filename:
			aux.filename = value
		case key == vdso:
			aux.vdso = value
		case key > largestKey:
			return auxiliary{bits: 32}
		}
	}
	return aux
}
