package report

import (
	"bufio"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"stray/fdscan"
	"stray/inspect"
)

// tsvColumns are permanent: new ones are added at the end. The first ones are
// of the socket or file, the others of a holder.
var tsvColumns = []string{
	"protocol", "state", "local", "remote", "inode", "netns", "mine", "owner", "cgroup",
	"pid", "tid", "fd", "slot", "via", "cloexec", "origin", "from", "leak", "serving", "uid", "user", "unit", "container", "comm", "exe",
	"unread", "unacked", "unsent", "data_age", "ack_age", "retransmissions", "rules",
}

var _ = register(&Format{
	Name:  "tsv",
	Title: "a line for each holder (who, conns), finding (scan, check) or listed descriptor, fields between tabs; what nobody holds has a line too",
	Lists: true,
	Write: func(w io.Writer, r *Result, s Style) error {
		b := bufio.NewWriter(w)
		row := func(cells []string) { b.WriteString(strings.Join(clean(cells), "\t") + "\n") }
		columns, each := tsvTable(r)
		if s.Headers {
			row(slices.Clone(columns))
		}
		each(row)
		return b.Flush()
	},
})

// tsvTable chooses what a result has lines of: the names of the columns, and a
// function that passes each line on.
func tsvTable(r *Result) (columns []string, each func(row func(cells []string))) {
	switch {
	case r.Listed != nil:
		return tsvDescriptorColumns, func(row func([]string)) {
			for _, d := range r.Listed {
				row(descriptorCells(d))
			}
		}
	case r.Answer == nil && r.Connections == nil:
		return tsvFindingColumns, func(row func([]string)) {
			for _, f := range r.Outcome.Findings {
				row(findingCells(f, ""))
			}
			for _, f := range r.Outcome.Suppressed {
				row(findingCells(f.Finding, f.By))
			}
		}
	}
	return tsvColumns, func(row func([]string)) { holderRows(r.Outcome, row) }
}

// holderRows passes on a line for each holder, and one for what nobody holds.
func holderRows(o *inspect.Outcome, row func(cells []string)) {
	rows := func(of []string, holders []*inspect.Holder, health []string) {
		for _, h := range holders {
			row(slices.Concat(of, holderCells(h), health))
		}
		if len(holders) == 0 {
			row(slices.Concat(of, make([]string, len(tsvColumns)-len(of)-len(health)), health))
		}
	}
	for _, socket := range o.Shown {
		rows(socketCells(socket), socket.Holders, healthCells(socket))
	}
	for _, object := range o.Objects {
		rows([]string{"file", object.Kind, object.Path, "", number(object.Inode), "", "", "", ""}, list(object.Holders, unjudged), make([]string, healthColumns))
	}
}

func socketCells(s *inspect.Socket) []string {
	remote, owner := "", ""
	if s.Remote != (fdscan.Endpoint{}) {
		remote = inspect.EndpointText(s.Protocol, s.Remote)
	}
	if s.UID != nil {
		owner = strconv.FormatUint(uint64(*s.UID), 10)
	}
	return []string{
		string(s.Protocol), string(s.State), s.Address(), remote, number(s.Inode), number(s.NetNS), strconv.FormatBool(s.NetNSMine), owner, s.Cgroup,
	}
}

// healthColumns is how many columns healthCells fills.
const healthColumns = 7

// healthCells are bytes, ages in seconds, a count and the ids of the rules that
// speak of the socket; empty for commands that do not ask for its health.
func healthCells(s *inspect.Socket) []string {
	cells := make([]string, healthColumns)
	if s.Health == nil {
		return cells
	}
	unsent, unacked := inspect.Unsent(s.Socket)
	cells[0], cells[1], cells[2] = number(uint64(s.Unread())), number(unacked), number(unsent)
	if t := s.Health.TCP; t != nil && s.State != fdscan.Listen {
		inSeconds := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
		cells[3], cells[4], cells[5] = inSeconds(min(t.LastDataSent, t.LastDataRecv)), inSeconds(t.LastAckRecv), number(uint64(t.TotalRetrans))
	}
	var ids []string
	for _, d := range s.Diagnoses {
		ids = append(ids, d.Rule)
	}
	cells[6] = strings.Join(ids, ",")
	return cells
}

func holderCells(h *inspect.Holder) []string {
	p := h.Process
	cloexec, fd, slot, from := "", "", "", ""
	if h.CloseOnExec != nil {
		cloexec = yesNo(*h.CloseOnExec)
	}
	if h.FD >= 0 {
		fd = strconv.Itoa(h.FD)
	}
	if h.Slot >= 0 {
		slot = strconv.Itoa(h.Slot)
	}
	if h.Origin.From != nil {
		from = strconv.Itoa(h.Origin.From.PID)
	}
	return []string{
		strconv.Itoa(p.PID), number(uint64(h.TID)), fd, slot, string(h.Via), cloexec, string(h.Origin.Kind), from, strconv.FormatBool(h.Origin.Leak), servingWord(h.Serving),
		strconv.FormatUint(uint64(p.UID), 10), p.User, p.Unit, p.Container, p.Comm, p.Exe,
	}
}

// servingWord is Serving in the words of the JSON form: yes, no or unknown.
func servingWord(s inspect.Serving) string {
	if s.No() {
		return string(inspect.Idle)
	}
	return string(s)
}

// number is empty for 0.
func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}
