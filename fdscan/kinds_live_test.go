package fdscan_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

// liveKind is a real descriptor of a kind, and what is told of it.
type liveKind struct {
	// script makes it; %[1]s stands for a directory, %[2]d for the pid of the
	// test. It is called it.
	script string
	// need is what is made with "make", which this machine may not be able to.
	need string
	// link and target are regular expressions for the whole of them; %[1]s
	// stands for the directory.
	link, target string
	// details are names that fdinfo or a table has to tell.
	details []string
}

// liveKinds has every kind that can be made here, by name.
var liveKinds = map[string]liveKind{
	"block":            {script: "open /dev/loop0 name=it", link: "/dev/loop0", target: "device 7:0, loop"},
	"bpf-link":         {need: "bpf-link", link: "anon_inode:bpf_link", target: "netns, id [0-9]+, program [0-9]+", details: []string{"link_id", "prog_tag", "netns_ino"}},
	"bpf-map":          {need: "bpf-map", link: "anon_inode:bpf-map", target: "proctest_map, array, id [0-9]+, at most 4 entries", details: []string{"key_size", "value_size", "frozen"}},
	"bpf-prog":         {need: "bpf-prog", link: "anon_inode:bpf-prog", target: "proctest_prog, socket_filter, id [0-9]+, tag [0-9a-f]{16}", details: []string{"prog_jited"}},
	"btf":              {need: "btf", link: "anon_inode:btf", target: "id [0-9]+", details: []string{"btf_id"}},
	"character":        {script: "open /dev/null name=it", link: "/dev/null", target: "device 1:3, mem"},
	"directory":        {script: "open %[1]s name=it", link: "%[1]s"},
	"eventfd":          {need: "eventfd", link: `anon_inode:\[eventfd\]`, target: "count 3, id [0-9]+", details: []string{"eventfd-count", "eventfd-id"}},
	"eventpoll":        {script: "pipe name=p; epoll p name=it", link: `anon_inode:\[eventpoll\]`, target: `watches fd [0-9]+ \(pipe:\[[0-9]+\]\) for in`, details: []string{"tfd"}},
	"fanotify":         {need: "fanotify", link: `anon_inode:\[fanotify\]`, target: "watches /", details: []string{"fanotify"}},
	"fifo":             {script: "open %[1]s/fifo write=1 name=it", link: "%[1]s/fifo"},
	"fscontext":        {need: "fscontext", link: `anon_inode:\[fscontext\]`},
	"fuse":             {script: "open /dev/fuse write=1 name=it", link: "/dev/fuse", target: "(connection [0-9]+)?"},
	"inet":             {script: "listen tcp4 127.0.0.1:0 name=it", link: `socket:\[[0-9]+\]`, target: `tcp 127\.0\.0\.1:[0-9]+ LISTEN, backlog 0 of [0-9]+`},
	"inotify":          {need: "inotify", link: "anon_inode:inotify", target: "watches /", details: []string{"inotify"}},
	"io_uring":         {script: "open /dev/null; uring open name=it", link: `anon_inode:\[io_uring\]`, target: "1 submission entries, 2 completion entries, registered: slot 0 /dev/null", details: []string{"SqMask", "UserFiles", "UserFiles 0", "PollList"}},
	"kvm":              {need: "kvm", link: "anon_inode:kvm-vm", target: "a virtual machine"},
	"landlock-ruleset": {need: "landlock-ruleset", link: `anon_inode:\[landlock-ruleset\]`},
	"memfd":            {need: "memfd", link: "/memfd:proctest"},
	"memfd_secret":     {need: "memfd_secret", link: "/secretmem"},
	"mount":            {need: "mount", link: "/", target: "mount [0-9]+"},
	"mqueue":           {need: "mqueue", link: "/proctest-[0-9]+"},
	"namespace":        {script: "open /proc/self/ns/net name=it", link: `net:\[[0-9]+\]`, target: "net namespace, that of this command, that of the process"},
	"netlink":          {need: "netlink", link: `socket:\[[0-9]+\]`, target: "netlink route, port id [0-9]+", details: []string{"Eth", "Pid", "Groups", "Rmem", "Drops"}},
	"packet":           {need: "packet", link: `socket:\[[0-9]+\]`, target: "packet raw, interface 1", details: []string{"Proto", "Iface"}},
	"perf_event":       {need: "perf_event", link: `anon_inode:\[perf_event\]`},
	"pidfd":            {need: "pidfd", link: `anon_inode:\[pidfd\]`, target: `pid [0-9]+ \([^)]+\)`, details: []string{"Pid", "NSpid"}},
	"pipe":             {script: "pipe name=it", link: `pipe:\[[0-9]+\]`},
	"pty":              {script: "pty name=it", link: "/dev/(pts/)?ptmx", target: "master of /dev/pts/[0-9]+", details: []string{"tty-index"}},
	"regular":          {script: "open %[1]s/file name=it write=1 flags=append", link: "%[1]s/file"},
	"seccomp-notify":   {need: "seccomp-notify", link: "anon_inode:seccomp notify"},
	"signalfd":         {need: "signalfd", link: `anon_inode:\[signalfd\]`, target: "SIGUSR1 SIGTERM SIGRTMIN", details: []string{"sigmask"}},
	"socket":           {need: "xdp", link: `socket:\[[0-9]+\]`, target: "xdp"},
	"socket-file":      {script: "listen unix %[1]s/socket; open %[1]s/socket flags=path name=it", link: "%[1]s/socket"},
	"symlink":          {script: "open %[1]s/link flags=path,nofollow name=it", link: "%[1]s/link"},
	"timerfd":          {need: "timerfd", link: `anon_inode:\[timerfd\]`, target: "monotonic, in (1h0m0|59m5[0-9](\\.[0-9]+)?)s, every 1h0m0s", details: []string{"clockid", "it_value", "settime flags"}},
	"tmpfile":          {script: "open %[1]s flags=tmpfile write=1 name=it", link: `%[1]s/#[0-9]+`},
	"tty":              {script: "open /dev/tty1 write=1 name=it", link: "/dev/tty1", target: "device 4:1"},
	"tun":              {need: "tun", link: "/dev/net/tun", target: "interface proctest", details: []string{"iff"}},
	"unix":             {script: "listen unix %[1]s/socket name=it", link: `socket:\[[0-9]+\]`, target: "unix stream %[1]s/socket LISTEN, backlog 0 of [0-9]+", details: []string{"scm_fds"}},
	"unknown":          {need: "bpf-stats", link: "anon_inode:bpf-stats"},
	"userfaultfd":      {need: "userfaultfd", link: `anon_inode:\[userfaultfd\]`, target: "pending 0, total 0", details: []string{"API"}},
	"vsock":            {need: "vsock", link: `socket:\[[0-9]+\]`, target: "vsock, stream, any:any"},
}

// notMade says why no test makes a real descriptor of a kind. TestKindsOfAFakeMachine
// has them.
var notMade = map[string]string{
	"dma-buf":    "it takes a driver for graphics, or udmabuf, to export one",
	"drm":        "it takes a graphics device",
	"sync_file":  "it takes a driver for graphics to make one",
	"unreadable": "only a security module lets a table be listed and its links not be read",
}

func TestEveryKind(t *testing.T) {
	for _, k := range fdscan.Kinds() {
		live, made := liveKinds[k.Name]
		if reason := notMade[k.Name]; made == (reason != "") {
			t.Errorf("kind %s: either a test makes a real one, or a reason says why not", k.Name)
		}
		if !made {
			continue
		}
		t.Run(k.Name, func(t *testing.T) { live.test(t, k) })
	}
	if want := len(liveKinds) + len(notMade); want != len(fdscan.Kinds()) {
		t.Errorf("there are %d kinds, and tests of %d", len(fdscan.Kinds()), want)
	}
}

func (live liveKind) test(t *testing.T, kind *fdscan.Kind) {
	directory, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.WriteFile(filepath.Join(directory, "file"), make([]byte, 4096), 0o600),
		unix.Mkfifo(filepath.Join(directory, "fifo"), 0o600),
		os.Symlink("file", filepath.Join(directory, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(text string) string { return strings.ReplaceAll(text, "%[1]s", directory) }
	script := in(live.script)
	if live.need != "" {
		testenv.NeedWorking(t, live.need, proctest.TryMake(live.need))
		script = "make " + live.need + " name=it cloexec=1"
	}
	if file, _, _ := strings.Cut(strings.TrimPrefix(strings.ReplaceAll(script, ";", " "), "open "), " "); strings.HasPrefix(file, "/dev/") {
		device, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		testenv.NeedWorking(t, file, err)
		device.Close()
	}
	role := proctest.Start(t, script)
	d := listed(t, list(t, role.PID), role.PID, role.Descriptor("it").FD)
	whole := func(what, pattern, text string) {
		if !regexp.MustCompile("^(?:" + in(pattern) + ")$").MatchString(text) {
			t.Errorf("%s %q, want %s", what, text, in(pattern))
		}
	}
	whole("link", live.link, d.Link)
	whole("target", live.target, d.Target)
	if d.Kind != kind {
		t.Errorf("it is taken for %s", d.Kind.Name)
	}
	for _, name := range live.details {
		if !hasDetail(d, name) {
			t.Errorf("detail %s is missing in %v", name, d.Details)
		}
	}
	if d.CloseOnExec == nil || *d.CloseOnExec != role.Descriptor("it").CloseOnExec || d.Flags == nil || d.Pos == nil || d.Inode == 0 || d.Device == 0 || d.Description == 0 {
		t.Errorf("something is missing: %+v", d)
	}
	if inode := role.Descriptor("it").Inode; inode != 0 && inode != d.Inode {
		t.Errorf("inode %d, want %d", d.Inode, inode)
	}
}

func hasDetail(d *fdscan.Descriptor, name string) bool {
	for _, f := range d.Details {
		if f.Name == name {
			return true
		}
	}
	return false
}

// list lists descriptors, and checks what holds for every list.
func list(t testing.TB, pids ...int) *fdscan.Snapshot {
	t.Helper()
	snap, err := (&fdscan.Scanner{}).List(t.Context(), pids)
	if err != nil {
		t.Fatalf("list %v: %v", pids, err)
	}
	var before *fdscan.Descriptor
	for _, d := range snap.Descriptors {
		if snap.Processes[d.Process.PID] != d.Process {
			t.Errorf("the process of %s is not that of the snapshot", descriptorText(d))
		}
		if before != nil && (before.Process.PID > d.Process.PID || before.Process == d.Process && before.TID == d.TID && before.FD >= d.FD) {
			t.Errorf("%s comes before %s", descriptorText(before), descriptorText(d))
		}
		before = d
	}
	return snap
}

func descriptorText(d *fdscan.Descriptor) string {
	return fmt.Sprintf("pid %d tid %d fd %d (%s)", d.Process.PID, d.TID, d.FD, d.Kind.Name)
}

// listed returns one descriptor of a process's own table.
func listed(t testing.TB, snap *fdscan.Snapshot, pid, fd int) *fdscan.Descriptor {
	t.Helper()
	for _, d := range snap.Descriptors {
		if d.Process.PID == pid && d.TID == 0 && d.FD == fd {
			return d
		}
	}
	t.Fatalf("fd %d of pid %d is not listed", fd, pid)
	return nil
}
