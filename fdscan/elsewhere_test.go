package fdscan_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"stray/fdscan"
)

// elsewhere describes a process of other rights or namespaces that looks
// something up: the test binary, executed again.
type elsewhere struct {
	UID     int // 0 to stay who we are
	NewNet  bool
	NewPID  bool // with a /proc of its own
	Hidepid string
	NoKcmp  bool // kcmp(2) is refused, as in most containers
	// Memory says that it is nobody, but may read the kernel's memory, and does.
	Memory bool
	// Before are commands to run first.
	Before  []string
	Targets []string
	Deep    bool
	Survey  bool // of everything, in place of Targets
	// List says that it lists its own descriptors.
	List bool
}

const elsewhereVariable = "FDSCAN_ELSEWHERE"

// ask looks up from there.
func (e elsewhere) ask(t *testing.T) *fdscan.Snapshot {
	t.Helper()
	request, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), elsewhereVariable+"="+string(request))
	cmd.Dir = "/" // which every user may enter
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if e.NewNet {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
	}
	if e.NewPID {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID
		cmd.SysProcAttr.Unshareflags |= unix.CLONE_NEWNS
	}
	if e.Memory {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_BPF, unix.CAP_PERFMON}
	}
	answer, err := cmd.Output()
	if err != nil {
		t.Fatalf("ask elsewhere: %v", err)
	}
	var snap fdscan.Snapshot
	if err := json.Unmarshal(answer, &snap); err != nil {
		t.Fatalf("ask elsewhere: %v", err)
	}
	return &snap
}

// askedElsewhere is the main function of such a process.
func askedElsewhere() {
	text := os.Getenv(elsewhereVariable)
	if text == "" {
		return
	}
	snap, err := answerElsewhere(text)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(snap)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "elsewhere:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func answerElsewhere(text string) (*fdscan.Snapshot, error) {
	var e elsewhere
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return nil, err
	}
	if e.NewPID {
		if err := unix.Mount("proc", "/proc", "proc", 0, e.Hidepid); err != nil {
			return nil, fmt.Errorf("mount /proc: %w", err)
		}
	}
	for _, command := range e.Before {
		words := strings.Fields(command)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", command, err, out)
		}
	}
	if e.NoKcmp {
		if err := refuse(unix.SYS_KCMP); err != nil {
			return nil, err
		}
	}
	if e.UID != 0 {
		if err := syscall.Setgroups(nil); err != nil {
			return nil, err
		}
		if err := syscall.Setgid(e.UID); err != nil {
			return nil, err
		}
		if err := syscall.Setuid(e.UID); err != nil {
			return nil, err
		}
	}
	scanner := &fdscan.Scanner{}
	if e.Memory {
		scanner.Walker = fdscan.BPFWalker{ProcWalker: fdscan.ProcWalker{Root: "/proc"}, Always: true}
	}
	if e.Survey {
		snap, err := scanner.Survey(context.Background(), fdscan.SurveyQuestion{Deep: e.Deep})
		if err == nil {
			snap.Read = nil // what the next question of this process would need
		}
		return snap, err
	}
	if e.List {
		return scanner.List(context.Background(), []int{os.Getpid()})
	}
	q := fdscan.Question{Deep: e.Deep}
	for _, word := range e.Targets {
		target, err := fdscan.ParseTarget(word)
		if err != nil {
			return nil, err
		}
		q.Targets = append(q.Targets, target)
	}
	return scanner.Lookup(context.Background(), q)
}

// refuse makes a system call fail with EPERM, by a seccomp(2) filter for every
// thread of this process.
func refuse(call uint32) error {
	const numberOffset = 0 // of struct seccomp_data
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: numberOffset},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}
