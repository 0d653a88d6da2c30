package inspect

import (
	"time"

	"stray/fdscan"
)

// Run is a command that was followed with its whole process tree.
type Run struct {
	Argv []string
	// ExitCode is that of the command; 128 and the signal when one ended it.
	ExitCode int
	// Signal ended the command; 0 when it exited.
	Signal int
	// Reported is the exit code of stray, which findings change when the command
	// has succeeded.
	Reported int
	Duration time.Duration
	// Sampled reports that ptrace was refused: the tree was looked at in
	// intervals, and what was short may have been missed.
	Sampled bool
	// Processes is how many the tree had in all.
	Processes int
	// LeftBehind are those that outlived the command and its time of grace.
	LeftBehind []*fdscan.Process
	// Refused says why it was sampled, when that was not asked for.
	Refused string
	// Unread are the descriptor tables that could not be read.
	Unread []fdscan.Gap
	// EndsLeftBehind: those that are left behind are ended after the report.
	EndsLeftBehind bool
	// Stacks: where descriptors were opened was found out. Then EndsLeftBehind is
	// true as well. NoStacks says why it was not, when it was
	// asked for.
	Stacks   bool
	NoStacks string
	// Directory is the working directory of the command, and SourceRoot that of the
	// repository which it is in: what reads reports names files from there.
	Directory, SourceRoot string
	// OpenAtExit: what is open when a process ends is an error.
	OpenAtExit bool
	Crossings  []*fdscan.Crossing
	Unclosed   []*fdscan.Unclosed
	Survivors  []*fdscan.Survivor // LeftBehind, with what they hold
}

// Check judges a command that was followed. snap has the sockets of what it has
// left behind.
func Check(snap *fdscan.Snapshot, run *Run, rules []*Rule) *Outcome {
	o := &Outcome{View: Judge(snap), Complete: !run.Sampled && snap.TablesComplete && snap.HoldersComplete}
	o.Run = run
	o.Sight |= SightRun
	for _, s := range o.Sockets {
		if len(s.Holders) > 0 {
			o.Shown = append(o.Shown, s)
		}
	}
	o.Evaluate(rules)
	return o
}
