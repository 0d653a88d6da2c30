package fdscan

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/sys/unix"
)

// Every parser of what the kernel or a user wrote gives an error or a value,
// and never panics.

func FuzzParseTarget(f *testing.F) {
	for form := range strings.SplitSeq(TargetForms, ", ") {
		f.Add(form)
	}
	for _, text := range []string{"", "tcp:[::1]:80/udp", "8010-8000", "localhost:80", "::1:80", "@", "unix:@", "[fe80::1%lo]:1", "\xff:1", "80\n", "1-2-3"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, err := ParseTarget(text)
		if err == nil {
			switch {
			case target.Text != text:
				t.Errorf("%q: text is %q", text, target.Text)
			case target.Kind == PortTarget && (target.PortLow == 0 || target.PortLow > target.PortHigh):
				t.Errorf("%q: ports %d to %d", text, target.PortLow, target.PortHigh)
			case target.Kind == PortTarget && target.Addr != target.Addr.Unmap().WithZone(""):
				t.Errorf("%q: address %v", text, target.Addr)
			case target.Kind == InodeTarget && target.Inode == 0, target.Kind == UnixTarget && target.Path == "", target.Kind == FileTarget && target.Path != text:
				t.Errorf("%q: %+v", text, target)
			}
			return
		}
		var fault *TargetError
		if !errors.As(err, &fault) || fault.Text != text || fault.Reason == "" {
			t.Fatalf("%q: error %#v", text, err)
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: message %q cannot be printed", text, err.Error())
		}
		if fault.Instead != "" {
			if _, err := ParseTarget(fault.Instead); err != nil {
				t.Errorf("%q: told to write %q: %v", text, fault.Instead, err)
			}
		}
	})
}

func FuzzParseFDInfo(f *testing.F) {
	f.Add([]byte("pos:\t0\nflags:\t02000002\nscm_fds: 3\ntfd:        5 events:       19 data: 5  pos:0 ino:25f5 sdev:9\n"))
	f.Add([]byte("tfd:\ntfd: x ino: sdev:zz\nflags:9\npos:--1\n"))
	f.Add([]byte("pos:\t0\nflags:\t02\nmnt_id:\t17\nino:\t1038\nlock:\t1: FLOCK  ADVISORY  WRITE 24106 fe:00:9986305 0 EOF\neventfd-count:                3\n"))
	f.Add([]byte("inotify wd:2 ino:124077 sdev:fe00000 mask:fff\nSqMask:\t0x7\nUserFiles:\t3\n    0: /dev/null\nPollList:\n  op=6, task_works=0\nname:\ta\nflags:\t00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		info := parseFDInfo(text)
		if n := bytes.Count(text, []byte("tfd")); len(info.Watches) > n {
			t.Errorf("%d watches of %d tfd lines", len(info.Watches), n)
		}
		if n := bytes.Count(text, []byte("\n")) + 1; len(info.Details)+len(info.Locks) > n {
			t.Errorf("%d details and %d locks of %d lines", len(info.Details), len(info.Locks), n)
		}
		// What a name of a program's choice could say comes after the rest.
		forged := append(append([]byte("pos:\t1\nflags:\t02\nmnt_id:\t3\nino:\t4\nname:\tx\n"), bytes.ReplaceAll(text, []byte("tfd"), nil)...), '\n')
		if got := parseFDInfo(forged); got.Pos != 1 || got.Flags != 2 || got.MountID != 3 || got.Inode != 4 || len(got.Locks) != 0 {
			t.Errorf("taken from a name: %+v", got)
		}
	})
}

func FuzzParseLock(f *testing.F) {
	f.Add("1: FLOCK  ADVISORY  WRITE 24106 fe:00:9986305 0 EOF")
	f.Add("2: OFDLCK ADVISORY  WRITE -1 fe:00:9986402 5 14")
	f.Add("1: -> POSIX  ADVISORY  READ 7 00:1a:3 0 EOF")
	f.Add("3: LEASE  BREAKING  UNLCK 7 00:1a:3 0 EOF")
	f.Fuzz(func(t *testing.T, line string) {
		l, file, ok := parseLock(line)
		if !ok && (l != Lock{} || file != FileID{}) {
			t.Errorf("%q: %+v of no lock", line, l)
		}
		if ok && (l.Start < 0 || l.End < -1 || l.PID < 0 || l.Access != "READ" && l.Access != "WRITE") {
			t.Errorf("%q: %+v", line, l)
		}
	})
}

func FuzzParseMark(f *testing.F) {
	f.Add("wd:2 ino:124077 sdev:fe00000 mask:fff ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:7740120007c4549a")
	f.Add("mnt_id:12 mflags:40 mask:38 ignored_mask:40000003")
	f.Add("flags:200 event-flags:8000")
	f.Fuzz(func(t *testing.T, line string) {
		m, ok := parseMark(line)
		if ok && !strings.Contains(line, "mask:") || m.hasOne && !strings.Contains(line, "f_handle:") {
			t.Errorf("%q: %+v", line, m)
		}
	})
}

func FuzzParseRing(f *testing.F) {
	f.Add([]byte("SqMask:\t0x3\nUserFiles:\t2\n    0: socket:[41877]\n    1: <none>\nUserBufs:\t0\nPollList:\n  op=6, task_works=0\n"))
	f.Add([]byte("UserFiles:\t1\n    0: TCP\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, whole := parseRing(text)
		if lines := bytes.Count(text, []byte("\n")) + 1; len(r.files)+r.unnamed > lines {
			t.Errorf("%d files in %d lines", len(r.files)+r.unnamed, lines)
		}
		if whole && !bytes.Contains(text, []byte("UserFiles")) {
			t.Error("whole without the section of files")
		}
	})
}

func FuzzParseSyscall(f *testing.F) {
	f.Add("232 0x4 0x7ffc0 0x400 0xffffffffffffffff 0x0 0x8 0x7ffd1 0x7f001\n")
	f.Add("running\n")
	f.Add("-1 0x7ffd1 0x7f001\n")
	f.Fuzz(func(t *testing.T, text string) {
		number, _, ok := parseSyscall(text)
		if !ok && number != 0 {
			t.Errorf("%q: number %d of no call", text, number)
		}
		if ok && strings.TrimLeft(text, " \t\n\v\f\r")[0] == '-' {
			t.Errorf("%q is no system call", text)
		}
	})
}

func FuzzParseMapping(f *testing.F) {
	f.Add([]byte("7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 1234 /usr/lib/libc.so.6\n"))
	f.Add([]byte("7ffd1c000000-7ffd1c021000 rw-p 00000000 00:00 0 [stack]\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		id, ok := parseMapping(line)
		if ok != (id.Inode != 0) || !ok && id != (FileID{}) {
			t.Errorf("%q: %+v, %v", line, id, ok)
		}
	})
}

func FuzzParseMount(f *testing.F) {
	f.Add(`524 25 0:4 net:[4026532310] /run/netns/blue\040sky rw shared:285 - nsfs nsfs rw`)
	f.Add("22 1 0:20 / /proc rw,relatime shared:12 - proc proc rw,hidepid=2,gid=4")
	f.Fuzz(func(t *testing.T, line string) {
		if m := parseMount(line); m != nil && (m.fileSystem == "" || !strings.Contains(line, " - ")) {
			t.Errorf("%q: %+v", line, m)
		}
		if inode, path := parseNSMount(line); (inode == 0) != (path == "") {
			t.Errorf("%q: inode %d at %q", line, inode, path)
		}
		if option := parseHidepid(line, "/proc"); option != "" && !strings.Contains(line, option) {
			t.Errorf("%q: option %q", line, option)
		}
	})
}

func FuzzCgroup(f *testing.F) {
	f.Add("/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope")
	f.Add("/kubepods/burstable/pod1/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	f.Add(`/machine.slice/machine-web\x2d1.scope/payload/system.slice/nginx.service`)
	f.Add("/lxc.payload.web")
	f.Fuzz(func(t *testing.T, path string) {
		if unit := unitOf(path); strings.Contains(unit, "/") || !strings.Contains(path, unit) {
			t.Errorf("%q: unit %q", path, unit)
		}
		if c := containerOf(path); c != "" && !strings.Contains(c, ":") {
			t.Errorf("%q: container %q", path, c)
		}
	})
}

func FuzzHandOvers(f *testing.F) {
	f.Add("server\x00--fd\x005\x00fd://4", []byte("LISTEN_FDS=2\x00LISTEN_PID=7\x00MAKEFLAGS=--jobserver-auth=3,4\x00NGINX=6;7;"), 7)
	f.Add("", []byte("LISTEN_FDS=99999999999999999999"), 0)
	f.Fuzz(func(t *testing.T, cmdline string, environ []byte, pid int) {
		named, activated := handOvers(strings.Split(cmdline, "\x00"), environ, pid)
		for fd, words := range named {
			if fd < 0 || words == "" {
				t.Errorf("fd %d is named by %q", fd, words)
			}
		}
		if activated < 0 || activated > len(named) {
			t.Errorf("%d activated of %d named", activated, len(named))
		}
	})
}

func FuzzKernelAtLeast(f *testing.F) {
	f.Add("6.18.44-amd64", 6, 8)
	f.Add(".", -1, 0)
	f.Fuzz(func(t *testing.T, release string, major, minor int) {
		if KernelAtLeast(release, 6, 8) && !KernelAtLeast(release, 6, 7) {
			t.Errorf("%q is 6.8 but not 6.7", release)
		}
		KernelAtLeast(release, major, minor)
	})
}

func FuzzParseProcNet(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41877 1 0000000000000000 100 0 0 10 0\n")
	f.Add("   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1\n")
	f.Add("0000000000000000: 00000002 00000000 00010000 0001 01 22123 /run/x y.sock\n")
	f.Add("0: 2 0 0 1 3 22123 @abstract\n")
	f.Fuzz(func(t *testing.T, line string) {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			s, err := parseProcNet(table{TCP, unix.IPPROTO_TCP, family}, line)
			if (s == nil) == (err == nil) {
				t.Errorf("%q: socket %+v, error %v", line, s, err)
			}
			if s != nil && !s.Local.Addr.IsValid() {
				t.Errorf("%q: no local address", line)
			}
		}
		if s, err := parseProcNetUnix(line); (s == nil) == (err == nil) {
			t.Errorf("%q: socket %+v, error %v", line, s, err)
		}
	})
}

func FuzzParseHexAddress(f *testing.F) {
	f.Add("0100007F:1F90")
	f.Add("00000000000000000000000001000000:0001")
	f.Add(":")
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := parseHexAddress(s); (err == nil) != a.IsValid() || err != nil && a != (netip.AddrPort{}) {
			t.Errorf("%q: %v, error %v", s, a, err)
		}
	})
}

func FuzzDirents(f *testing.F) {
	entry := append(make([]byte, direntName), "123\x00\x00"...)
	entry[direntReclen] = byte(len(entry))
	f.Add(append(entry, entry...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		eachDirent(b, func(name []byte) {
			if bytes.IndexByte(name, 0) >= 0 || len(name) >= len(b) {
				t.Errorf("name %q", name)
			}
			if n, ok := number(name); ok && n < 0 {
				t.Errorf("number %d of %q", n, name)
			}
			inodeOf(name)
		})
	})
}
