package proctest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/osthread"
)

// makers make what needs no path, by the kind of descriptor that it is.
// Makers in other files join them: the kernel may lack what they make, or keep
// it from who is not root.
var makers = map[string]func() (int, error){
	"eventfd": func() (int, error) { return unix.Eventfd(3, 0) },
	"timerfd": func() (int, error) {
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, 0)
		if err != nil {
			return fd, err
		}
		hour := unix.NsecToTimespec(time.Hour.Nanoseconds())
		return fd, unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: hour, Value: hour}, nil)
	},
	"signalfd": func() (int, error) {
		var set unix.Sigset_t
		for _, s := range []unix.Signal{unix.SIGUSR1, unix.SIGTERM, 34} {
			set.Val[0] |= 1 << (s - 1)
		}
		return unix.Signalfd(-1, &set, 0)
	},
	"inotify": func() (int, error) {
		fd, err := unix.InotifyInit1(0)
		if err != nil {
			return fd, err
		}
		_, err = unix.InotifyAddWatch(fd, "/", unix.IN_MOVE_SELF)
		return fd, err
	},
	"memfd": func() (int, error) { return unix.MemfdCreate("proctest", 0) },
	"pidfd": func() (int, error) { return unix.PidfdOpen(unix.Getpid(), 0) },

	"bpf-link": makeBPFLink, "bpf-map": makeBPFMap, "bpf-prog": makeBPFProgram, "bpf-stats": makeBPFStats, "btf": makeBTF,
	"fanotify": makeFanotify, "fscontext": makeFSContext, "kvm": makeKVM, "landlock-ruleset": makeLandlock, "memfd_secret": makeSecret,
	"mount": makeMount, "mqueue": makeQueue, "perf_event": makePerfEvent, "seccomp-notify": makeSeccompNotify, "tun": makeTUN,
	"userfaultfd": makeUserFault,
	"netlink": func() (int, error) {
		return boundSocket(unix.AF_NETLINK, unix.NETLINK_ROUTE, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	},
	"packet": func() (int, error) { return boundSocket(unix.AF_PACKET, 0, &unix.SockaddrLinklayer{Ifindex: 1}) },
	"vsock":  func() (int, error) { return unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) },
	"xdp":    func() (int, error) { return unix.Socket(unix.AF_XDP, unix.SOCK_RAW, 0) },
}

// TryMake makes a descriptor as "make KIND" does, and closes it: the error says
// why this machine, or this user, cannot.
func TryMake(kind string) error {
	maker, ok := makers[kind]
	if !ok {
		return fmt.Errorf("unknown kind of descriptor %q", kind)
	}
	return osthread.Discard(func() error { // some enter a namespace meanwhile
		fd, err := maker()
		if err != nil {
			return err
		}
		return unix.Close(fd)
	})
}

// boundSocket makes a raw socket and binds it.
func boundSocket(family, protocol int, address unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW, protocol)
	if err != nil {
		return fd, err
	}
	return fd, unix.Bind(fd, address)
}

var _ = define(&specification{
	usage: "make KIND [name=N fd=N cloexec=0|1]",
	text: "makes a descriptor of a kind: " + strings.Join(slices.Sorted(maps.Keys(makers)), ", ") + ". A memfd is called proctest, an eventfd counts 3, a timer " +
		"expires every hour, inotify and fanotify watch /, a tun is in a new network namespace.",
	min: 1, max: 1, options: []string{"name", "fd", "cloexec"},
	run: func(r *role, op *operation) error {
		maker, ok := makers[op.Args[0]]
		if !ok {
			return fmt.Errorf("unknown kind of descriptor")
		}
		fd, err := maker()
		if err != nil {
			return err
		}
		// Some are always made close-on-exec.
		flag := 0
		if op.on("cloexec") {
			flag = unix.FD_CLOEXEC
		}
		if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag); err != nil {
			return err
		}
		return r.keep(op, fd, op.Args[0])
	},
})

var _ = define(&specification{
	usage:   "pty [name=N]",
	text:    "makes a pseudoterminal whose master is called N and whose slave N2; it is nobody's controlling terminal.",
	options: []string{"name"},
	run: func(r *role, op *operation) error {
		master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
			return fmt.Errorf("unlock: %w", err)
		}
		number, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
		if err != nil {
			return err
		}
		slave, err := unix.Open(fmt.Sprintf("/dev/pts/%d", number), unix.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		name := op.option("name", "pty")
		if err := r.table.add(name, "pty", master); err != nil {
			return err
		}
		return r.table.add(name+"2", "pty", slave)
	},
})
