package report

import (
	"net/netip"
	"slices"
	"time"

	"stray/fdscan"
	"stray/inspect"
)

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
