package proctest

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// A raw fork has one thread, everything its parent has, and has never executed
// anything.
func TestFork(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=web cloexec=1
		dup web name=copy
		fork { close copy; cloexec web off; session; fork { serve sleep } }`)
	child, grandchild := p.Children[0], p.Children[0].Children[0]
	web := p.Descriptor("web")
	for _, q := range []*Process{child, grandchild} {
		if got := links(process(q.PID)); len(got) != 4 || got[web.FD] != socketLink(web.Inode) {
			t.Errorf("pid %d holds %v", q.PID, got)
		}
		if !same(t, kcmpFile, p.PID, web.FD, q.PID, web.FD) {
			t.Errorf("pid %d has another open file description", q.PID)
		}
		if q.CloseOnExec(t, "web") {
			t.Errorf("pid %d: close-on-exec", q.PID)
		}
		if threads := status(t, q.PID, "Threads"); threads != "1" || !slices.Equal(q.TIDs, []int{q.PID}) {
			t.Errorf("pid %d has %s threads, facts %v", q.PID, threads, q.TIDs)
		}
		// What an exec would reset: the mask that a Go program sets up, and the
		// handlers that fork.go resets itself.
		if caught := status(t, q.PID, "SigCgt"); caught != "0000000000000000" {
			t.Errorf("pid %d catches signals %s", q.PID, caught)
		}
		if blocked := status(t, q.PID, "SigBlk"); blocked != "0000000000000000" {
			t.Errorf("pid %d blocks signals %s", q.PID, blocked)
		}
	}
	if !p.CloseOnExec(t, "web") {
		t.Error("cloexec in a child changed its parent")
	}
	if child.PPID != p.PID || grandchild.PPID != child.PID {
		t.Errorf("parents %d and %d", child.PPID, grandchild.PPID)
	}
	if read(t, process(p.PID)+"/cmdline") != read(t, process(grandchild.PID)+"/cmdline") {
		t.Error("the grandchild has another command line")
	}
	if sid, err := unix.Getsid(grandchild.PID); err != nil || sid != child.PID {
		t.Errorf("session %d, %v, want %d", sid, err, child.PID)
	}
}

// CloseOnExec reads FD_CLOEXEC of a named descriptor, and checks the facts.
func (p *Process) CloseOnExec(t *testing.T, name string) bool {
	t.Helper()
	d := p.Descriptor(name)
	if got := closeOnExec(t, p.PID, d.FD); got != d.CloseOnExec {
		t.Errorf("pid %d, %s: close-on-exec %t, facts %t", p.PID, name, got, d.CloseOnExec)
	}
	return d.CloseOnExec
}

// An exec keeps what is not close-on-exec, under the same number, and only that.
func TestExec(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=kept
		listen tcp4 127.0.0.1:0 name=gone cloexec=1
		dup kept name=high fd=40
		epoll kept name=ep
		exec sleep 60
		exec { }
		exec as=crow_app { exec sleep 50 }`)
	kept := p.Descriptor("kept")
	sleep, role, crow := p.Children[0], p.Children[1], p.Children[2]
	for _, q := range []*Process{sleep, role, crow, crow.Children[0]} {
		got := links(process(q.PID))
		if len(got) != 6 || got[kept.FD] != socketLink(kept.Inode) || got[40] != socketLink(kept.Inode) {
			t.Errorf("pid %d holds %v", q.PID, got)
		}
		if len(q.Descriptors) != 3 || q.Descriptor("kept").FD != kept.FD || q.Descriptor("high").FD != 40 {
			t.Errorf("pid %d: facts %+v", q.PID, q.Descriptors)
		}
		if !same(t, kcmpFile, p.PID, kept.FD, q.PID, kept.FD) {
			t.Errorf("pid %d has another open file description", q.PID)
		}
	}
	if exe := readLink(t, process(sleep.PID)+"/exe"); exe != sleep.Program || !strings.HasSuffix(exe, "/sleep") && !strings.HasSuffix(exe, "/coreutils") {
		t.Errorf("the program is %s, facts %s", exe, sleep.Program)
	}
	if command := read(t, process(sleep.PID)+"/cmdline"); command != "sleep\x0060\x00" {
		t.Errorf("the command line is %q", command)
	}
	if comm := read(t, process(role.PID)+"/comm"); comm != "holder\n" {
		t.Errorf("a role is called %q", comm)
	}
	if exe, mine := readLink(t, process(role.PID)+"/exe"), readLink(t, "/proc/self/exe"); exe != mine {
		t.Errorf("a role executes %s, not %s", exe, mine)
	}
	exe := process(crow.PID) + "/exe"
	if link := readLink(t, exe); !strings.HasSuffix(link, "/crow_app") || read(t, process(crow.PID)+"/comm") != "crow_app\n" {
		t.Errorf("the copy executes %s", link)
	}
	var copied, original unix.Stat_t
	if err := errors.Join(unix.Stat(exe, &copied), unix.Stat("/proc/self/exe", &original)); err != nil || copied.Ino == original.Ino {
		t.Errorf("the copy has inode %d, the original %d: %v", copied.Ino, original.Ino, err)
	}
}

// What is said about descriptors by words is in nobody's arguments or
// environment, where it would be evidence of a hand-over.
func TestRoleKeepsItsScriptToItself(t *testing.T) {
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("MAKEFLAGS", "--jobserver-auth=3,4")
	p := Start(t, "listen tcp4 127.0.0.1:0 fd=7; exec { dup fd=8 }; exec sleep 60")
	for _, q := range p.All() {
		if q.Program == "" && read(t, process(q.PID)+"/cmdline") != "holder\x00" {
			t.Errorf("pid %d has arguments %q", q.PID, read(t, process(q.PID)+"/cmdline"))
		}
		if environ := read(t, process(q.PID)+"/environ"); strings.Contains(environ, "LISTEN") || strings.Contains(environ, "MAKEFLAGS") {
			t.Errorf("pid %d has environment %q", q.PID, environ)
		}
	}
}

// Every way to serve is in its system call when Start returns, in a raw child
// and in a role.
func TestServe(t *testing.T) {
	want := map[string]int{
		"accept": unix.SYS_ACCEPT4, "epoll": unix.SYS_EPOLL_PWAIT, "poll": unix.SYS_PPOLL, "select": unix.SYS_PSELECT6,
		"recv": unix.SYS_RECVFROM, "pause": sysPause, "sleep": unix.SYS_CLOCK_NANOSLEEP, "futex": unix.SYS_FUTEX,
		"wait": unix.SYS_WAIT4, "grow": unix.SYS_CLOCK_NANOSLEEP,
	}
	for mode := range serveModes {
		if _, ok := want[mode]; !ok && mode != "busy" {
			t.Errorf("%s is not tested", mode)
		}
	}
	for mode, call := range want {
		t.Run(mode, func(t *testing.T) {
			on, finale := "listen tcp4 127.0.0.1:0", "serve "+mode
			switch mode {
			case "recv":
				on = "bind udp4 127.0.0.1:0"
			case "wait":
				finale = "fork { }; serve wait"
			}
			p := Start(t, on, "fork { "+finale+" }", finale)
			for _, q := range []*Process{p, p.Children[0]} {
				if got := currentCall(t, q.PID); got != strconv.Itoa(call) && mode != "grow" {
					t.Errorf("pid %d is in system call %s, want %d", q.PID, got, call)
				}
			}
		})
	}
}

func TestServeBusyRuns(t *testing.T) {
	p := Start(t, "fork { serve busy }")
	if state := status(t, p.Children[0].PID, "State"); state != "R (running)" {
		t.Errorf("state %s", state)
	}
}

// A server takes connections and is back in its system call.
func TestServersAccept(t *testing.T) {
	for _, script := range []string{
		"serve accept", "serve epoll", "serve poll", "serve select",
		"fork { serve accept }", "fork { serve epoll }", "fork { serve poll }", "fork { serve select }",
	} {
		t.Run(script, func(t *testing.T) {
			p := Start(t, "listen tcp4 127.0.0.1:0", script)
			for range 5 {
				connection, err := net.Dial("tcp", p.Socket("").Local.String())
				if err != nil {
					t.Fatal(err)
				}
				if n, err := connection.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("read %d bytes, %v; want the end", n, err)
				}
				connection.Close()
			}
		})
	}
}

// An inherited epoll instance lists the listener, whether its holder waits or not.
func TestEpollInstance(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		epoll web name=ep
		fork { serve sleep }
		serve epoll ep`)
	ep := p.Descriptor("ep")
	for _, q := range p.All() {
		watched := fdinfo(t, q.PID, ep.FD, "tfd")
		if len(watched) != 1 || strings.Fields(watched[0])[0] != strconv.Itoa(p.Descriptor("web").FD) {
			t.Errorf("pid %d: epoll watches %q", q.PID, watched)
		}
	}
	if call := currentCall(t, p.PID); call != strconv.Itoa(unix.SYS_EPOLL_PWAIT) {
		t.Errorf("the server is in system call %s", call)
	}
}

func TestPrefork(t *testing.T) {
	p := Start(t, "listen tcp4 127.0.0.1:0; fork times=3 { serve accept }; exec times=2 { serve accept }")
	if len(p.Children) != 5 {
		t.Fatalf("%d children", len(p.Children))
	}
	for _, worker := range p.Children {
		if call := currentCall(t, worker.PID); call != strconv.Itoa(unix.SYS_ACCEPT4) || worker.PPID != p.PID {
			t.Errorf("worker %d of %d is in system call %s", worker.PID, worker.PPID, call)
		}
	}
}

// A child whose parent has exited lives on, with another parent.
func TestExitLeavesChildren(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0
		fork { fork { }; exit }
		exec { exec sleep 60; exit }
		exit`)
	if !p.Exited || !p.Children[0].Exited || !p.Children[1].Exited {
		t.Fatalf("somebody has not exited: %+v", p)
	}
	if _, err := os.Stat(process(p.PID)); !os.IsNotExist(err) {
		t.Errorf("the first process is there: %v", err)
	}
	for _, orphan := range []*Process{p.Children[0].Children[0], p.Children[1].Children[0]} {
		if links(process(orphan.PID))[3] != socketLink(p.Socket("").Inode) {
			t.Errorf("orphan %d does not hold the listener", orphan.PID)
		}
		if name := read(t, process(orphan.PPID)+"/comm"); orphan.PPID == p.PID || orphan.PPID == 0 {
			t.Errorf("orphan %d has parent %d, %s", orphan.PID, orphan.PPID, name)
		}
	}
}

// A child stays a zombie when its parent does not wait for it, as raw children
// do not.
func TestZombie(t *testing.T) {
	p := Start(t, "fork { fork { exit 3 } }")
	parent, zombie := p.Children[0], p.Children[0].Children[0]
	if state := status(t, zombie.PID, "State"); state != "Z (zombie)" || !zombie.Exited {
		t.Errorf("state %s", state)
	}
	if status(t, zombie.PID, "PPid") != strconv.Itoa(parent.PID) {
		t.Errorf("zombie %d has another parent than %d", zombie.PID, parent.PID)
	}
}

func TestStop(t *testing.T) {
	p := Start(t, "listen tcp4 127.0.0.1:0; fork { stop }; exec { stop }")
	for _, q := range p.Children {
		if state := status(t, q.PID, "State"); state != "T (stopped)" && state != "t (tracing stop)" { // below a tracer
			t.Errorf("pid %d: state %s", q.PID, state)
		}
	}
}

func TestSeccomp(t *testing.T) {
	p := Start(t, "fork { seccomp }; exec { seccomp }")
	for _, q := range p.Children {
		if mode := status(t, q.PID, "Seccomp"); mode != "2" {
			t.Errorf("pid %d: seccomp mode %s", q.PID, mode)
		}
	}
}

// Nobody but root looks into a process that is not dumpable.
func TestUndumpable(t *testing.T) {
	testenv.NeedRoot(t)
	p := Start(t, "listen tcp4 127.0.0.1:0; exec uid=65534 { undumpable; fork { } }; exec uid=65534 { }")
	for _, q := range p.All()[1:] {
		var st unix.Stat_t
		if err := unix.Stat(process(q.PID)+"/fd", &st); err != nil {
			t.Fatal(err)
		}
		want := uint32(0) // proc(5): files of such a process belong to root
		if q == p.Children[1] {
			want = 65534
		}
		if st.Uid != want || status(t, q.PID, "Uid") != "65534\t65534\t65534\t65534" {
			t.Errorf("/proc/%d/fd belongs to %d, want %d; Uid %s", q.PID, st.Uid, want, status(t, q.PID, "Uid"))
		}
	}
}

// Activation: the descriptors begin at 3, and the environment names the pid.
func TestActivation(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=a cloexec=1
		listen tcp4 127.0.0.1:0 name=b cloexec=1
		exec LISTEN_FDS=2 LISTEN_PID=self pass=b,a sleep 60
		exec LISTEN_FDS=2 LISTEN_PID=self pass=b,a { serve accept b }`)
	for _, q := range p.Children {
		got := links(process(q.PID))
		if len(got) != 5 || got[3] != socketLink(p.Socket("b").Inode) || got[4] != socketLink(p.Socket("a").Inode) {
			t.Errorf("pid %d holds %v", q.PID, got)
		}
		environ := read(t, process(q.PID)+"/environ")
		for _, want := range []string{"LISTEN_FDS=2\x00", "LISTEN_PID=" + strconv.Itoa(q.PID) + "\x00"} {
			if !strings.Contains(environ, want) {
				t.Errorf("pid %d has environment %q", q.PID, environ)
			}
		}
		if q.Descriptor("b").FD != 3 || q.Descriptor("a").FD != 4 || q.PPID != p.PID {
			t.Errorf("facts %+v", q)
		}
	}
	if call := currentCall(t, p.Children[1].PID); call != strconv.Itoa(unix.SYS_ACCEPT4) {
		t.Errorf("the service is in system call %s", call)
	}
}

func TestBecome(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=kept
		listen tcp4 127.0.0.1:0 name=gone cloexec=1
		become { listen tcp4 127.0.0.1:0 name=new; become sleep 60 }`)
	if command := read(t, process(p.PID)+"/cmdline"); command != "sleep\x0060\x00" {
		t.Errorf("the command line is %q", command)
	}
	got := links(process(p.PID))
	if len(got) != 5 || got[3] != socketLink(p.Socket("kept").Inode) || got[4] != socketLink(p.Socket("new").Inode) {
		t.Errorf("it holds %v", got)
	}
	if len(p.Sockets) != 3 || len(p.Descriptors) != 2 {
		t.Errorf("facts %+v", p)
	}
}
