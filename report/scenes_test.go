package report_test

import (
	"fmt"
	"time"

	"stray/fdscan"
)

// scene is a machine that a page is written of: one for each situation of the
// table in the design, and for what is hard to write.
type scene struct {
	name string
	// guards says what the page has to tell.
	guards string
	build  func() *machine
}

var scenes = []scene{
	{"free", "a free port is one line, and what a bind would say", func() *machine { return newMachine("18080") }},

	{"opened", "the everyday answer", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		hold(s, m.process(4180, "./server --port 18080", serves(s), unit("web.service")), 5, true)
		return m
	}},

	{"leak", "the page of the design: a fork leftover and an exec leak, nobody serves", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080", backlog(3, 128))
		gone := m.process(4100, "./crow_app", aged(13*time.Minute))
		fork := m.fork(gone, 4180, waits("pause"), aged(12*time.Minute))
		fork.PPID = 1
		hold(s, fork, 5, false)
		hold(s, m.process(4502, "sleep 3600", child(fork), waits("clock_nanosleep"), aged(11*time.Minute)), 5, false)
		m.exit(gone)
		return m
	}},

	{"exec-leak", "the opener serves, and a program it has started holds the listener too", func() *machine {
		m := newMachine("18080")
		s := m.listen("127.0.0.1:18080")
		srv := m.process(12042, "./srv", serves(s))
		hold(s, srv, 5, false)
		hold(s, m.process(12047, "sleep 3600", child(srv), waits("clock_nanosleep"), aged(3*time.Hour)), 5, false)
		return m
	}},

	{"workers", "a master and its serving workers are no leak", func() *machine {
		m := newMachine("80")
		s := m.listen("0.0.0.0:80", backlog(0, 511))
		master := m.process(900, "/usr/sbin/nginx", waits("rt_sigsuspend"), user(0, "root"), unit("nginx.service"), aged(50*time.Hour))
		hold(s, master, 6, true)
		for i := range 4 {
			hold(s, m.fork(master, 901+i, serves(s), user(33, "www-data"), aged(50*time.Hour)), 6, true)
		}
		return m
	}},

	{"bound", "bound and not listening: no other tool shows it", func() *machine {
		m := newMachine("18080")
		s := m.socket(fdscan.TCP, fdscan.Bound, "0.0.0.0:18080", "", reuse(false, false))
		hold(s, m.process(4180, "python3 bind.py", waits("clock_nanosleep")), 3, true)
		return m
	}},

	{"ring", "held by io_uring alone", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		holdVia(s, m.process(4180, "./uring-server", waits("io_uring_enter")), fdscan.ViaRing, 4, 0, "")
		return m
	}},

	{"message", "held by a message in flight alone", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		holdVia(s, m.process(4180, "./receiver", waits("pause")), fdscan.ViaMessage, 7, 0, "in a message that fd 7 (unix socket:[41890]) has not received")
		return m
	}},

	{"thread", "in a thread's own table; a zombie leader with living threads; a stopped process", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		own := hold(s, m.process(4180, "./threads", waits("futex")), 5, true)
		own.Via, own.TID = fdscan.ViaThread, 4183
		zombie := hold(s, m.process(4200, "./leaderless", waits("futex"), state('Z')), 5, true)
		zombie.Via, zombie.TID = fdscan.ViaThread, 4201
		hold(s, m.process(4300, "./stopped", waits(""), state('T')), 5, true)
		return m
	}},

	{"shared-table", "two processes on one table", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		a := m.process(4180, "./server", serves(s))
		b := m.fork(a, 4181, waits("pause"))
		hold(s, a, 5, true).SharesTableWith = []int{4181}
		hold(s, b, 5, true).SharesTableWith = []int{4180}
		return m
	}},

	{"elsewhere", "held in a container's namespace, free in this one", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080", in(4026532310))
		p := m.process(7000, "node /app/server.js", serves(s), container("docker:0123456789ab", 12), user(101, "101"))
		p.NetNS = 4026532310
		hold(s, p, 18, true)
		return m
	}},

	{"both", "held here and in two other namespaces, one of which has no process", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		p := m.process(4180, "./server", serves(s))
		hold(s, p, 5, true)
		there := m.listen("127.0.0.1:18080", in(4026532310))
		q := m.process(7000, "node /app/server.js", serves(there), container("docker:0123456789ab", 12))
		q.NetNS = 4026532310
		hold(there, q, 18, true)
		hold(m.listen("127.0.0.1:18080", in(4026532400)), p, 9, false)
		return m
	}},

	{"reuseport", "a SO_REUSEPORT group", func() *machine {
		m := newMachine("53/udp", "8443")
		for i := range 3 {
			s := m.listen("0.0.0.0:8443", reuse(true, true), owner(110, "/system.slice/proxy.service"))
			hold(s, m.process(500+i, "/usr/sbin/proxy -w "+fmt.Sprint(i), serves(s), user(110, "proxy"), unit("proxy.service")), 7, true)
		}
		for i := range 2 {
			s := m.socket(fdscan.UDP, fdscan.Bound, "0.0.0.0:53", "", reuse(false, true))
			hold(s, m.process(600+i, "/usr/sbin/dnsd", serves(s), user(0, "root")), 3, true)
		}
		return m
	}},

	{"addresses", "wildcard, dual-stack, v6only and specific listeners side by side", func() *machine {
		m := newMachine("18080")
		for i, s := range []*fdscan.Socket{
			m.listen("127.0.0.1:18080"), m.listen("10.1.2.3:18080"), m.listen("[::1]:18080"), m.listen("[::]:18080", v6only(true)),
		} {
			hold(s, m.process(4180+i, "./server", serves(s)), 5, true)
		}
		return m
	}},

	{"dual-stack", "one IPv6 socket takes IPv4 as well", func() *machine {
		m := newMachine("18080")
		s := m.listen("[::]:18080", v6only(false))
		hold(s, m.process(4180, "node server.js", serves(s)), 18, true)
		return m
	}},

	{"ephemeral", "an outgoing connection has taken the port", func() *machine {
		m := newMachine("40001")
		s := m.socket(fdscan.TCP, fdscan.Established, "10.1.2.3:40001", "10.9.9.9:443", reuse(false, false))
		hold(s, m.process(4180, "curl https://example.org/large", waits("poll")), 5, true)
		return m
	}},

	{"activation", "systemd holds it for a service, which serves", func() *machine {
		m := newMachine("8080")
		s := m.listen("[::]:8080", v6only(false), backlog(0, 4096), owner(0, "/system.slice/web.socket"))
		hold(s, m.Processes[1], 45, true)
		m.Processes[1].Evidence = &fdscan.Evidence{}
		serves()(m.Processes[1])
		hold(s, m.process(4180, "/usr/bin/web", child(m.Processes[1]), serves(s), unit("web.service"), activated(1)), 3, false)
		return m
	}},

	{"docker-proxy", "the proxy of a published port", func() *machine {
		m := newMachine("8080")
		s := m.listen("0.0.0.0:8080", backlog(0, 4096))
		dockerd := m.process(800, "/usr/bin/dockerd", waits("futex"), user(0, "root"), unit("docker.service"))
		hold(s, m.process(4180, "/usr/bin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80", child(dockerd), serves(s), user(0, "root"), unit("docker.service")), 7, true)
		return m
	}},

	{"kernel", "held by the kernel itself", func() *machine {
		m := newMachine("2049")
		m.listen("0.0.0.0:2049", backlog(0, 64), owner(0, "/")).KernelOwned = true
		m.socket(fdscan.UDP, fdscan.Bound, "0.0.0.0:2049", "", owner(0, "/")).KernelOwned = true
		return m
	}},

	{"time-wait", "many connections at rest, and orphans with work left", func() *machine {
		m := newMachine("18080")
		for i := range 40 {
			m.socket(fdscan.TCP, fdscan.TimeWait, "127.0.0.1:18080", fmt.Sprintf("127.0.0.1:%d", 40000+i), timer("time_wait", time.Duration(20+i)*time.Second))
		}
		m.socket(fdscan.TCP, fdscan.TimeWait, "[::1]:18080", "[::1]:40000", timer("time_wait", 3*time.Second))
		m.socket(fdscan.TCP, fdscan.FinWait1, "127.0.0.1:18080", "127.0.0.1:50000", noInode, queues(0, 3_800_000), timer("probe", 12*time.Second))
		m.socket(fdscan.TCP, fdscan.FinWait2, "127.0.0.1:18080", "127.0.0.1:50001", noInode, timer("time_wait", 41*time.Second))
		m.socket(fdscan.TCP, fdscan.LastAck, "127.0.0.1:18080", "127.0.0.1:50002", noInode, queues(0, 1), timer("retransmit", 1500*time.Millisecond))
		return m
	}},

	{"time-wait-one", "one connection at rest keeps the port", func() *machine {
		m := newMachine("18080")
		m.socket(fdscan.TCP, fdscan.TimeWait, "127.0.0.1:18080", "127.0.0.1:40000", timer("time_wait", 58*time.Second))
		return m
	}},

	{"backlog", "connections that nobody has accepted yet, and one in its handshake", func() *machine {
		m := newMachine("18080")
		m.all = true
		s := m.listen("0.0.0.0:18080", backlog(7, 5))
		hold(s, m.process(4180, "./stuck", waits("futex")), 5, true)
		for i := range 7 {
			c := m.socket(fdscan.TCP, fdscan.Established, "127.0.0.1:18080", fmt.Sprintf("127.0.0.1:%d", 40000+i), noInode, queues(uint32(i*100), 0))
			c.InBacklogOf = s.Inode
		}
		m.socket(fdscan.TCP, fdscan.SynRecv, "127.0.0.1:18080", "127.0.0.1:50000", noInode, timer("retransmit", time.Second))
		return m
	}},

	{"connections", "a listener explains its connections, and those of a leftover copy are shown", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		server := m.process(4180, "./crow_app", serves(s))
		copied := m.fork(server, 4190, waits("pause"))
		hold(s, server, 5, false)
		hold(s, copied, 5, false)
		for i := range 12 {
			hold(m.socket(fdscan.TCP, fdscan.Established, "127.0.0.1:18080", fmt.Sprintf("127.0.0.1:%d", 40000+i)), server, 10+i, false)
		}
		m.socket(fdscan.TCP, fdscan.TimeWait, "127.0.0.1:18080", "127.0.0.1:50000", timer("time_wait", 9*time.Second))
		left := m.socket(fdscan.TCP, fdscan.CloseWait, "127.0.0.1:18080", "127.0.0.1:48244", queues(1, 0))
		hold(left, copied, 19, false)
		return m
	}},

	{"unseen", "an ordinary user asks about somebody else's listener", func() *machine {
		m := newMachine("5432")
		m.listen("127.0.0.1:5432", backlog(0, 200), owner(113, "/system.slice/postgresql.service"), func(s *fdscan.Socket) { s.ReuseAddr, s.ReusePort = nil, nil })
		for pid := 100; pid < 131; pid++ {
			m.gap(fdscan.ScopeHolders, "list descriptors", pid, "permission denied", "CAP_SYS_PTRACE")
		}
		m.gap(fdscan.ScopeHolders, "list descriptors", 2000, "input/output error", "")
		return m
	}},

	{"hidden", "hidepid keeps other processes from being seen at all, and one holder is known", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		hold(s, m.process(4180, "./server", serves(s)), 5, true)
		m.gap(fdscan.ScopeHolders, "list /proc", 0, "mounted with hidepid=invisible: processes of other users are hidden", "CAP_SYS_PTRACE")
		m.gap(fdscan.ScopeDetail, "read environ", 4180, "permission denied", "CAP_SYS_PTRACE")
		return m
	}},

	{"free-hidden", "processes out of sight do not make a free port unknown", func() *machine {
		m := newMachine("18080")
		m.gap(fdscan.ScopeHolders, "list /proc", 0, "mounted with hidepid=invisible: processes of other users are hidden", "CAP_SYS_PTRACE")
		return m
	}},

	{"unknown", "a table could not be read whole", func() *machine {
		m := newMachine("18080")
		m.gap(fdscan.ScopeTables, "sock_diag tcp", 0, "table changed while it was dumped", "")
		m.gap(fdscan.ScopeElsewhere, "setns /run/netns/blue", 0, "operation not permitted", "CAP_SYS_ADMIN")
		m.gap(fdscan.ScopeElsewhere, "enter network namespace", 812, "read from /proc/PID/net instead, which lacks bound-only sockets", "CAP_SYS_ADMIN")
		return m
	}},

	{"unix", "unix sockets by path and by abstract name", func() *machine {
		m := newMachine("unix:/run/app/app.sock", "unix:@bus")
		a := m.socket(fdscan.Unix, fdscan.Listen, "/run/app/app.sock", "", backlog(0, 16))
		b := m.socket(fdscan.Unix, fdscan.Bound, "@bus", "", func(s *fdscan.Socket) { s.Type = "dgram" })
		c := m.socket(fdscan.Unix, fdscan.Established, "/run/app/app.sock", "")
		p := m.process(4180, "/usr/bin/app --listen /run/app/app.sock", serves(a, b))
		hold(a, p, 5, true)
		hold(b, p, 6, true)
		hold(c, p, 9, true)
		return m
	}},

	{"unix-free", "nobody has bound the name", func() *machine { return newMachine("unix:/run/none.sock") }},

	{"file", "a file that is open, mapped and run", func() *machine {
		m := newMachine("/usr/bin/app", "inode:5000", "/var/log/quiet.log")
		p := m.process(4180, "/usr/bin/app")
		yes, no := true, false
		m.Objects = append(m.Objects,
			&fdscan.Object{Path: "/usr/bin/app", Kind: "regular", Inode: 1001, Device: 2049, Holders: []*fdscan.Holder{
				{Process: p, FD: -1, Slot: -1, Via: fdscan.ViaMemory, Note: "program"},
				{Process: p, FD: 3, Slot: -1, Via: fdscan.ViaTable, CloseOnExec: &yes},
			}},
			&fdscan.Object{Path: "pipe:[5000]", Kind: "pipe", Inode: 5000, Holders: []*fdscan.Holder{
				{Process: p, FD: 1, Slot: -1, Via: fdscan.ViaTable, CloseOnExec: &no},
				{Process: m.process(4181, "less"), FD: 0, Slot: -1, Via: fdscan.ViaTable, CloseOnExec: &no},
			}},
			&fdscan.Object{Path: "/var/log/quiet.log", Kind: "regular", Inode: 1002, Device: 2049},
		)
		return m
	}},

	{"several", "several targets, some free, and a range", func() *machine {
		m := newMachine("9000", "tcp:8000-8002", "udp:53")
		s := m.listen("0.0.0.0:8001")
		hold(s, m.process(4180, "./server", serves(s)), 5, true)
		u := m.socket(fdscan.UDP, fdscan.Bound, "127.0.0.53:53", "", queues(213_000, 0), reuse(true, false))
		hold(u, m.process(300, "/usr/lib/systemd/systemd-resolved", waits("epoll_wait"), user(101, "systemd-resolve"), unit("systemd-resolved.service")), 18, true)
		return m
	}},

	{"mptcp", "Go's own listeners are MPTCP", func() *machine {
		m := newMachine("18080")
		s := m.socket(fdscan.MPTCP, fdscan.Listen, "[::]:18080", "", v6only(false), backlog(0, 4096), reuse(true, false))
		hold(s, m.process(4180, "./goserver", serves(s)), 6, true)
		return m
	}},

	{"busy", "a busy process is not accused", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		p := m.process(4180, "./server", waits("running", "futex"))
		hold(s, p, 5, false)
		hold(s, m.fork(p, 4181, waits("running")), 5, false)
		return m
	}},

	{"handed-over", "what the arguments name was meant", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		p := m.process(4180, "./supervisor", waits("wait4"))
		hold(s, p, 3, true)
		hold(s, m.process(4181, "./worker --fd 3", child(p), serves(s), handedOver(3, "argument --fd 3")), 3, false)
		hold(s, m.process(4182, "./worker --fd 3", child(p), waits("pause"), handedOver(3, "argument --fd 3")), 3, false)
		return m
	}},

	{"hostile", "names that try to write on the terminal, forge rows, or hide", func() *machine {
		m := newMachine("18080", "unix:/run/\x1b]0;owned\a.sock")
		s := m.listen("0.0.0.0:18080")
		p := m.process(4180, "x", serves(s), user(1000, "de\tv"), unit("a\nb.service"))
		p.Comm = "\x1b[2J\x1b[Hfree"
		p.Cmdline = []string{"server\n  1     5   yes      opened", "\x1b[31mred\x1b[0m", "tab\there", "\xff\xfe", "nul\x00byte", "\u202eevil", "zero\u200bwidth", "日本語"}
		p.Exe = "/tmp/\xff\x1b"
		hold(s, p, 5, true)
		long := m.fork(p, 4181, waits("pause"))
		long.Comm = "quoted \"name\""
		long.Cmdline = []string{"java", "-cp", stringOf("/opt/app/lib/a-very-long-name.jar:", 200)}
		hold(s, long, 5, true)
		u := m.socket(fdscan.Unix, fdscan.Listen, "/run/\x1b]0;owned\a.sock", "")
		hold(u, p, 6, true)
		m.gap(fdscan.ScopeDetail, "read \x1b[2J", 4180, "no\nsuch\tluck", "")
		return m
	}},

	{"hostile-leak", "findings about names that try to end a string, an element, a comment or a command", func() *machine {
		m := newMachine("18080", "unix:/run/x")
		s := m.listen("0.0.0.0:18080", backlog(3, 128))
		srv := m.process(4180, "/srv/server", serves(s))
		srv.Comm = "a]]>b\r\n::error::owned"
		hold(s, srv, 5, false)
		for i, name := range []string{"]]>", "%0A::set-env name=x::y", "<b>&amp;</b>|[x](https://example.org/)", "\x1b[2J\xff\xfe", "## `x`\n\n# y", "--> *_~_*"} {
			p := m.process(4190+i, "/opt/"+name, child(srv), waits("pause"))
			p.Comm, p.Exe = name, "/opt/"+name
			hold(s, p, 5, false)
		}
		u := m.socket(fdscan.Unix, fdscan.Listen, "/run/x", "")
		u.Local.Path, u.FileAsked = "/run/\"x\":\n%25,]]>\x00", true
		hold(u, srv, 6, false)
		hold(u, m.process(4200, "100%,sure:", child(srv), waits("pause")), 6, false)
		m.gap(fdscan.ScopeElsewhere, "setns ::error::x", 812, "no\nsuch%luck]]>", "CAP_SYS_ADMIN")
		return m
	}},

	{"nameless", "a process that shows neither arguments nor program", func() *machine {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		p := m.process(4180, "")
		p.Comm = "secretive"
		hold(s, p, 5, true).CloseOnExec = nil
		return m
	}},
}

// stringOf repeats text up to n bytes.
func stringOf(text string, n int) string {
	s := ""
	for len(s) < n {
		s += text
	}
	return s[:n]
}
