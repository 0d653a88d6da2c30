package report_test

import (
	"net/netip"
	"path"
	"strings"
	"time"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

// taken is the moment of every snapshot.
var taken = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// here is the network namespace of every caller.
const here = 4026531840

// machine is a snapshot in the making: the hand-built counterpart of what
// fdscan finds.
type machine struct {
	*fdscan.Snapshot
	query     []string
	all       bool
	nextInode uint64
	exes      map[string]uint64
}

// newMachine is a machine on which nothing but pid 1 runs.
func newMachine(query ...string) *machine {
	m := &machine{
		Snapshot: &fdscan.Snapshot{
			TakenAt: taken,
			Host: fdscan.Host{
				Name: "builder", Kernel: "6.18.0", BootID: "5e8c7b6e-4b7e-4d2c-9c2e-1f2a3b4c5d6e", NetNS: here, UID: 1000,
				Bind: fdscan.BindConditions{
					UnprivilegedPortStart: 1024, EphemeralLow: 32768, EphemeralHigh: 60999, IPv6: true,
					Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("10.1.2.3")},
				},
				Started: taken.Add(-100 * 24 * time.Hour),
			},
			Processes: map[int]*fdscan.Process{}, Explained: map[uint64]int{}, TablesComplete: true, HoldersComplete: true,
		},
		query: query, nextInode: 41877, exes: map[string]uint64{},
	}
	m.process(1, "/usr/lib/systemd/systemd --system", aged(100*24*time.Hour), user(0, "root"))
	return m
}

// answer judges the snapshot, which is to be whole by then.
func (m *machine) answer() *report.Result {
	var targets []fdscan.Target
	for _, text := range m.query {
		t, err := fdscan.ParseTarget(text)
		if err != nil {
			panic(err)
		}
		targets = append(targets, t)
	}
	return report.NewAnswer("1.2.3", m.query, inspect.Who(m.Snapshot, targets, rules.All(), m.all))
}

type trait func(p *fdscan.Process)

func aged(d time.Duration) trait {
	return func(p *fdscan.Process) {
		p.StartTime = taken.Add(-d)
		p.StartTicks = uint64((100*24*time.Hour - d) / (10 * time.Millisecond))
	}
}

func user(uid uint32, name string) trait {
	return func(p *fdscan.Process) { p.UID, p.User = uid, name }
}

func child(of *fdscan.Process) trait {
	return func(p *fdscan.Process) { p.PPID, p.Group, p.Session = of.PID, of.Group, of.Session }
}

func unit(name string) trait { return func(p *fdscan.Process) { p.Unit = name } }

func container(name string, pids ...int) trait {
	return func(p *fdscan.Process) { p.Container, p.NSPIDs = name, append([]int{p.PID}, pids...) }
}

func state(letter byte) trait { return func(p *fdscan.Process) { p.State = letter } }

// waits says what each thread waits in; "running" is a busy one.
func waits(calls ...string) trait {
	return func(p *fdscan.Process) {
		for i, call := range calls {
			w := fdscan.Wait{TID: p.PID + i, Call: call, Kind: fdscan.WaitPassive}
			if call == "running" || call == "io_uring_enter" {
				w.Kind = fdscan.WaitUnknown
			}
			p.Evidence.Waits = append(p.Evidence.Waits, w)
		}
	}
}

// serves makes a thread wait on sockets in an epoll instance.
func serves(sockets ...*fdscan.Socket) trait {
	return func(p *fdscan.Process) {
		w := fdscan.Wait{TID: p.PID, Call: "epoll_wait", Kind: fdscan.WaitOn}
		for _, s := range sockets {
			w.Inodes = append(w.Inodes, s.Inode)
		}
		p.Evidence.Waits = append(p.Evidence.Waits, w)
	}
}

func handedOver(fd int, words string) trait {
	return func(p *fdscan.Process) { p.Evidence.HandOvers = map[int]string{fd: words} }
}

func activated(n int) trait { return func(p *fdscan.Process) { p.Evidence.Activated = n } }

// process adds a process that an exec has made.
func (m *machine) process(pid int, command string, traits ...trait) *fdscan.Process {
	p := &fdscan.Process{
		PID: pid, PPID: 1, NSPIDs: []int{pid}, State: 'S', Cmdline: strings.Fields(command), UID: 1000, User: "dev",
		Group: pid, Session: pid, Threads: 1, NetNS: here, StackStart: 0x7ffc00000000 + uint64(pid), Evidence: &fdscan.Evidence{},
	}
	if pid == 1 {
		p.PPID = 0
	}
	if len(p.Cmdline) > 0 {
		p.Comm = path.Base(p.Cmdline[0])
		p.Exe = path.Join("/usr/bin", p.Comm)
		if strings.HasPrefix(p.Cmdline[0], "/") {
			p.Exe = p.Cmdline[0]
		}
		if m.exes[p.Exe] == 0 {
			m.exes[p.Exe] = uint64(1000 + len(m.exes))
		}
		p.ExeDevice, p.ExeInode = 2049, m.exes[p.Exe]
	}
	aged(12 * time.Minute)(p)
	for _, t := range traits {
		t(p)
	}
	p.Threads = max(1, len(p.Evidence.Waits))
	m.Processes[pid] = p
	return p
}

// fork adds a copy of a process, without exec.
func (m *machine) fork(of *fdscan.Process, pid int, traits ...trait) *fdscan.Process {
	p := m.process(pid, strings.Join(of.Cmdline, " "), append([]trait{child(of), aged(11 * time.Minute)}, traits...)...)
	p.Unexeced = true
	p.Comm, p.Exe, p.ExeInode, p.ExeDevice, p.StackStart = of.Comm, of.Exe, of.ExeInode, of.ExeDevice, of.StackStart
	p.UID, p.User, p.Unit, p.Container = of.UID, of.User, of.Unit, of.Container
	return p
}

// exit removes a process that others may still name.
func (m *machine) exit(p *fdscan.Process) { delete(m.Processes, p.PID) }

type option func(s *fdscan.Socket)

func backlog(queued, limit uint32) option {
	return func(s *fdscan.Socket) { s.Backlog = &fdscan.Backlog{Queued: queued, Limit: limit} }
}

func v6only(on bool) option { return func(s *fdscan.Socket) { s.V6Only = &on } }

func reuse(addr, port bool) option {
	return func(s *fdscan.Socket) { s.ReuseAddr, s.ReusePort = &addr, &port }
}

func queues(recv, send uint32) option {
	return func(s *fdscan.Socket) { s.RecvQueue, s.SendQueue = &recv, &send }
}

func timer(kind string, d time.Duration) option {
	return func(s *fdscan.Socket) { s.Timer = &fdscan.Timer{Kind: kind, Expires: d} }
}

// noInode is a socket that no descriptor was ever made for, or none is left.
func noInode(s *fdscan.Socket) { s.Inode = 0 }

// in puts the socket into another network namespace.
func in(netns uint64) option {
	return func(s *fdscan.Socket) { s.NetNS, s.NetNSMine = netns, netns == here }
}

func owner(uid uint32, cgroup string) option {
	return func(s *fdscan.Socket) { s.UID, s.Cgroup, s.CgroupID = &uid, cgroup, 77 }
}

// socket adds one; remote is empty for what is not connected.
func (m *machine) socket(protocol fdscan.Protocol, state fdscan.State, local, remote string, options ...option) *fdscan.Socket {
	uid := uint32(1000)
	s := &fdscan.Socket{
		Protocol: protocol, State: state, Inode: m.nextInode, Cookie: m.nextInode - 33684, NetNS: here, NetNSMine: true, UID: &uid, CgroupID: 1, Cgroup: "/",
	}
	m.nextInode++
	if protocol == fdscan.Unix {
		s.Family, s.Type, s.Local.Path, s.CgroupID, s.Cgroup = fdscan.UnixPath, "stream", local, 0, ""
	} else {
		s.Local = endpoint(local)
		s.Family = fdscan.Inet
		if s.Local.Addr.Is6() {
			s.Family = fdscan.Inet6
			only := !s.Local.Addr.IsUnspecified()
			s.V6Only = &only
		}
	}
	if remote != "" {
		s.Remote = endpoint(remote)
	}
	if state == fdscan.Listen {
		s.Backlog = &fdscan.Backlog{Limit: 128}
	} else {
		queues(0, 0)(s)
	}
	if state == fdscan.TimeWait {
		s.Inode, s.UID, s.CgroupID, s.Cgroup = 0, nil, 0, ""
	}
	for _, o := range options {
		o(s)
	}
	m.Sockets = append(m.Sockets, s)
	return s
}

func endpoint(text string) fdscan.Endpoint {
	ap := netip.MustParseAddrPort(text)
	return fdscan.Endpoint{Addr: ap.Addr(), Port: ap.Port()}
}

func (m *machine) listen(local string, options ...option) *fdscan.Socket {
	return m.socket(fdscan.TCP, fdscan.Listen, local, "", append([]option{reuse(true, false)}, options...)...)
}

// hold adds a descriptor; its FD_CLOEXEC is set when cloexec.
func hold(s *fdscan.Socket, p *fdscan.Process, fd int, cloexec bool) *fdscan.Holder {
	h := &fdscan.Holder{Process: p, FD: fd, Slot: -1, Via: fdscan.ViaTable, CloseOnExec: &cloexec}
	s.Holders = append(s.Holders, h)
	return h
}

// holdVia adds a reference that is no entry of a process's table.
func holdVia(s *fdscan.Socket, p *fdscan.Process, via fdscan.Via, fd, slot int, note string) *fdscan.Holder {
	h := &fdscan.Holder{Process: p, FD: fd, Slot: slot, Via: via, Note: note}
	s.Holders = append(s.Holders, h)
	return h
}

// gap says what could not be seen.
func (m *machine) gap(scope fdscan.Scope, op string, pid int, err, needs string) {
	m.Gaps = append(m.Gaps, fdscan.Gap{Op: op, PID: pid, FD: -1, Err: err, Needs: needs, Scope: scope})
	switch scope {
	case fdscan.ScopeTables:
		m.TablesComplete = false
	case fdscan.ScopeHolders:
		m.HoldersComplete = false
	}
}
