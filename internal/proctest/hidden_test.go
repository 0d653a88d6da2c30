package proctest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// A thread's own table is shown by that thread's directory alone.
func TestThreadWithItsOwnTable(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		thread own=1 { serve accept web }
		close web`)
	web := p.Descriptor("web")
	link := socketLink(p.Socket("web").Inode)
	if got := holders(t, link); len(got) != 1 || got[0] != fmt.Sprintf("%d/%d", web.TID, web.FD) {
		t.Errorf("holders %v, want thread %d alone", got, web.TID)
	}
	if web.TID == p.PID || same(t, kcmpFiles, p.PID, 0, web.TID, 0) {
		t.Errorf("thread %d has the table of process %d", web.TID, p.PID)
	}
	if status(t, web.TID, "Tgid") != strconv.Itoa(p.PID) {
		t.Errorf("%d is no thread of %d", web.TID, p.PID)
	}
	if call := currentCall(t, web.TID); call != strconv.Itoa(unix.SYS_ACCEPT4) {
		t.Errorf("the thread is in system call %s", call)
	}
}

func TestThreadInTheProcessTable(t *testing.T) {
	p := Start(t, "listen tcp4 127.0.0.1:0; thread { serve accept }; serve sleep")
	var accepting []int
	for _, tid := range p.TIDs {
		if currentCall(t, tid) == strconv.Itoa(unix.SYS_ACCEPT4) {
			accepting = append(accepting, tid)
		}
	}
	if len(accepting) != 1 || accepting[0] == p.PID || !same(t, kcmpFiles, p.PID, 0, accepting[0], 0) {
		t.Errorf("threads %v accept", accepting)
	}
	if call := currentCall(t, p.PID); call != strconv.Itoa(unix.SYS_CLOCK_NANOSLEEP) {
		t.Errorf("the leader is in system call %s", call)
	}
}

// When the leader has exited, /proc/PID/fd is empty, and other threads show the
// table.
func TestLeaderExit(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		fork { }
		thread own=1 { close web } # not the one to look at
		thread { serve accept web }
		leader-exit`)
	if state := status(t, p.PID, "State"); state != "Z (zombie)" {
		t.Errorf("the leader is in state %s", state)
	}
	if got := links(process(p.PID)); len(got) != 0 {
		t.Errorf("/proc/PID/fd shows %v", got)
	}
	web := p.Descriptor("web")
	if got := links(fmt.Sprintf("/proc/%d/task/%d", p.PID, web.TID))[web.FD]; got != socketLink(web.Inode) || web.TID == p.PID {
		t.Errorf("thread %d has %q", web.TID, got)
	}
	if links(process(p.Children[0].PID))[web.FD] != socketLink(web.Inode) {
		t.Error("its child is gone")
	}
}

// With CLONE_FILES two processes have one table: what one does, both have done.
func TestSharedTable(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		dup web name=copy
		fork share=1 { close copy; fork share=1 { serve accept web } }
		fork { }`)
	sharers, forked := []*Process{p, p.Children[0], p.Children[0].Children[0]}, p.Children[1]
	for _, q := range sharers {
		if !same(t, kcmpFiles, p.PID, 0, q.PID, 0) {
			t.Errorf("pid %d has another table", q.PID)
		}
		if got := links(process(q.PID)); len(got) != 4 || len(q.Descriptors) != 1 {
			t.Errorf("pid %d holds %v, facts %+v", q.PID, got, q.Descriptors)
		}
		if status(t, q.PID, "Tgid") != strconv.Itoa(q.PID) {
			t.Errorf("%d is no process", q.PID)
		}
	}
	if same(t, kcmpFiles, p.PID, 0, forked.PID, 0) {
		t.Error("a plain fork shares the table")
	}
}

// A file registered with a ring is in the ring's fdinfo, and in no table.
func TestUring(t *testing.T) {
	testenv.NeedIOURing(t)
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		listen unix @proctest-uring name=u
		uring web u name=ring`)
	ring := p.Descriptor("ring")
	if link := links(process(p.PID))[ring.FD]; link != "anon_inode:[io_uring]" {
		t.Errorf("the ring is %s", link)
	}
	info := read(t, fmt.Sprintf("/proc/%d/fdinfo/%d", p.PID, ring.FD))
	if !strings.Contains(info, "UserFiles:\t2\n") {
		t.Errorf("fdinfo of the ring: %s", info)
	}
	for slot, name := range []string{"web", "u"} {
		link := socketLink(p.Socket(name).Inode)
		if want := fmt.Sprintf("%d: %s\n", slot, link); !strings.Contains(strings.ReplaceAll(info, "    ", ""), want) {
			t.Errorf("no %q in fdinfo of the ring: %s", want, info)
		}
		if got := holders(t, link); len(got) != 0 {
			t.Errorf("%s has holders %v", name, got)
		}
	}
	if r := onlyRow(t, p.PID, "tcp", p.Socket("web").Port()); r.state != "0A" || r.inode != p.Socket("web").Inode {
		t.Errorf("%+v", r)
	}
}

// A message in flight is counted at the socket that is going to receive it.
func TestSCM(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		listen tcp4 127.0.0.1:0 name=second
		scm web second name=channel`)
	if got := fdinfo(t, p.PID, p.Descriptor("channel").FD, "scm_fds"); len(got) != 1 || got[0] != "2" {
		t.Errorf("scm_fds of the receiver: %v", got)
	}
	if got := fdinfo(t, p.PID, p.Descriptor("channel2").FD, "scm_fds"); len(got) != 1 || got[0] != "0" {
		t.Errorf("scm_fds of the sender: %v", got)
	}
	for _, name := range []string{"web", "second"} {
		if got := holders(t, socketLink(p.Socket(name).Inode)); len(got) != 0 {
			t.Errorf("%s has holders %v", name, got)
		}
	}
	if err := canBind(t, p.Socket("web").Port()); err != unix.EADDRINUSE {
		t.Errorf("bind to its port: %v", err)
	}
	// The message itself, without taking it.
	receiver := borrow(t, p.PID, p.Descriptor("channel").FD)
	control := make([]byte, unix.CmsgSpace(8))
	_, n, _, _, err := unix.Recvmsg(receiver, make([]byte, 1), control, unix.MSG_PEEK|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("control messages %v, %v", messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 2 {
		t.Fatalf("descriptors %v, %v", fds, err)
	}
	for i, name := range []string{"web", "second"} {
		var st unix.Stat_t
		if err := unix.Fstat(fds[i], &st); err != nil || st.Ino != p.Socket(name).Inode {
			t.Errorf("descriptor %d of the message is inode %d, %v", i, st.Ino, err)
		}
		unix.Close(fds[i])
	}
}

// A message sent to a connection that nobody has accepted is in flight too.
func TestSCMOverConnection(t *testing.T) {
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		listen unix @proctest-scm name=l
		connect unix l name=c
		scm web over=c`)
	if got := holders(t, socketLink(p.Socket("web").Inode)); len(got) != 0 {
		t.Errorf("holders %v", got)
	}
	if err := canBind(t, p.Socket("web").Port()); err != unix.EADDRINUSE {
		t.Errorf("bind to its port: %v", err)
	}
	if got := len(p.Descriptors); got != 2 {
		t.Errorf("%d descriptors", got)
	}
}

// A child in a network namespace of its own has its own ports.
func TestNewNet(t *testing.T) {
	testenv.NeedNetNS(t)
	p := Start(t, `
		listen tcp4 127.0.0.1:0 name=here
		exec newnet=1 { listen tcp4 127.0.0.1:80 name=there; connect tcp4 there; accept there }
		exec newnet=1 sleep 60`)
	role, sleep := p.Children[0], p.Children[1]
	mine := readLink(t, "/proc/self/ns/net")
	seen := map[string]bool{mine: true}
	for _, q := range []*Process{role, sleep} {
		link := readLink(t, process(q.PID)+"/ns/net")
		if seen[link] || link != fmt.Sprintf("net:[%d]", q.NetNS) {
			t.Errorf("pid %d is in %s, facts %d", q.PID, link, q.NetNS)
		}
		seen[link] = true
	}
	if there := p.Socket("there"); there.NetNS != role.NetNS || there.Port() != 80 {
		t.Errorf("%+v", there)
	}
	if link := readLink(t, process(p.PID)+"/ns/net"); link != mine || p.Socket("here").NetNS != p.NetNS {
		t.Errorf("the parent is in %s", link)
	}
	if got := rows(t, role.PID, "tcp", 80); len(got) != 2 { // the listener, and what it has accepted
		t.Errorf("rows %+v", got)
	}
	if len(rows(t, role.PID, "tcp", p.Socket("here").Port())) != 0 {
		t.Error("the namespace has the other one's listener")
	}
}

// A namespace can be kept by nothing but a socket.
func TestNamespaceWithoutProcess(t *testing.T) {
	testenv.NeedNetNS(t)
	p := Start(t, "netns { listen tcp4 127.0.0.1:80 name=there }; listen tcp4 127.0.0.1:0 name=here; fork { }")
	there := p.Socket("there")
	if fd := p.Descriptor("there").FD; fd != 3 {
		t.Errorf("the socket is %d", fd)
	}
	if there.NetNS == p.NetNS || p.Socket("here").NetNS != p.NetNS {
		t.Fatalf("%+v in a process of %d", there, p.NetNS)
	}
	// SIOCGSKNS asks a socket for its namespace.
	ns, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(borrow(t, p.PID, p.Descriptor("there").FD)), unix.SIOCGSKNS, 0)
	if errno != 0 {
		t.Fatalf("SIOCGSKNS: %v", errno)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(ns), &st); err != nil || st.Ino != there.NetNS {
		t.Errorf("the socket is in %d, %v; facts %d", st.Ino, err, there.NetNS)
	}
	unix.Close(int(ns))
	pids, err := numbersIn("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		tids, _ := numbersIn(process(pid) + "/task")
		for _, tid := range tids {
			if inode, err := netNS(fmt.Sprintf("/proc/%d/task/%d/ns/net", pid, tid)); err == nil && inode == there.NetNS {
				t.Errorf("thread %d of %d is in the namespace", tid, pid)
			}
		}
		for fd, link := range links(process(pid)) {
			if link == fmt.Sprintf("net:[%d]", there.NetNS) {
				t.Errorf("descriptor %d of %d holds the namespace", fd, pid)
			}
		}
	}
	if found := rows(t, p.PID, "tcp", 80); len(found) != 0 {
		t.Errorf("the listener is in this namespace: %+v", found)
	}
}

// Facts of processes in another pid namespace have the pids that count here.
func TestNewPID(t *testing.T) {
	testenv.NeedPIDNS(t)
	p := Start(t, `
		listen tcp4 127.0.0.1:0
		exec newpid=1 {
			fork { serve accept }
			exec sleep 60
			exec { exec sleep 50 }
			exec LISTEN_PID=self sleep 40
		}`)
	link := socketLink(p.Socket("").Inode)
	for i, q := range p.Children[0].All() {
		pids := strings.Fields(status(t, q.PID, "NSpid"))
		if len(pids) != 2 || pids[0] != strconv.Itoa(q.PID) || (pids[1] == "1") != (i == 0) {
			t.Errorf("process %d of the namespace has pids %v", i, pids)
		}
		if links(process(q.PID))[3] != link {
			t.Errorf("pid %d does not hold the listener", q.PID)
		}
	}
	last := p.Children[0].Children[3]
	inner := strings.Fields(status(t, last.PID, "NSpid"))[1]
	if environ := read(t, process(last.PID)+"/environ"); !strings.Contains(environ, "LISTEN_PID="+inner+"\x00") {
		t.Errorf("pid %s has environment %q", inner, environ)
	}
}

func TestNewUser(t *testing.T) {
	testenv.NeedRoot(t)
	p := Start(t, "exec newuser=1 { listen tcp4 127.0.0.1:0 }; exec uid=65534 { listen tcp4 127.0.0.1:0; exec sleep 60 }")
	if readLink(t, process(p.Children[0].PID)+"/ns/user") == readLink(t, "/proc/self/ns/user") {
		t.Error("newuser=1 is in this user namespace")
	}
	for _, q := range p.Children[1].All() {
		if uid := status(t, q.PID, "Uid"); uid != "65534\t65534\t65534\t65534" {
			t.Errorf("pid %d has users %s", q.PID, uid)
		}
		if links(process(q.PID))[3] != socketLink(p.Children[1].Sockets[0].Inode) {
			t.Errorf("pid %d does not hold its listener", q.PID)
		}
	}
}
