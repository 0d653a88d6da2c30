package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"stray/fdscan"
	"stray/inspect"
	"stray/internal/act"
)

// Actions is the telling of what is done to processes: the plan, then what
// became of it.
type Actions struct {
	command string
	query   []string
	version string
	before  *inspect.Answer
	after   *inspect.Answer
	plan    *act.Plan
	remark  string
	results []act.Result
}

// NewActions returns the telling of a plan.
func NewActions(command string, query []string, version string, before *inspect.Answer, plan *act.Plan) *Actions {
	return &Actions{command: command, query: query, version: version, before: before, plan: plan}
}

// Remark adds a sentence to the plan: how its targets were understood.
func (a *Actions) Remark(text string) { a.remark = text }

// Finish adds what became of the plan, and what a later look shows.
func (a *Actions) Finish(after *inspect.Answer, results []act.Result) {
	a.after, a.results = after, results
}

// verbs say what a method does, and has done.
var verbs = map[act.Method][2]string{
	act.Park: {"drop and park", "parked"}, act.Close: {"close", "closed"}, act.Half: {"end in order", "ended and parked"},
	act.Destroy: {"destroy", "destroyed"}, act.Seal: {"seal", "sealed"},
}

// WritePlan writes what is about to be done.
func (a *Actions) WritePlan(w io.Writer) error {
	b := bufio.NewWriter(w)
	if a.remark != "" {
		fmt.Fprintf(b, "%s\n", Printable(a.remark))
	}
	if total := a.stake(); total != "" {
		fmt.Fprintf(b, "%s\n", total)
	}
	for _, s := range a.plan.Steps {
		k := &inspect.Socket{Socket: s.Socket}
		what := fmt.Sprintf("%s %s %s", s.Socket.Protocol, Printable(k.Address()), s.Socket.State)
		if s.Socket.Remote.Port != 0 {
			what = fmt.Sprintf("%s %s → %s %s", s.Socket.Protocol, Printable(k.Address()), inspect.EndpointText(s.Socket.Protocol, s.Socket.Remote), s.Socket.State)
		}
		identity := fmt.Sprintf("inode %d", s.Socket.Inode)
		if s.Socket.Cookie != 0 {
			identity += fmt.Sprintf(", cookie %d", s.Socket.Cookie)
		}
		if p := s.Process(); p != nil {
			fmt.Fprintf(b, "plan: %s %s of pid %d (%s): %s\n", verbs[s.Method][0], s.Numbers(), p.PID, Printable(p.Comm), what)
			identity += fmt.Sprintf("; the process has run for %s", age(a.before.TakenAt.Sub(p.StartTime)))
		} else {
			fmt.Fprintf(b, "plan: %s %s\n", verbs[s.Method][0], what)
		}
		fmt.Fprintf(b, "  %s\n", identity)
		if len(s.Refusals) > 0 {
			for _, r := range s.Refusals {
				text := r.Detail
				if r.Needs != "" {
					text += " (needs " + r.Needs + ")"
				}
				fmt.Fprintf(b, "  refused: %s\n", Printable(text))
			}
			continue
		}
		for _, line := range a.plan.Foresee(s) {
			fmt.Fprintf(b, "  %s\n", Printable(line))
		}
	}
	return b.Flush()
}

// stake sums up what a plan of several connections puts at stake.
func (a *Actions) stake() string {
	var unsent, unacknowledged, unread uint64
	n := 0
	for _, s := range a.plan.Steps {
		if len(s.Refusals) > 0 || s.Socket.Health == nil {
			continue
		}
		n++
		u, v := inspect.Unsent(s.Socket)
		unsent, unacknowledged, unread = unsent+u, unacknowledged+v, unread+uint64(s.Socket.Unread())
	}
	if n < 2 {
		return ""
	}
	return fmt.Sprintf("%d connections in all: %s unsent, %s unacknowledged and %s unread are at stake", n, size(unsent), size(unacknowledged), size(unread))
}

// WriteResults writes what was done and, unless that was to seal, who is left
// and whether the ports can be bound now.
func (a *Actions) WriteResults(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, r := range a.results {
		what := ""
		if r.Holder != nil {
			what = fmt.Sprintf("pid %d fd %d", r.Holder.Process.PID, r.Holder.FD)
		} else {
			what = Printable((&inspect.Socket{Socket: r.Step.Socket}).Describe())
		}
		switch {
		case r.Done && act.Verified(r, a.after.Snapshot):
			fmt.Fprintf(b, "done: %s %s and verified%s\n", what, verbs[r.Step.Method][1], held(r))
		case r.Done:
			fmt.Fprintf(b, "not verified: %s was %s, but a second look does not show it\n", what, verbs[r.Step.Method][1])
		default:
			fmt.Fprintf(b, "failed: %s: %s\n", what, Printable(r.Err.Error()))
			continue
		}
		if r.Err != nil {
			fmt.Fprintf(b, "  then: %s\n", Printable(r.Err.Error()))
		}
	}
	if a.sealing() {
		return b.Flush()
	}
	for _, s := range a.after.Shown {
		if !s.IsPort() || !s.NetNSMine {
			continue
		}
		var left []string
		for _, h := range s.Holders {
			if name := fmt.Sprintf("pid %d (%s)", h.Process.PID, Printable(h.Process.Comm)); !slices.Contains(left, name) {
				left = append(left, name)
			}
		}
		fmt.Fprintf(b, "%s %s: held by %s\n", Printable(s.Describe()), s.State, cmp.Or(strings.Join(left, ", "), "no process that could be seen"))
	}
	p := &page{Writer: b, answer: a.after, paint: newPalette(false), style: Style{}}
	p.binds()
	return b.Flush()
}

func (a *Actions) sealing() bool {
	return slices.ContainsFunc(a.plan.Steps, func(s *act.Step) bool { return s.Method == act.Seal })
}

// held says for how long the process stood still.
func held(r act.Result) string {
	if r.Report.Held == 0 {
		return ""
	}
	text := fmt.Sprintf(" (the process stood still for %s)", r.Report.Held.Round(time.Microsecond))
	if !r.Report.Exclusive {
		text += "; not all of its threads were stopped: " + r.Report.Weaker
	}
	return text
}

// Action is the JSON form of what was done to one descriptor.
type Action struct {
	PID      *int    `json:"pid"`
	TID      *int    `json:"tid"`
	FD       *int    `json:"fd"`
	Inode    *uint64 `json:"inode"`
	Method   string  `json:"method"`
	Done     bool    `json:"done"`
	Error    *string `json:"error"`
	Verified *bool   `json:"verified"`
}

// WriteJSON writes the document of the last look, with the actions. Before
// anything was done, they are those that are planned.
func (a *Actions) WriteJSON(w io.Writer) error {
	answer := a.before
	if a.after != nil {
		answer = a.after
	}
	r := NewAnswer(a.version, a.query, answer)
	r.Command = a.command
	d := NewDocument(r)
	if a.after == nil {
		for _, s := range a.plan.Steps {
			if s.Method == act.Destroy {
				d.Actions = append(d.Actions, newAction(s, nil))
				continue
			}
			for _, h := range s.Holders {
				d.Actions = append(d.Actions, newAction(s, h))
			}
		}
	}
	for _, r := range a.results {
		j := newAction(r.Step, r.Holder)
		j.Done = r.Done
		if r.Err != nil {
			message := text(r.Err.Error())
			j.Error = &message
		}
		verified := act.Verified(r, a.after.Snapshot)
		j.Verified = &verified
		d.Actions = append(d.Actions, j)
	}
	e := encoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

func newAction(s *act.Step, h *fdscan.Holder) Action {
	j := Action{Inode: orNull(s.Socket.Inode), Method: string(s.Method)}
	if h != nil {
		j.PID, j.TID, j.FD = &h.Process.PID, orNull(h.TID), descriptor(h.FD)
	}
	if len(s.Refusals) > 0 {
		j.Error = orNull(text(s.Refusals[0].Error()))
	}
	return j
}
