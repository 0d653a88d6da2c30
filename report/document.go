package report

import (
	"slices"
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
