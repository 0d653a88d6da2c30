package bench

import "testing"

func BenchmarkWho(b *testing.B) {
	row{
		question: "who holds the port",
		worlds:   everywhere(),
		ours:     []string{"who", port(heldPort)},
		prints:   "sockets and backlog, fd, close-on-exec, origin, age, user, command of each holder; what to do",
		pids:     []string{"who", "-t", port(heldPort)},
		peers:    whoPeers(heldPort),
		held:     true,
		bars:     []bar{{"medium", "ss", 2.5}, {"medium", "lsof", 8}},
	}.bench(b)
}

func BenchmarkFree(b *testing.B) {
	row{
		question: "who holds a free port",
		worlds:   []string{"small"},
		ours:     []string{"who", port(freePort)},
		prints:   "free, and whether it can be bound",
		pids:     []string{"who", "-t", port(freePort)},
		peers:    whoPeers(freePort),
		exit:     1,
		bars:     []bar{{"small", "ss", 4}},
	}.bench(b)
}

func BenchmarkConnections(b *testing.B) {
	row{
		question: "how do 100,000 connections fare",
		worlds:   []string{"connections"},
		ours:     []string{"conns"},
		prints:   "that all is well, or what is not: a verdict on each connection, in every network namespace",
		peers: []command{
			{name: "ss", argv: []string{"ss", "-tinoem"}, prints: "tcp_info of each connection, and no verdict"},
		},
		bars: []bar{{"connections", "ss", 1}},
	}.bench(b)
}

func BenchmarkFreeUnprivileged(b *testing.B) {
	row{
		question: "who holds a free port, asked by nobody",
		worlds:   []string{"small"},
		uid:      nobody,
		ours:     []string{"who", port(freePort)},
		prints:   "free, and whether it can be bound",
		pids:     []string{"who", "-t", port(freePort)},
		peers:    whoPeers(freePort),
		exit:     1,
	}.bench(b)
}

func BenchmarkScan(b *testing.B) {
	row{
		question: "what leaks on this machine",
		worlds:   everywhere(),
		ours:     []string{"scan", "--fail-on", "none"},
		prints:   "the worst findings, with their evidence from every descriptor and close-on-exec of every listener",
		peers: []command{{
			name: "lsof", argv: []string{"lsof", "-nP"},
			prints: "command, pid, user, fd, type, device, size, node and name of every descriptor",
		}},
		grows: true,
		bars:  []bar{{"medium", "lsof", 4}, {"large", "lsof", 8}},
	}.bench(b)
}
