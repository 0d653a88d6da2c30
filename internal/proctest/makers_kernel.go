package proctest

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is what a system call is given the address of, and that stays where it
// is until release.
type memory struct{ runtime.Pinner }

func (m *memory) release() { m.Unpin() }

// at returns the address of v in m.
func at[T any](m *memory, v *T) uintptr {
	m.Pin(v)
	return uintptr(unsafe.Pointer(v))
}

// makeFD makes a system call that returns a descriptor.
func makeFD(nr uintptr, args ...uintptr) (int, error) {
	var a [6]uintptr
	copy(a[:], args)
	fd, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

func makeSecret() (int, error) { return makeFD(unix.SYS_MEMFD_SECRET, 0) }

func makeUserFault() (int, error) {
	const userModeOnly = 1 // UFFD_USER_MODE_ONLY: needs no privilege
	return makeFD(unix.SYS_USERFAULTFD, userModeOnly)
}

func makePerfEvent() (int, error) {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_TASK_CLOCK, Bits: unix.PerfBitDisabled | unix.PerfBitExcludeKernel}
	attr.Size = uint32(unsafe.Sizeof(attr))
	return unix.PerfEventOpen(&attr, 0, -1, -1, 0)
}

func makeFanotify() (int, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF, unix.O_RDONLY)
	if err != nil {
		return fd, err
	}
	return fd, unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_CLOSE_WRITE, unix.AT_FDCWD, "/")
}

func makeLandlock() (int, error) {
	var m memory
	defer m.release()
	handled := uint64(unix.LANDLOCK_ACCESS_FS_EXECUTE) // the first field of struct landlock_ruleset_attr
	return makeFD(unix.SYS_LANDLOCK_CREATE_RULESET, at(&m, &handled), unsafe.Sizeof(handled), 0)
}

func makeFSContext() (int, error) { return unix.Fsopen("tmpfs", 0) }

func makeMount() (int, error) {
	context, err := makeFSContext()
	if err != nil {
		return -1, err
	}
	defer unix.Close(context)
	const create = 6 // FSCONFIG_CMD_CREATE
	if _, _, errno := unix.Syscall6(unix.SYS_FSCONFIG, uintptr(context), create, 0, 0, 0, 0); errno != 0 {
		return -1, fmt.Errorf("fsconfig: %w", errno)
	}
	return unix.Fsmount(context, 0, 0)
}

// makeQueue makes a message queue, and removes its name.
func makeQueue() (int, error) {
	name, err := unix.BytePtrFromString(fmt.Sprintf("proctest-%d", os.Getpid()))
	if err != nil {
		return -1, err
	}
	var m memory
	defer m.release()
	fd, err := makeFD(unix.SYS_MQ_OPEN, at(&m, name), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600, 0)
	if err != nil {
		return -1, fmt.Errorf("mq_open: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)), 0, 0); errno != 0 {
		return -1, fmt.Errorf("mq_unlink: %w", errno)
	}
	return fd, nil
}

// makeKVM makes a virtual machine without processors or memory.
func makeKVM() (int, error) {
	kvm, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(kvm)
	const createVM = 0xae01 // KVM_CREATE_VM
	return makeFD(unix.SYS_IOCTL, uintptr(kvm), createVM, 0)
}

// makeTUN makes a network interface called proctest, in a namespace of its own.
func makeTUN() (fd int, err error) {
	err = inNewNet(func() error {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		request, err := unix.NewIfreq("proctest")
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	})
	return fd, err
}

// makeSeccompNotify makes the supervisor of a filter that allows everything. The
// thread that has the filter ends.
func makeSeccompNotify() (int, error) {
	type result struct {
		fd  int
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for ever
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			done <- result{-1, err}
			return
		}
		allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
		var m memory
		defer m.release()
		m.Pin(&allow)
		filter := unix.SockFprog{Len: 1, Filter: &allow}
		fd, err := makeFD(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, at(&m, &filter))
		done <- result{fd, err}
	}()
	r := <-done
	return r.fd, r.err
}
