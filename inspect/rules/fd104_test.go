package rules_test

import (
	"testing"

	"stray/fdscan"
)

func TestFD104(t *testing.T) {
	connection := func(inode uint64, peer string) fdscan.Socket {
		return fdscan.Socket{State: fdscan.Established, Inode: inode, Local: at("127.0.0.1:80"), Remote: at(peer)}
	}
	t.Run("a copy keeps two connections that its parent waits on", func(t *testing.T) {
		server := process(10, 1, "server")
		child := copied(process(11, 10, ""), server)
		m := newMachine(server, child)
		server.Evidence.Waits = []fdscan.Wait{{TID: 10, Call: "epoll_wait", Kind: fdscan.WaitOn, Inodes: []uint64{100, 101}}}
		m.socket(connection(100, "10.0.0.1:5000"), holder(server, 4, true), holder(child, 4, true))
		m.socket(connection(101, "10.0.0.1:5001"), holder(server, 5, true), holder(child, 5, true))
		fs := m.says(t, "FD104 warning 11: pid 11 (server) keeps 2 connections, among them 127.0.0.1:80 → 10.0.0.1:5000 by fd 4: it is a copy that fork made; pid 10 (server) uses it")
		if len(fs) == 1 && fs[0].Next[0] != "stray close inode:100 -p 11" {
			t.Errorf("next %q", fs[0].Next)
		}
	})
	t.Run("a server keeps what its child serves", func(t *testing.T) {
		server := waiting(process(10, 1, "server"), 99)
		child := waiting(copied(process(11, 10, ""), server), 100)
		m := newMachine(server, child)
		m.socket(fdscan.Socket{State: fdscan.Listen, Inode: 99, Local: at("0.0.0.0:80")}, holder(server, 3, true))
		m.socket(connection(100, "10.0.0.1:5000"), holder(server, 4, true), holder(child, 4, true))
		m.says(t, "FD104 warning 10: pid 10 (server) keeps the connection 127.0.0.1:80 → 10.0.0.1:5000 by fd 4: its child, pid 11 (server), serves it")
	})
	t.Run("a server keeps what its children serve, each another", func(t *testing.T) {
		server := waiting(process(10, 1, "server"), 99)
		m := newMachine(server)
		m.socket(fdscan.Socket{State: fdscan.Listen, Inode: 99, Local: at("0.0.0.0:80")}, holder(server, 3, true))
		for i := range 3 {
			child := waiting(copied(process(11+i, 10, ""), server), uint64(100+i))
			m.Processes[child.PID] = child
			m.socket(connection(uint64(100+i), "10.0.0.1:5000"), holder(server, 4+i, true), holder(child, 4+i, true))
		}
		m.says(t, "FD104 warning 10: pid 10 (server) keeps 3 connections, among them 127.0.0.1:80 → 10.0.0.1:5000 by fd 4: its child, pid 11 (server), serves it")
	})
	t.Run("separated privileges", func(t *testing.T) {
		monitor := waiting(process(10, 1, "server"), 98)
		child := waiting(copied(process(11, 10, ""), monitor), 100)
		m := newMachine(monitor, child)
		m.socket(connection(100, "10.0.0.1:5000"), holder(monitor, 4, true), holder(child, 4, true))
		m.says(t)
	})
	t.Run("a program that came by exec", func(t *testing.T) {
		const finding = "FD104 warning 11: pid 11 (sleep) keeps the connection 127.0.0.1:80 → 10.0.0.1:5000 by fd 4: it came across exec, and the program has no use for it"
		shell, sleep := process(10, 1, "sh"), process(11, 10, "sleep")
		sleep.Evidence.Imports = &fdscan.Imports{}
		says := func(t *testing.T, want ...string) {
			m := newMachine(shell, sleep)
			m.socket(connection(100, "10.0.0.1:5000"), holder(shell, 4, false), holder(sleep, 4, false))
			m.says(t, want...)
		}
		says(t, finding)
		// A shell that waits for it closes nothing before it has ended.
		shell.Evidence.Waits = []fdscan.Wait{{TID: 10, Call: "wait4", Kind: fdscan.WaitPassive}}
		says(t)
	})
	t.Run("one table for two processes", func(t *testing.T) {
		server := process(10, 1, "server")
		child := copied(process(11, 10, ""), server)
		waiting(server, 100)
		m := newMachine(server, child)
		a, b := holder(server, 4, true), holder(child, 4, true)
		a.SharesTableWith, b.SharesTableWith = []int{11}, []int{10}
		m.socket(connection(100, "10.0.0.1:5000"), a, b)
		m.says(t)
	})
}
