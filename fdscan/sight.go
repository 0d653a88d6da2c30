package fdscan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"stray/internal/sockdiag"
)

// Ability is something that this caller can or cannot see on this machine.
type Ability struct {
	Name string
	// Have is "yes", "no" or "partly".
	Have string
	// Detail is what was found, Adds what it is for or would add.
	Detail, Adds string
}

// Abilities tries what stray relies on, and returns what works here. Nothing
// but this process is touched.
func (s *Scanner) Abilities() (Host, []Ability) {
	l := &lookup{Scanner: s, snap: &Snapshot{Processes: map[int]*Process{}}}
	if err := l.host(); err != nil {
		return Host{}, []Ability{{l.root(), "no", err.Error(), "everything"}}
	}
	list := []Ability{l.processAbility(), l.visibleAbility(), l.yamaAbility()}
	list = append(list, l.tableAbilities()...)
	list = append(list, l.namespaceAbility(), copyAbility(), kcmpAbility())
	for _, c := range []struct {
		name   string
		number int
		adds   string
	}{
		{"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE, "the descriptors of other users' processes"},
		{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN, "entering other network namespaces"},
		{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, "the namespace of a socket that no process is in (--deep)"},
		{"CAP_NET_BIND_SERVICE", unix.CAP_NET_BIND_SERVICE, fmt.Sprintf("binding ports below %d", l.snap.Host.Bind.UnprivilegedPortStart)},
	} {
		list = append(list, Ability{c.name, yes(HasCapability(c.number)), "", c.adds})
	}
	return l.snap.Host, append(list, l.bpfAbility())
}

func yes(have bool) string {
	if have {
		return "yes"
	}
	return "no"
}

// processAbility counts the processes whose descriptors may be listed.
func (l *lookup) processAbility() Ability {
	a := Ability{Name: "descriptors of processes", Adds: "who holds a socket; the rest is named by user and cgroup only"}
	pids, err := listPIDs(l.root())
	if err != nil {
		a.Have, a.Detail = "no", reason(err)
		return a
	}
	// Listing a table is not enough: a security module may let it be listed
	// and not be read.
	refused := 0
	walk := ProcWalker{Root: l.root()}
	if err := walk.Walk(context.Background(), Want{}, func(Ref) {}, func(Gap) { refused++ }); err != nil {
		a.Have, a.Detail = "no", reason(err)
		return a
	}
	a.Have, a.Detail = "yes", fmt.Sprintf("all of %d", len(pids))
	if refused > 0 {
		a.Have, a.Detail = "partly", fmt.Sprintf("%d of %d may be read", len(pids)-refused, len(pids))
	}
	return a
}

// visibleAbility says whether there may be processes that do not even appear.
func (l *lookup) visibleAbility() Ability {
	a := Ability{Name: "all processes visible", Have: "yes", Adds: "without it processes of other users do not even appear (hidepid)"}
	switch o := l.hidepid(); {
	case len(o) > 0:
		a.Have, a.Detail = "no", l.root()+" is mounted with "+o[0]
	case !l.seesAllPIDs():
		a.Have, a.Detail = "partly", "only those of this pid namespace, and of those in it"
		a.Adds = "processes of the host, or of other containers, may hold the other end of a pipe, or a file"
	}
	return a
}

// yamaAbility reads kernel.yama.ptrace_scope.
func (l *lookup) yamaAbility() Ability {
	a := Ability{Name: "ptrace", Have: "yes", Adds: "socket options and messages in flight (pidfd_getfd)"}
	scope := l.sysctl("kernel/yama/ptrace_scope")
	switch {
	case scope == "":
		a.Detail = "no Yama"
	case scope == "0":
		a.Detail = "kernel.yama.ptrace_scope is 0"
	default:
		a.Detail = "kernel.yama.ptrace_scope is " + scope
		if scope == "3" || !HasCapability(unix.CAP_SYS_PTRACE) {
			a.Have = "partly"
		}
	}
	return a
}

// tableAbilities dumps each socket table for an impossible port.
func (l *lookup) tableAbilities() (list []Ability) {
	a := Ability{Name: "socket tables", Adds: "every socket of this network namespace, without privilege"}
	conn, err := l.dial()
	if err != nil {
		a.Have, a.Detail = "no", reason(err)
		return []Ability{a}
	}
	defer conn.Close()
	var have, lack []string
	for _, t := range inetTables {
		_, err := conn.Inet(sockdiag.InetRequest{Family: t.family, Protocol: t.number, States: sockdiag.AllStates, PortLow: 1, PortHigh: 1})
		if err == nil {
			have = append(have, t.name())
		} else {
			lack = append(lack, t.name())
		}
	}
	if _, err := conn.Unix(); err == nil {
		have = append(have, "unix")
	} else {
		lack = append(lack, "unix")
	}
	a.Have, a.Detail = "yes", strings.Join(have, " ")
	if len(lack) > 0 {
		a.Have, a.Detail = "partly", a.Detail+"; not in this kernel: "+strings.Join(lack, " ")
	}
	bound := Ability{Name: "bound-only sockets", Have: yes(l.listsBound()), Detail: "Linux " + l.snap.Host.Kernel, Adds: "a table of them (Linux 6.8); before, each socket has to be asked through its holder"}
	return []Ability{a, bound}
}

func (l *lookup) namespaceAbility() Ability {
	a := Ability{Name: "other network namespaces", Have: "yes", Adds: "sockets of containers"}
	others, refused := l.namespaces(), 0
	for _, ns := range others {
		conn, err := l.enter(ns)
		if len(ns.paths) == 0 || err != nil {
			refused++
			continue
		}
		conn.Close()
	}
	a.Detail = fmt.Sprintf("%d found", len(others))
	switch {
	case refused > 0:
		a.Have, a.Detail = "partly", fmt.Sprintf("%d of %d may be entered; the others are read from /proc/PID/net", len(others)-refused, len(others))
	case len(others) == 0 && !HasCapability(unix.CAP_SYS_ADMIN):
		a.Have = "partly"
	}
	return a
}

// copyAbility tries pidfd_getfd on this process.
func copyAbility() Ability {
	a := Ability{Name: "pidfd_getfd", Have: "yes", Adds: "SO_REUSEADDR and SO_REUSEPORT of a socket (Linux 5.6)"}
	fd, err := copyFD(Ref{PID: os.Getpid(), FD: 0})
	switch {
	case err == nil:
		unix.Close(fd)
	case !errors.Is(err, unix.EBADF):
		a.Have, a.Detail = "no", reason(err)
	}
	return a
}

func kcmpAbility() Ability {
	a := Ability{Name: "kcmp", Have: "yes", Adds: "threads with a table of their own, processes that share one (CONFIG_KCMP)"}
	if _, err := compareTables(os.Getpid(), os.Getpid()); err != nil {
		a.Have, a.Detail = "no", reason(err)
	}
	return a
}

// bpfAbility tries to read descriptor tables from the kernel's memory.
func (l *lookup) bpfAbility() Ability {
	a := Ability{Name: "BPF iterator", Have: "yes", Detail: "reads descriptor tables where there are many", Adds: "reading many descriptor tables in a fraction of the time"}
	if err := (BPFWalker{ProcWalker: ProcWalker{Root: l.root()}}).Usable(); err != nil {
		a.Have, a.Detail = "no", "descriptor tables are walked: "+err.Error()
	}
	return a
}
