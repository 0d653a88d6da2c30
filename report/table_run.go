package report

import (
	"fmt"
	"strings"
	"time"

	"stray/inspect"
)

// run tells how the command that was followed has ended.
func (p *page) run(r *inspect.Run) {
	end := fmt.Sprintf("exit %d", r.ExitCode)
	if r.Signal != 0 {
		end = fmt.Sprintf("ended by signal %d", r.Signal)
	}
	facts := []string{end, r.Duration.Round(time.Millisecond).String(), "1 process"}
	if r.Processes != 1 {
		facts[2] = fmt.Sprintf("%d processes", r.Processes)
	}
	if r.Sampled {
		facts = append(facts, "sampled: what is short was missed")
	}
	switch n := len(p.outcome.Findings); {
	case n > 0:
		facts = append(facts, fmt.Sprintf("%d %s", n, plural(n, "finding")))
	default:
		facts = append(facts, "no findings")
	}
	const most = 60
	command := []rune(strings.Join(r.Argv, " "))
	if len(command) > most {
		command = append(command[:most], '…')
	}
	p.say(nil, "check "+string(command)+": "+strings.Join(facts, ", "))
}
