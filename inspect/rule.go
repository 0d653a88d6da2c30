// Package inspect says what a snapshot means: how each holder came by what it
// holds, whether a port can be bound, and which rules are broken. It is pure:
// it reads snapshots and touches nothing.
package inspect

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"stray/fdscan"
)

// Severity orders findings; Error is what fails CI unless told otherwise.
type Severity int

// The severities, from mild to grave.
const (
	Note Severity = iota + 1
	Warning
	Error
)

func (s Severity) String() string {
	switch s {
	case Note:
		return "note"
	case Warning:
		return "warning"
	case Error:
		return "error"
	}
	return fmt.Sprintf("Severity(%d)", int(s))
}

// SeverityNamed returns the severity with a name; 0 for a word that is none.
func SeverityNamed(word string) Severity {
	for _, s := range []Severity{Note, Warning, Error} {
		if s.String() == word {
			return s
		}
	}
	return 0
}

// Rule is one thing that is checked. Its documentation is part of it: every
// page, help text and report that speaks of the rule derives from these fields.
type Rule struct {
	ID       string // permanent, such as "FD101"
	Name     string // "listener-crossed-exec"
	Title    string // one line
	Severity Severity
	// SeverityNote says when a finding has another severity; empty if never.
	SeverityNote string
	Text         string // what happens, how it is recognised, known false positives
	Cures        []Cure
	// Needs is what a view must hold for the rule to mean anything; over
	// another view it is not run at all.
	Needs Sight
	// Or is another set that will do in place of Needs; 0 for none.
	Or Sight
	// Check returns the findings of the rule itself, r, in v. It must not look
	// at anything else.
	Check func(r *Rule, v *View) []Finding
	// Starved says why v does not hold what the rule needs to see, and so
	// that no finding means nothing; "" when it does.
	Starved func(v *View) string
}

// Cure is how to avoid a finding at its source, in one language.
type Cure struct {
	Language string // one of Languages
	Text     string // in words; a paragraph, broken where it is shown
	// Before is code that has the fault, and After the same code without it:
	// both, or neither where words are enough. Lines of at most 76 columns,
	// indented by spaces, without a newline at the end.
	Before, After string
}

// Languages are those that cures are written for, in the order in which a rule
// gives them.
func Languages() []string {
	return []string{"C", "C++/Asio", "Go", "Python", "Node", "Rust", "Java", "Crystal", "shell"}
}

// Finding is a rule that something breaks.
type Finding struct {
	Rule     *Rule
	Severity Severity
	Process  *fdscan.Process
	TID      int
	FD       int
	Inode    uint64
	// Descriptors or Sockets are what the finding is about where that is more
	// than FD and Inode tell.
	Descriptors []*fdscan.Descriptor
	Sockets     []*Socket
	// Opening is how the descriptor came to be, or the first of several; nil when
	// that was not seen.
	Opening  *fdscan.Opening
	Message  string
	Evidence []string
	// Next are commands to run, most useful first.
	Next []string
	// Fingerprint is equal for the same fault after a restart: it is made of
	// rule, programs and address, never of pids, descriptors or inodes.
	Fingerprint string
}

// Unevaluated is a rule that could not be checked.
type Unevaluated struct {
	Rule    *Rule
	Because string
}

// View is a snapshot with its verdicts, which is what rules look at.
type View struct {
	*fdscan.Snapshot
	// Sight is what was asked of the snapshot.
	Sight   Sight
	Sockets []*Socket // those of the snapshot, judged
	// Run is the command that was followed; nil unless Sight has SightRun.
	Run *Run
	// Limits are those by which Examine judged; zero unless Sight has
	// SightHealth.
	Limits Limits
	// Past is an earlier report to compare with; nil without one.
	Past *Past
}

// Sight is a set of things that a snapshot can hold.
type Sight uint

// The things.
const (
	// SightSockets: sockets with their holders; those of one question at least.
	SightSockets Sight = 1 << iota
	// SightTables: the descriptor tables of processes, and of their descriptors
	// those that may have leaked.
	SightTables
	// SightHealth: connections with what the kernel tells of their health
	// (tcp_info).
	SightHealth
	// SightTrend: two looks or more, apart in time.
	SightTrend
	// SightRun: a command that was followed from its start to its end.
	SightRun
)

// Outcome is what every command that judges comes to.
type Outcome struct {
	*View
	// Complete reports that nothing which could change the answer was out of
	// sight.
	Complete bool
	// Shown are the sockets to tell of, of all those in the view.
	Shown []*Socket
	// Findings come in order of severity.
	Findings []Finding
	// Suppressed are findings that a baseline or an ignore entry accounts for.
	Suppressed []Suppressed
	// Evaluated are the rules that were run, by id, whether they found
	// something or not.
	Evaluated    []*Rule
	NotEvaluated []Unevaluated
	// Asked is what the question was limited to.
	Asked Scope
	// PIDs are the processes that the report was limited to: with scan and check
	// those of Asked and their descendants, and none where they have ended.
	PIDs []int
	// FailOn is the mildest severity that fails; 0 for Error, and anything above
	// Error for none.
	FailOn Severity
}

// What can account for a finding.
const (
	ByBaseline = "baseline"
	ByIgnore   = "ignore"
)

// Suppressed is a finding that does not count, and why.
type Suppressed struct {
	Finding
	By string // ByBaseline or ByIgnore
	// Reason is what the ignore entry gives; empty for a baseline.
	Reason string
}

// Worst is the gravest severity among the findings that count; 0 without any.
func (o *Outcome) Worst() (worst Severity) {
	for _, f := range o.Findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// Fails reports a severity at or above FailOn.
func (o *Outcome) Fails(s Severity) bool { return s >= cmp.Or(o.FailOn, Error) }

// Evaluate runs over the view those rules that it holds enough for.
func (o *Outcome) Evaluate(rules []*Rule) {
	for _, r := range rules {
		if r.Needs&^o.Sight != 0 && (r.Or == 0 || r.Or&^o.Sight != 0) {
			continue
		}
		o.Findings = append(o.Findings, r.Check(r, o.View)...)
		if why := r.Starved(o.View); why != "" {
			o.NotEvaluated = append(o.NotEvaluated, Unevaluated{r, why})
		} else {
			o.Evaluated = append(o.Evaluated, r)
		}
	}
	slices.SortStableFunc(o.Findings, func(a, b Finding) int { return int(b.Severity) - int(a.Severity) })
}

// fingerprint hashes what stays the same across restarts.
func fingerprint(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// NewFinding returns a finding of r about what h holds of s.
func NewFinding(r *Rule, s *Socket, h *Holder, message string) Finding {
	from := ""
	if h.Origin.From != nil {
		from = program(h.Origin.From)
	}
	return Finding{
		Rule: r, Severity: r.Severity, Process: h.Process, TID: h.TID, FD: h.FD, Inode: s.Inode, Message: message,
		Evidence:    h.Origin.Evidence,
		Next:        []string{"stray explain " + r.ID},
		Fingerprint: fingerprint(r.ID, program(h.Process), from, string(s.Protocol), s.stableAddress()),
	}
}

// NewDescriptorFinding returns a finding of r about a descriptor that came from
// another program; from is nil where it did not.
func NewDescriptorFinding(r *Rule, v *View, d *fdscan.Descriptor, from *fdscan.Process, message string) Finding {
	source := ""
	if from != nil {
		source = program(from)
	}
	f := NewProcessFinding(r, d.Process, d.FD, message, source, v.Lasting(d))
	f.TID, f.Inode = d.TID, d.Inode
	return f
}

// Lasting is what a descriptor leads to, less what is another in the next run.
func (v *View) Lasting(d *fdscan.Descriptor) string {
	switch {
	case d.Socket != nil && (d.Socket.State == fdscan.Listen || d.Socket.State == fdscan.Bound):
		s := &Socket{Socket: d.Socket, ephemeral: Ephemeral(v.Host, d.Socket.Local.Port)}
		return string(s.Protocol) + " " + s.stableAddress()
	case strings.HasPrefix(d.Link, "/"):
		return lastingName(d.Link)
	}
	return d.Kind.Name
}

// NewProcessFinding returns a finding of r about p, or about one of its
// descriptors (-1 for none). What tells it from others of the same rule and
// program is in about, without pids, numbers or inodes; of paths, what lasts.
func NewProcessFinding(r *Rule, p *fdscan.Process, fd int, message string, about ...string) Finding {
	parts := []string{r.ID, program(p)}
	for _, a := range about {
		if strings.HasPrefix(a, "/") {
			a = lastingName(a)
		}
		parts = append(parts, a)
	}
	return Finding{
		Rule: r, Severity: r.Severity, Process: p, FD: fd, Message: message, Next: []string{"stray explain " + r.ID},
		Fingerprint: fingerprint(parts...),
	}
}

// program names a process's program independently of its pid, and of the
// directory that it was built or installed in: a baseline is kept beside the
// source, and has to hold in the next checkout too.
func program(p *fdscan.Process) string { return fdscan.ProgramName(p.Exe, p.Comm, p.Cmdline) }
