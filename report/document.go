package report

import (
	"net/netip"
	"slices"
	"time"

	"stray/fdscan"
	"stray/inspect"
)

// SchemaVersion is that of Document. Within a major version keys are only
// added.
const SchemaVersion = "1.0"

// Document is the JSON form of every report. Every key is always present; null
// means that the kernel does not report it, or that it could not be seen.
type Document struct {
	Summary
	Gaps    []Gap    `json:"gaps"`
	Sockets []Socket `json:"sockets"`
	Objects []Object `json:"objects"`
	// Descriptors are those that scan --fds lists, or that may have leaked.
	Descriptors []Descriptor `json:"descriptors"`
	// Tables are the descriptor tables that were read; empty for who.
	Tables   []Table   `json:"tables"`
	Findings []Finding `json:"findings"`
	// Suppressed are findings that do not count.
	Suppressed []Suppressed `json:"suppressed"`
	// Actions are what close and seal have done; empty for other commands.
	Actions []Action `json:"actions"`
	// Run is the command that check has followed; null for other commands.
	Run *Run `json:"run"`
}

// Summary is a Document without what can be long.
type Summary struct {
	SchemaVersion string   `json:"schema_version"`
	Tool          Tool     `json:"tool"`
	Command       string   `json:"command"`
	TakenAt       string   `json:"taken_at"`
	Host          Host     `json:"host"`
	Query         []string `json:"query"`
	Asked         Asked    `json:"asked"`
	// Verdict is that of who; null for other commands.
	Verdict *string `json:"verdict"`
	// Complete reports that nothing which could change the answer was out of
	// sight.
	Complete  bool        `json:"complete"`
	Bind      []Bind      `json:"bind"`
	Explained []Explained `json:"explained"`
	// Evaluated are the ids of the rules that were checked.
	Evaluated    []string      `json:"evaluated"`
	NotEvaluated []Unevaluated `json:"not_evaluated"`
}

// Asked is what the question was limited to, besides the targets in the query.
type Asked struct {
	// PIDs are the processes that were named; empty for all.
	PIDs []int `json:"pids"`
	// Programs are the names of their programs, sorted: what the same question is
	// about after a restart.
	Programs []string `json:"programs"`
	// Limits are flags for limits of connections that were not the usual ones.
	Limits []string `json:"limits"`
	// All reports that sockets with which nothing is wrong are in the report too.
	All bool `json:"all"`
	// Deep and Twice report that more was looked at than is usual: every
	// descriptor (--deep), connections at two times (conns --for).
	Deep  bool `json:"deep"`
	Twice bool `json:"twice"`
}

// flags are those of the command line that say how far was looked.
func (a Asked) flags() []string {
	flags := slices.Clone(a.Limits)
	for _, f := range []struct {
		on   bool
		name string
	}{{a.All, "-a"}, {a.Deep, "--deep"}, {a.Twice, "--for"}} {
		if f.on {
			flags = append(flags, f.name)
		}
	}
	return flags
}

// Tool is the program that made a Document.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Host is the machine that a Document speaks of.
type Host struct {
	Name   string  `json:"name"`
	Kernel string  `json:"kernel"`
	BootID string  `json:"boot_id"`
	NetNS  *uint64 `json:"netns"`
}

// Gap is something that could not be seen.
type Gap struct {
	Op    string  `json:"op"`
	PID   *int    `json:"pid"`
	TID   *int    `json:"tid"`
	FD    *int    `json:"fd"`
	Error string  `json:"error"`
	Needs *string `json:"needs"`
	// Scope is what the gap starves: "detail", "elsewhere" (other network
	// namespaces), "holders" or "tables".
	Scope string `json:"scope"`
}

// Bind says whether a port can be bound at an address: yes, no or unknown.
type Bind struct {
	Address   string `json:"address"`
	Port      uint16 `json:"port"`
	Protocol  string `json:"protocol"`
	Plain     string `json:"plain"`
	ReuseAddr string `json:"reuseaddr"`
	ReusePort string `json:"reuseport"`
	Because   string `json:"because"`
}

// Endpoint is one end of a socket.
type Endpoint struct {
	Address *string `json:"address"`
	Port    *uint16 `json:"port"`
	Path    *string `json:"path"`
}

// Socket is one kernel socket.
type Socket struct {
	Protocol    *string   `json:"protocol"`
	Family      *string   `json:"family"`
	Type        *string   `json:"type"`
	State       string    `json:"state"`
	Local       Endpoint  `json:"local"`
	Remote      *Endpoint `json:"remote"`
	Inode       *uint64   `json:"inode"`
	Cookie      *uint64   `json:"cookie"`
	NetNS       *uint64   `json:"netns"`
	NetNSIsMine bool      `json:"netns_is_mine"`
	UID         *uint32   `json:"uid"`
	Cgroup      *string   `json:"cgroup"`
	V6Only      *bool     `json:"v6only"`
	ReuseAddr   *bool     `json:"reuseaddr"`
	ReusePort   *bool     `json:"reuseport"`
	// ReusePortGroup numbers the groups of sockets that share one address
	// through SO_REUSEPORT, from 1.
	ReusePortGroup *int     `json:"reuseport_group"`
	Interface      *uint32  `json:"interface"`
	Backlog        *Backlog `json:"backlog"`
	RecvQueue      *uint32  `json:"recv_queue"`
	SendQueue      *uint32  `json:"send_queue"`
	Timer          *Timer   `json:"timer"`
	InBacklogOf    *uint64  `json:"in_backlog_of"`
	KernelOwned    bool     `json:"kernel_owned"`
	// Health is that of conns; null for commands that do not ask for it.
	Health  *Health  `json:"health"`
	Holders []Holder `json:"holders"`
}

// Backlog is the accept queue of a listener, in connections.
type Backlog struct {
	Queued uint32 `json:"queued"`
	Limit  uint32 `json:"limit"`
}

// Timer is what the kernel does next with a socket.
type Timer struct {
	Kind    string  `json:"kind"`
	Expires float64 `json:"expires_seconds"`
}

// Holder is one reference of a process.
type Holder struct {
	PID             int     `json:"pid"`
	TID             *int    `json:"tid"`
	FD              *int    `json:"fd"`
	Slot            *int    `json:"slot"`
	CloseOnExec     *bool   `json:"close_on_exec"`
	Via             string  `json:"via"`
	Serving         string  `json:"serving"`
	Origin          Origin  `json:"origin"`
	SharesTableWith []int   `json:"shares_table_with"`
	Note            *string `json:"note"`
	Process         Process `json:"process"`
}

// Origin is how a holder came by what it holds.
type Origin struct {
	Kind    string `json:"kind"`
	FromPID *int   `json:"from_pid"`
	// OpenerAlive reports that the opener is among the holders, OpenerExited
	// evidence that it has ended; both are false when nothing is known.
	OpenerAlive  bool     `json:"opener_alive"`
	OpenerExited bool     `json:"opener_exited"`
	Certain      bool     `json:"certain"`
	Leak         bool     `json:"leak"`
	Evidence     []string `json:"evidence"`
}

// Process is the process of a holder.
type Process struct {
	PID       int      `json:"pid"`
	PPID      int      `json:"ppid"`
	NSPIDs    []int    `json:"ns_pids"`
	StartTime string   `json:"start_time"`
	Comm      string   `json:"comm"`
	Exe       *string  `json:"exe"`
	Cmdline   []string `json:"cmdline"`
	UID       uint32   `json:"uid"`
	User      string   `json:"user"`
	Unit      *string  `json:"unit"`
	Container *string  `json:"container"`
}

// Explained counts connections that are left out, since a listener accounts
// for them.
type Explained struct {
	State string `json:"state"`
	Count int    `json:"count"`
}

// Object is a file or pipe that was asked for.
type Object struct {
	Path    string   `json:"path"`
	Kind    string   `json:"kind"`
	Inode   uint64   `json:"inode"`
	Device  *uint64  `json:"device"`
	Holders []Holder `json:"holders"`
}

// Finding is a rule that something breaks.
type Finding struct {
	Rule        string   `json:"rule"`
	Name        string   `json:"name"`
	Severity    string   `json:"severity"`
	PID         *int     `json:"pid"`
	TID         *int     `json:"tid"`
	FD          *int     `json:"fd"`
	Inode       *uint64  `json:"inode"`
	Message     string   `json:"message"`
	Evidence    []string `json:"evidence"`
	Next        []string `json:"next"`
	Fingerprint string   `json:"fingerprint"`
	// Opened is how the descriptor came to be, by check --stacks; null when that was
	// not seen.
	Opened *Opening `json:"opened"`
}

// Unevaluated is a rule that a gap starved.
type Unevaluated struct {
	Rule    string `json:"rule"`
	Because string `json:"because"`
}

// Suppressed is a finding that does not count: a baseline or an ignore entry
// accounts for it.
type Suppressed struct {
	Finding
	By     string  `json:"by"` // "baseline" or "ignore"
	Reason *string `json:"reason"`
}

// Run is a command that was followed with its whole process tree.
type Run struct {
	Argv       []string  `json:"argv"`
	ExitCode   int       `json:"exit_code"`
	Signal     *int      `json:"signal"`
	Reported   int       `json:"reported_exit_code"` // that of stray
	Duration   float64   `json:"duration_seconds"`
	Sampled    bool      `json:"sampled"`
	Stacks     bool      `json:"stacks"`
	Directory  *string   `json:"directory"` // in which it began
	Processes  int       `json:"processes"`
	LeftBehind []Process `json:"left_behind"`
}

// NewDocument turns a result into its JSON form.
func NewDocument(r *Result) *Document {
	o := r.Outcome
	groups := reusePortGroups(o.Shown)
	d := &Document{
		Summary: Summary{
			SchemaVersion: SchemaVersion, Tool: Tool{"stray", r.Version}, Command: r.Command,
			TakenAt: o.TakenAt.Format(time.RFC3339), Host: newHost(o.Host), Query: list(r.Query, text), Asked: newAsked(o), Complete: o.Complete,
			Bind: []Bind{}, Explained: []Explained{}, Evaluated: list(o.Evaluated, func(r *inspect.Rule) string { return r.ID }),
			NotEvaluated: list(o.NotEvaluated, func(u inspect.Unevaluated) Unevaluated { return Unevaluated{u.Rule.ID, text(u.Because)} }),
		},
		Gaps:        list(o.Gaps, newGap),
		Sockets:     list(o.Shown, func(s *inspect.Socket) Socket { return newSocket(s, groups) }),
		Objects:     list(o.Objects, newObject),
		Descriptors: newDescriptors(r.Listed),
		Tables:      list(o.Tables, newTable),
		Findings:    list(o.Findings, newFinding),
		Suppressed: list(o.Suppressed, func(s inspect.Suppressed) Suppressed {
			return Suppressed{newFinding(s.Finding), s.By, orNull(text(s.Reason))}
		}),
		Actions: []Action{},
		Run:     newRun(o.Run),
	}
	if a := r.Answer; a != nil {
		d.Verdict = orNull(string(a.Verdict))
		d.Bind = list(a.Binds, newBind)
		d.Explained = list(sortedStates(a.Explained), func(s fdscan.State) Explained { return Explained{string(s), a.Explained[s]} })
	}
	return d
}

func newAsked(o *inspect.Outcome) Asked {
	a := Asked{list(o.Asked.PIDs, func(pid int) int { return pid }), []string{}, list(o.Asked.Limits, text), o.Asked.All, o.Asked.Deep, o.Asked.Twice}
	for _, pid := range o.Asked.PIDs {
		if p := o.Processes[pid]; p != nil {
			a.Programs = append(a.Programs, programOf(newProcess(p)))
		}
	}
	slices.Sort(a.Programs)
	a.Programs = slices.Compact(a.Programs)
	return a
}

func newRun(r *inspect.Run) *Run {
	if r == nil {
		return nil
	}
	return &Run{list(r.Argv, text), r.ExitCode, orNull(r.Signal), r.Reported, r.Duration.Seconds(), r.Sampled, r.Stacks, orNull(text(r.Directory)), r.Processes, list(r.LeftBehind, newProcess)}
}

func newHost(h fdscan.Host) Host {
	return Host{text(h.Name), text(h.Kernel), text(h.BootID), orNull(h.NetNS)}
}

func newObject(o *fdscan.Object) Object {
	return Object{text(o.Path), o.Kind, o.Inode, orNull(o.Device), list(o.Holders, func(h *fdscan.Holder) Holder { return newHolder(unjudged(h)) })}
}

// unjudged is the holder of a file: how it came by it is not asked.
func unjudged(h *fdscan.Holder) *inspect.Holder {
	return &inspect.Holder{Holder: h, Serving: inspect.Unknown, Origin: inspect.Origin{Kind: inspect.NoOrigin}}
}

func newGap(g fdscan.Gap) Gap {
	scopes := map[fdscan.Scope]string{fdscan.ScopeDetail: "detail", fdscan.ScopeElsewhere: "elsewhere", fdscan.ScopeHolders: "holders", fdscan.ScopeTables: "tables"}
	return Gap{text(g.Op), orNull(g.PID), orNull(g.TID), descriptor(g.FD), text(g.Err), orNull(g.Needs), scopes[g.Scope]}
}

func newBind(b inspect.BindVerdict) Bind {
	return Bind{b.Address.String(), b.Port, string(b.Protocol), string(b.Plain), string(b.ReuseAddr), string(b.ReusePort), text(b.Because)}
}

func newSocket(s *inspect.Socket, groups map[*inspect.Socket]reusePortGroup) Socket {
	j := Socket{
		Protocol: orNull(string(s.Protocol)), Family: orNull(string(s.Family)), Type: orNull(s.Type), State: string(s.State), Local: newEndpoint(s.Local),
		Inode: orNull(s.Inode), Cookie: orNull(s.Cookie), NetNS: orNull(s.NetNS), NetNSIsMine: s.NetNSMine, UID: s.UID, Cgroup: orNull(text(s.Cgroup)),
		V6Only: s.V6Only, ReuseAddr: s.ReuseAddr, ReusePort: s.ReusePort, ReusePortGroup: orNull(groups[s].number), Interface: orNull(s.Interface),
		RecvQueue: s.RecvQueue, SendQueue: s.SendQueue, InBacklogOf: orNull(s.InBacklogOf), KernelOwned: s.KernelOwned, Health: newHealth(s), Holders: list(s.Holders, newHolder),
	}
	if s.Remote != (fdscan.Endpoint{}) {
		remote := newEndpoint(s.Remote)
		j.Remote = &remote
	}
	if s.Backlog != nil {
		j.Backlog = &Backlog{s.Backlog.Queued, s.Backlog.Limit}
	}
	if s.Timer != nil {
		j.Timer = &Timer{s.Timer.Kind, s.Timer.Expires.Seconds()}
	}
	return j
}

func newEndpoint(e fdscan.Endpoint) Endpoint {
	j := Endpoint{Port: orNull(e.Port), Path: orNull(text(e.Path))}
	if e.Addr != (netip.Addr{}) {
		address := e.Addr.String()
		j.Address = &address
	}
	return j
}

func newHolder(h *inspect.Holder) Holder {
	j := Holder{
		PID: h.Process.PID, TID: orNull(h.TID), FD: descriptor(h.FD), Slot: descriptor(h.Slot), CloseOnExec: h.CloseOnExec, Via: string(h.Via),
		Serving: servingWord(h.Serving), SharesTableWith: list(h.SharesTableWith, func(pid int) int { return pid }), Note: orNull(text(h.Note)), Process: newProcess(h.Process),
		Origin: Origin{Kind: string(h.Origin.Kind), OpenerAlive: h.Origin.OpenerAlive, OpenerExited: h.Origin.OpenerExited, Certain: h.Origin.Certain, Leak: h.Origin.Leak, Evidence: list(h.Origin.Evidence, text)},
	}
	if h.Origin.From != nil {
		j.Origin.FromPID = &h.Origin.From.PID
	}
	return j
}

func newProcess(p *fdscan.Process) Process {
	return Process{
		PID: p.PID, PPID: p.PPID, NSPIDs: list(p.NSPIDs, func(pid int) int { return pid }), StartTime: p.StartTime.Format(time.RFC3339Nano),
		Comm: text(p.Comm), Exe: orNull(text(p.Exe)), Cmdline: list(p.Cmdline, text), UID: p.UID, User: text(p.User), Unit: orNull(text(p.Unit)), Container: orNull(text(p.Container)),
	}
}

func newFinding(f inspect.Finding) Finding {
	j := Finding{
		Rule: f.Rule.ID, Name: f.Rule.Name, Severity: f.Severity.String(), TID: orNull(f.TID), FD: descriptor(f.FD), Inode: orNull(f.Inode),
		Message: text(f.Message), Evidence: list(f.Evidence, text), Next: list(f.Next, text), Fingerprint: f.Fingerprint,
		Opened: newOpening(f.Opening),
	}
	if f.Process != nil {
		j.PID = &f.Process.PID
	}
	return j
}

// orNull is nil for the zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// descriptor is nil for -1: 0 is a descriptor.
func descriptor(fd int) *int {
	if fd < 0 {
		return nil
	}
	return &fd
}

// list maps a slice to one that is never null.
func list[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}
