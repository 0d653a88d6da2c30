// Package inspect says what a snapshot means: how each holder came by what it
// holds, whether a port can be bound, and which rules are broken. It is pure:
// it reads snapshots and touches nothing.
package inspect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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
	// Check returns the findings of the rule itself, r, in v. It must not look
	// at anything else.
	Check func(r *Rule, v *View) []Finding
	// Starved says why v does not hold what the rule needs to see, and so
	// that no finding means nothing; "" when it does.
	Starved func(v *View) string
}

// Cure is how to avoid a finding at its source, in one language.
type Cure struct{ Language, Text string }

// Finding is a rule that something breaks.
type Finding struct {
	Rule     *Rule
	Severity Severity
	Process  *fdscan.Process
	TID      int
	FD       int
	Inode    uint64
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
	Sockets []*Socket // those of the snapshot, judged
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

// program names a process's program independently of its pid.
func program(p *fdscan.Process) string {
	if p.Exe != "" {
		return p.Exe
	}
	return p.Comm
}
