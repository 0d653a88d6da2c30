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
	Signal   int
	Duration time.Duration
	// Sampled reports that ptrace was refused: the tree was looked at in
	// intervals, and what was short may have been missed.
	Sampled bool
	// Processes is how many the tree had in all.
	Processes int
	// LeftBehind are those that outlived the command and its time of grace.
	LeftBehind []*fdscan.Process
}
