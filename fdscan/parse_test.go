package fdscan

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

func TestParseFDInfo(t *testing.T) {
	for text, want := range map[string]FDInfo{
		"pos:\t0\nflags:\t02000002\nmnt_id:\t9\nino:\t41877\n":                  {MountID: 9, Inode: 41877, Flags: unix.O_CLOEXEC | unix.O_RDWR},
		"pos:\t0\nflags:\t04002\nmnt_id:\t9\nino:\t41877\nscm_fds: 3\n":         {MountID: 9, Inode: 41877, Flags: unix.O_NONBLOCK | unix.O_RDWR, SCMFiles: 3},
		"pos:\t4096\nflags:\t0100001\nlock:\t1: POSIX  ADVISORY  WRITE 1 2 3\n": {Pos: 4096, Flags: 0o100001},
		"pos:\t-1\nflags:\t00\n":      {Pos: -1},
		"":                            {},
		"pos\nflags\n\x00\xff:\n::\n": {},
		"flags:\tnonsense\npos:\tx\nscm_fds:\t\ntfd:\n":                           {Watches: []Watch{{}}},
		"tfd:        5 events:       19 data:                5  pos:0 ino:25f5\n": {Watches: []Watch{{FD: 5, Inode: 0x25f5, Events: 0x19}}}, // Linux 4.13
		"tfd:        7 events:       19 data: ffffffff00000007\n":                 {Watches: []Watch{{FD: 7, Events: 0x19}}},
		"pos:\t0\nflags:\t02\nmnt_id:\t15\n" +
			"tfd:        5 events: 80000019 data:                5  pos:0 ino:25f5 sdev:9\n" +
			"tfd:       11 events:        1 data:     7f0000000b0b  pos:12 ino:ffffffffffffffff sdev:800001\n": {
			MountID: 15, Flags: 2, Watches: []Watch{{FD: 5, Inode: 0x25f5, Device: 9, Events: 0x80000019}, {FD: 11, Inode: 1<<64 - 1, Device: 8<<20 | 1, Events: 1}},
		},
	} {
		got := parseFDInfo([]byte(text))
		got.Details = nil // the lines themselves
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	if !(FDInfo{Flags: 0o2000002}).CloseOnExec() || (FDInfo{Flags: 0o4002}).CloseOnExec() {
		t.Error("FD_CLOEXEC is the bit 02000000")
	}
}

func TestParseDetails(t *testing.T) {
	text := "pos:\t5\nflags:\t02\nmnt_id:\t17\nino:\t1038\n" +
		"lock:\t1: FLOCK  ADVISORY  WRITE 24106 fe:00:9986305 0 EOF\n" +
		"lock:\t1: -> FLOCK  ADVISORY  WRITE 7 fe:00:9986305 0 EOF\n" +
		"lock:\t2: OFDLCK ADVISORY  READ -1 fe:00:9986305 5 14\n" +
		"SqMask:\t0x7\nUserFiles:\t2\n    0: socket:[41877]\n    1: <none>\nPollList:\n  op=6, task_works=0\n" +
		"settime flags: 00\nit_value: (89, 999948293)\n" +
		"inotify wd:2 ino:124077 sdev:fe00000\nfanotify flags:200 event-flags:8000\n" +
		"no colon\n\nflags:\t00\nlock:\t3: FLOCK  ADVISORY  WRITE 1 fe:00:1 0 EOF\n"
	want := FDInfo{
		Pos: 5, Flags: 2, MountID: 17, Inode: 1038,
		Locks: []Lock{{Type: "FLOCK", Access: "WRITE", PID: 24106, End: -1}, {Type: "OFDLCK", Access: "READ", Start: 5, End: 14}},
		Details: []Detail{
			{"SqMask", "0x7"},
			{"UserFiles", "2"},
			{"UserFiles 0", "socket:[41877]"},
			{"UserFiles 1", "<none>"},
			{"PollList", ""},
			{"PollList", "op=6, task_works=0"},
			{"settime flags", "00"},
			{"it_value", "(89, 999948293)"},
			{"inotify", "wd:2 ino:124077 sdev:fe00000"},
			{"fanotify", "flags:200 event-flags:8000"},
			{"", "no colon"},
			// Behind what one kind of file has, nothing is of all files.
			{"flags", "00"},
			{"lock", "3: FLOCK  ADVISORY  WRITE 1 fe:00:1 0 EOF"},
		},
	}
	if diff := cmp.Diff(want, parseFDInfo([]byte(text))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseSyscall(t *testing.T) {
	number, args, ok := parseSyscall("232 0x4 0x7ffc0 0x400 0xffffffffffffffff 0x0 0x8 0x7ffd1 0x7f001\n")
	if !ok || number != 232 || args != [6]uint64{4, 0x7ffc0, 0x400, 1<<64 - 1, 0, 8} {
		t.Errorf("number %d, arguments %#x, ok %v", number, args, ok)
	}
	for _, text := range []string{"running\n", "-1 0x7ffd1 0x7f001\n", "", "1 2 3\n", "232 0x4 0x7ffc0 0x400 zzz 0x0 0x8 0x1 0x1\n", "-1 0 0 0 0 0 0 0 0\n"} {
		if _, _, ok := parseSyscall(text); ok {
			t.Errorf("%q is taken for a system call", text)
		}
	}
}

func TestParseMapping(t *testing.T) {
	for line, want := range map[string]FileID{
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 1234                       /usr/lib/libc.so.6\n": {unix.Mkdev(8, 1), 1234},
		"7f1c2a000000-7f1c2a021000 rw-s 00000000 00:05 77 /memfd:a b (deleted)\n":                       {unix.Mkdev(0, 5), 77},
		"7f1c2a000000-7f1c2a021000 r--p 00000000 fe:1f 9995225 /a\n":                                    {unix.Mkdev(254, 31), 9995225},
	} {
		if got, ok := parseMapping([]byte(line)); !ok || got != want {
			t.Errorf("%q: %+v, %v, want %+v", line, got, ok, want)
		}
	}
	for _, line := range []string{
		"7ffd1c000000-7ffd1c021000 rw-p 00000000 00:00 0                          [stack]\n",
		"7f1c2a000000-7f1c2a021000 rw-p 00000000 00:00 0 \n",
		"7f1c2a000000-7f1c2a021000 rw-p 00000000 0801 12 /a\n",
		"7f1c2a000000-7f1c2a021000 rw-p 00000000 xx:01 12 /a\n",
		"", "a b c d e f\n",
	} {
		if got, ok := parseMapping([]byte(line)); ok {
			t.Errorf("%q is taken for %+v", line, got)
		}
	}
}

func TestParseNSMount(t *testing.T) {
	const line = `524 25 0:4 net:[4026532310] /run/netns/blue\040sky rw shared:285 - nsfs nsfs rw`
	inode, path := parseNSMount(line)
	if inode != 4026532310 || path != "/run/netns/blue sky" {
		t.Errorf("inode %d at %q", inode, path)
	}
	for _, line := range []string{
		"525 25 0:4 mnt:[4026532311] /run/mnt rw - nsfs nsfs rw",
		"25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
		"524 25 0:4 net:[0] /run/netns/none rw - nsfs nsfs rw",
		"524 25 0:4 net:[", "", "net:[1]",
	} {
		if inode, path := parseNSMount(line); inode != 0 {
			t.Errorf("%q is taken for namespace %d at %q", line, inode, path)
		}
	}
}

func TestUnescapeMount(t *testing.T) {
	if got, want := unescapeMount(`/a\040b\011c\012d\134e\999`), "/a b\tc\nd\\e\\999"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParseHidepid(t *testing.T) {
	for line, want := range map[string]string{
		"22 1 0:20 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw,hidepid=2,gid=4": "hidepid=2",
		"22 1 0:20 / /proc rw,relatime - proc proc rw,hidepid=invisible":                             "hidepid=invisible",
		"22 1 0:20 / /proc rw,relatime - proc proc rw,hidepid=1":                                     "hidepid=1",
		"22 1 0:20 / /proc rw,relatime - proc proc rw,hidepid=4":                                     "hidepid=4",
		"22 1 0:20 / /proc rw,relatime - proc proc rw,hidepid=0":                                     "",
		"22 1 0:20 / /proc rw,relatime - proc proc rw":                                               "",
		"22 1 0:20 / /mnt/proc rw,relatime - proc proc rw,hidepid=2":                                 "",
		"22 1 0:20 / /proc rw,hidepid=2 - ext4 /dev/sda1 rw,hidepid=2":                               "",
		"22 1 0:20 / /proc rw,relatime":                                                              "",
		"- proc proc":                                                                                "",
		"":                                                                                           "",
	} {
		if got := parseHidepid(line, "/proc"); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// The paths are those that the managers and runtimes make.
func TestUnitAndContainerOf(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for path, want := range map[string][2]string{
		"":                            {},
		"/":                           {},
		"/init.scope":                 {"init.scope", ""},
		"/system.slice/nginx.service": {"nginx.service", ""},
		"/system.slice/system-getty.slice/getty@tty1.service":                                                    {"getty@tty1.service", ""},
		"/system.slice/web.socket":                                                                               {"web.socket", ""},
		"/system.slice/dev-mqueue.mount":                                                                         {"dev-mqueue.mount", ""},
		"/user.slice/user-1000.slice/session-3.scope":                                                            {"session-3.scope", ""},
		"/user.slice/user-1000.slice/user@1000.service/init.scope":                                               {"init.scope", ""},
		"/user.slice/user-1000.slice/user@1000.service/app.slice/web.service":                                    {"web.service", ""},
		`/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-google\x2dchrome-77.scope`:            {`app-gnome-google\x2dchrome-77.scope`, ""},
		"/user.slice/user-1000.slice":                                                                            {},
		"/system.slice/php.service/worker":                                                                       {"php.service", ""},
		"/docker/" + id:                                                                                          {"", "docker:0123456789ab"},
		"/system.slice/docker-" + id + ".scope":                                                                  {"", "docker:0123456789ab"},
		"/system.slice/docker-" + id + ".scope/system.slice/nginx.service":                                       {"nginx.service", "docker:0123456789ab"},
		"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + id + ".scope":                       {"", "docker:0123456789ab"},
		"/machine.slice/libpod-" + id + ".scope":                                                                 {"", "podman:0123456789ab"},
		"/machine.slice/libpod-" + id + ".scope/container":                                                       {"", "podman:0123456789ab"},
		"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope/container":             {"", "podman:0123456789ab"},
		"/system.slice/web.service/libpod-payload-" + id:                                                         {"web.service", "podman:0123456789ab"},
		"/libpod_parent/libpod-" + id:                                                                            {"", "podman:0123456789ab"},
		"/kubepods/burstable/pod11111111-2222-3333-4444-555555555555/" + id:                                      {"", "kubernetes:0123456789ab"},
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-" + id + ".scope": {"", "cri-containerd:0123456789ab"},
		"/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope":                                              {"", "crio:0123456789ab"},
		"/kubepods.slice/kubepods-pod1.slice/docker-" + id + ".scope":                                            {"", "docker:0123456789ab"},
		"/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:" + id:                   {"containerd.service", "cri-containerd:0123456789ab"},
		"/default/" + id:                              {"", "container:0123456789ab"},
		"/system.slice/nerdctl-" + id + ".scope":      {"", "nerdctl:0123456789ab"},
		"/lxc/web":                                    {"", "lxc:web"},
		"/lxc/101/ns/system.slice/nginx.service":      {"nginx.service", "lxc:101"},
		"/lxc.payload/web":                            {"", "lxc:web"},
		"/lxc.payload.web/system.slice/nginx.service": {"nginx.service", "lxc:web"},
		"/lxc.monitor.web":                            {},
		"/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service": {"nginx.service", "nspawn:web"},
		"/machine.slice/systemd-nspawn@web.service/supervisor":                         {"systemd-nspawn@web.service", "nspawn:web"},
		`/machine.slice/machine-web\x2d1.scope/payload`:                                {`machine-web\x2d1.scope`, "machine:web-1"},
		`/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/vcpu0`:                   {`machine-qemu\x2d1\x2dvm.scope`, "machine:qemu-1-vm"},
		"/system.slice/docker-0123.scope":                                              {"docker-0123.scope", ""}, // no container: those have 64 digits
		"/system.slice/docker.service":                                                 {"docker.service", ""},
	} {
		if got := unitOf(path); got != want[0] {
			t.Errorf("unit of %s: %q, want %q", path, got, want[0])
		}
		if got := containerOf(path); got != want[1] {
			t.Errorf("container of %s: %q, want %q", path, got, want[1])
		}
	}
}

func TestCgroupPath(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/a.service\n":                                "/system.slice/a.service",
		"4:cpu:/\n1:name=systemd:/system.slice/a.service\n":           "/system.slice/a.service",
		"1:name=systemd:/system.slice/a.service\n0::/\n":              "/system.slice/a.service",
		"4:cpu,cpuacct:/system.slice/longer.service\n0::/a.service\n": "/a.service",
		"0::/\n":                         "/",
		"0::/a:b.slice/c.service\n":      "/a:b.slice/c.service",
		"10:cpu:/ten\n0::/unified.scope": "/unified.scope",
		"":                               "",
		"nonsense\n":                     "",
	} {
		if got := cgroupPath([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestHandOvers(t *testing.T) {
	const pid = 4180
	for name, tt := range map[string]struct {
		cmdline   []string
		environ   []string
		want      map[int]string
		activated int
	}{
		"nothing": {cmdline: []string{"server", "--port", "18080", "-v"}, environ: []string{"PATH=/bin", "PORT=18080"}},
		"socket activation": {
			environ: []string{"LISTEN_PID=4180", "LISTEN_FDS=2", "LISTEN_FDNAMES=web:metrics"},
			want:    map[int]string{3: "environment LISTEN_FDS=2", 4: "environment LISTEN_FDS=2"}, activated: 2,
		},
		// The variables of an activated service, inherited by a child that
		// they do not speak of (sd_listen_fds(3)).
		"activation of another process": {environ: []string{"LISTEN_PID=4000", "LISTEN_FDS=2"}},
		// systemfd --no-pid and others leave LISTEN_PID out.
		"activation of whoever it may concern": {environ: []string{"LISTEN_FDS=1"}, want: map[int]string{3: "environment LISTEN_FDS=1"}},
		"activation with nonsense":             {environ: []string{"LISTEN_PID=4180", "LISTEN_FDS=-1"}},
		"activation with very much":            {environ: []string{"LISTEN_PID=4180", "LISTEN_FDS=99999999"}},
		"node":                                 {environ: []string{"NODE_CHANNEL_FD=3"}, want: map[int]string{3: "environment NODE_CHANNEL_FD=3"}},
		"gunicorn":                             {environ: []string{"GUNICORN_FD=5,6"}, want: map[int]string{5: "environment GUNICORN_FD=5,6", 6: "environment GUNICORN_FD=5,6"}},
		"einhorn":                              {environ: []string{"EINHORN_FD_0=4", "EINHORN_FD_COUNT=1"}, want: map[int]string{4: "environment EINHORN_FD_0=4"}},
		"nginx that replaces itself":           {environ: []string{"NGINX=6;7;"}, want: map[int]string{6: "environment NGINX=6;7;", 7: "environment NGINX=6;7;"}},
		"Server::Starter":                      {environ: []string{"SERVER_STARTER_PORT=127.0.0.1:80=4;[::1]:8080=5;9000=6"}, want: map[int]string{4: "environment SERVER_STARTER_PORT=127.0.0.1:80=4;[::1]:8080=5;9000=6", 5: "environment SERVER_STARTER_PORT=127.0.0.1:80=4;[::1]:8080=5;9000=6", 6: "environment SERVER_STARTER_PORT=127.0.0.1:80=4;[::1]:8080=5;9000=6"}},
		"php-fpm that replaces itself":         {environ: []string{"FPM_SOCKETS=127.0.0.1:9000=7"}, want: map[int]string{7: "environment FPM_SOCKETS=127.0.0.1:9000=7"}},
		"puma":                                 {environ: []string{"PUMA_INHERIT_0=5:tcp://0.0.0.0:3000"}, want: map[int]string{5: "environment PUMA_INHERIT_0=5:tcp://0.0.0.0:3000"}},
		"make's jobserver": {
			environ: []string{"MAKEFLAGS= -j4 --jobserver-auth=3,4"},
			want:    map[int]string{3: "environment --jobserver-auth=3,4", 4: "environment --jobserver-auth=3,4"},
		},
		"make's jobserver by name": {environ: []string{"MAKEFLAGS= -j4 --jobserver-auth=fifo:/tmp/x"}},
		"other variables":          {environ: []string{"SSH_AUTH_SOCK=/tmp/3", "NOTIFY_SOCKET=/run/systemd/notify", "FD=x3", "=3", "XFD", "OLDPWD=3"}},
		"bash":                     {cmdline: []string{"cat", "/dev/fd/63"}, want: map[int]string{63: "argument /dev/fd/63"}},
		"proc":                     {cmdline: []string{"cat", "/proc/self/fd/7"}, want: map[int]string{7: "argument /proc/self/fd/7"}},
		"D-Bus":                    {cmdline: []string{"dbus-daemon", "--nofork", "--print-pid", "4", "--print-address", "6", "--print", "7"}, want: map[int]string{4: "argument --print-pid 4", 6: "argument --print-address 6"}},
		"option with =":            {cmdline: []string{"server", "--listen-fd=5"}, want: map[int]string{5: "argument --listen-fd=5"}},
		"option and value":         {cmdline: []string{"server", "--fd", "5"}, want: map[int]string{5: "argument --fd 5"}},
		"option at the end":        {cmdline: []string{"server", "--fd"}},
		"multiprocessing":          {cmdline: []string{"python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)", "--multiprocessing-fork"}, want: map[int]string{5: "argument from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)", 7: "argument from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)"}},
		"qemu":                     {cmdline: []string{"qemu", "-netdev", "tap,fd=12,id=net0"}, want: map[int]string{12: "argument tap,fd=12,id=net0"}},
		"qemu, several":            {cmdline: []string{"qemu", "-netdev", "tap,fds=12:13"}, want: map[int]string{12: "argument tap,fds=12:13", 13: "argument tap,fds=12:13"}},
		"uvicorn and others":       {cmdline: []string{"hypercorn", "-b", "fd://4"}, want: map[int]string{4: "argument fd://4"}},
		"socat":                    {cmdline: []string{"socat", "FD:3", "STDIO"}, want: map[int]string{3: "argument FD:3"}},
		"flock":                    {cmdline: []string{"/usr/bin/flock", "-xw", "10", "--timeout", "2", "-n", "9"}, want: map[int]string{9: "argument 9"}},
		"flock on a file":          {cmdline: []string{"flock", "lock", "sleep", "9"}},
		"flock on a file, by -c":   {cmdline: []string{"flock", "9", "-c", "8"}},
		"flock, nothing":           {cmdline: []string{"flock", "-w", "9"}},
		"the program's own name":   {cmdline: []string{"/dev/fd/5"}},
		"paths and addresses":      {cmdline: []string{"server", "--socket=/run/3", "--bind=0.0.0.0:80", "--pidfd-file=/x/4", "/srv/fd/5"}},
	} {
		named, activated := handOvers(append([]string{}, tt.cmdline...), []byte(strings.Join(tt.environ, "\x00")), pid)
		if diff := cmp.Diff(tt.want, named, cmpopts.EquateEmpty()); diff != "" || activated != tt.activated {
			t.Errorf("%s: activated %d, want %d (-want +got):\n%s", name, activated, tt.activated, diff)
		}
	}
}

// Arguments that name very many descriptors cost little.
func TestHandOversOfHostileArguments(t *testing.T) {
	long := "fds=" + strings.Repeat("7,", 1<<16) + "8"
	var b strings.Builder
	for fd := range 1 << 16 {
		b.WriteString(strconv.Itoa(fd) + ",")
	}
	many := b.String()
	named, _ := handOvers([]string{"x", long, "fds=" + many + "9"}, []byte("A_FDS="+many+"1"), 1)
	size := 0
	for _, words := range named {
		size += len(words)
	}
	if len(named) > 1<<12 || size > 1<<20 || !strings.HasSuffix(named[7], "…") {
		t.Errorf("%d descriptors in %d bytes, 7 by %q", len(named), size, named[7])
	}
}

func TestKernelAtLeast(t *testing.T) {
	for _, tt := range []struct {
		release      string
		major, minor int
		want         bool
	}{
		{"6.18.44-amd64", 6, 8, true},
		{"6.8.0", 6, 8, true},
		{"6.8", 6, 8, true},
		{"6.8-rc1", 6, 8, true},
		{"6.7.12", 6, 8, false},
		{"5.15.0-generic", 6, 8, false},
		{"7.0.0", 6, 8, true},
		{"10.1", 6, 8, true},
		{"6.18+", 6, 18, true},
		{"", 6, 8, false},
		{"six.eight", 6, 8, false},
		{"6", 6, 0, false},
		{"6.", 6, 0, false},
	} {
		if got := KernelAtLeast(tt.release, tt.major, tt.minor); got != tt.want {
			t.Errorf("KernelAtLeast(%q, %d, %d) = %v", tt.release, tt.major, tt.minor, got)
		}
	}
}

func TestParseNoMPTCP(t *testing.T) {
	const header = "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp em\n"
	for text, want := range map[string]bool{
		header: true,
		header + "TCP       2304      3      21   no     192   yes  kernel      y\n":  true,
		header + "MPTCP     1936      0      21   no       0   yes  kernel      y\n":  true,
		header + "MPTCP     1936      2      21   no       0   yes  kernel      y\n":  false,
		header + "MPTCPv6   2064      1      21   no       0   yes  kernel      y\n":  false,
		header + "MPTCPv6   2064      0      21   no\nMPTCP     1936     10      2\n": false,
		"MPTCP\n": false,
	} {
		if got := parseNoMPTCP([]byte(text)); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}

func TestParseStat(t *testing.T) {
	const rest = " S 1 7 6 0 -1 4194368 1 2 3 4 5 6 7 8 20 0 3 0 4180 100 200 18446744073709551615 1 1 140720 0 0"
	want := processStat{state: 'S', parent: 1, group: 7, session: 6, flags: 0x400040, threads: 3, startTicks: 4180, stackStart: 140720}
	for _, comm := range []string{"server", "a b", ") S (", "", "\xff\n"} {
		want.comm = comm
		if got, ok := parseStat([]byte("7 (" + comm + ")" + rest + "\n")); !ok || got != want {
			t.Errorf("%q: %+v, want %+v", comm, got, want)
		}
	}
	for _, text := range []string{"", "7", "7 (a", "7 a) S", ")(", "7 (a)", "7 (a) S 1 7 6 0 -1 4194368 1 2 3 4 5 6 7 8 20 0 3 0 4180"} {
		if got, ok := parseStat([]byte(text)); ok {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	const text = "Name:\tUid: 9\nUmask:\t0022\nUid:\t1000\t1001\t1002\t1003\nGid:\t5\t5\t5\t5\nNSpid:\t4180\t7\nVmPeak:\t   1 kB\n"
	uid, pids := parseStatus([]byte(text))
	if diff := cmp.Diff([]int{4180, 7}, pids); uid != 1001 || diff != "" {
		t.Errorf("uid %d, pids (-want +got):\n%s", uid, diff)
	}
	for _, text := range []string{"", "Uid:\n", "Uid:\t5\n", "NSpid:\n"} {
		if uid, pids := parseStatus([]byte(text)); uid != 0 || len(pids) > 0 {
			t.Errorf("%q: uid %d, pids %v", text, uid, pids)
		}
	}
}
