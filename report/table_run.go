package report

import (
	"fmt"
	"strings"
	"time"

	"stray/inspect"
)

// ran tells what was run, and how it has ended.
func ran(r *inspect.Run) string {
	const most = 60
	command := []rune(strings.Join(r.Argv, " "))
	if len(command) > most {
		command = append(command[:most], '…')
	}
	end := fmt.Sprintf("exit %d", r.ExitCode)
	if r.Signal != 0 {
		end = fmt.Sprintf("ended by signal %d", r.Signal)
	}
	how := "followed"
	if r.Sampled {
		how = "looked at in intervals"
	}
	return fmt.Sprintf("checked %s (%s after %s, %s %s %s)", string(command), end, r.Duration.Round(time.Millisecond),
		thousands(r.Processes), plurals(r.Processes, "process", "processes"), how)
}
