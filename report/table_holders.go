package report

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

// maxCommand is how much of a command line is shown where no terminal limits
// it, in columns.
const maxCommand = 60

// holders writes a row for each reference to s.
func (p *page) holders(s *inspect.Socket) error {
	g := &grid{indent: "  ", header: []string{"PID", "FD", "CLOEXEC", "ORIGIN", "SERVES", "AGE", "USER", "SERVICE", "COMMAND"}}
	if p.wide {
		g.header = []string{"PID", "PPID", "FD", "CLOEXEC", "ORIGIN", "SERVES", "AGE", "USER", "SERVICE", "EXE", "COMMAND"}
	}
	g.elastic = []squeeze{{"COMMAND", 24, baseName}, {"SERVICE", 12, nil}, {"COMMAND", 12, baseName}, {"USER", 6, nil}}
	for _, h := range s.Holders {
		process := h.Process
		row := gridRow{note: Printable(strings.Join(p.remarks(h), "; "))}
		if h.Origin.Leak {
			row.paint = func(line string) string { return p.paint.leak.Sprint(line) }
		}
		serves := ""
		if s.IsPort() {
			serves = servesText(h.Serving)
		}
		cells := []string{
			strconv.Itoa(process.PID), fdText(h.Holder), cloexecText(h.Holder), originText(h), serves, age(p.outcome.TakenAt.Sub(process.StartTime)),
			process.User, strings.TrimSpace(process.Unit + " " + process.Container), p.command(process),
		}
		if p.wide {
			cells = slices.Insert(cells, 1, strconv.Itoa(process.PPID))
			cells = slices.Insert(cells, len(cells)-1, process.Exe)
		}
		row.cells = clean(cells)
		g.rows = append(g.rows, row)
	}
	g.dropEmpty()
	if err := g.write(p, p.style); err != nil {
		return err
	}
	if p.wide {
		p.evidence(s)
	}
	return nil
}

// evidence writes what the origins rest on, once for the processes that share
// it.
func (p *page) evidence(s *inspect.Socket) {
	pids := map[string][]string{}
	var order []string
	for _, h := range s.Holders {
		text, pid := strings.Join(h.Origin.Evidence, "; "), strconv.Itoa(h.Process.PID)
		if text == "" || slices.Contains(pids[text], pid) {
			continue
		}
		if pids[text] == nil {
			order = append(order, text)
		}
		pids[text] = append(pids[text], pid)
	}
	for _, text := range order {
		p.say(nil, fmt.Sprintf("  pid %s: %s", strings.Join(pids[text], ", "), text))
	}
}

// commandLine is the arguments of a process as one text. Where setproctitle(3) has
// written over them, what is left of their room is empty arguments or blanks.
func commandLine(process *fdscan.Process) string {
	return strings.TrimRight(strings.Join(process.Cmdline, " "), " ")
}

func (p *page) command(process *fdscan.Process) string {
	command := commandLine(process)
	switch {
	case command == "":
		return "[" + process.Comm + "]"
	case p.wide:
		return command
	}
	if command = Printable(command); displayWidth(command) > maxCommand {
		command = baseName(command)
	}
	return cut(command, maxCommand)
}

// baseName drops the directory of the program from a command line.
func baseName(command string) string {
	program, arguments, found := strings.Cut(command, " ")
	if program = path.Base(program); found {
		return program + " " + arguments
	}
	return program
}

// remarks are what is unusual about a holder.
func (p *page) remarks(h *inspect.Holder) (remarks []string) {
	say := func(format string, args ...any) { remarks = append(remarks, fmt.Sprintf(format, args...)) }
	switch h.Via {
	case fdscan.ViaThread:
		say("in the table of thread %d", h.TID)
	case fdscan.ViaRing:
		say("registered with io_uring: slot %d of fd %d", h.Slot, h.FD)
	case fdscan.ViaMessage, fdscan.ViaMemory:
		say("%s", h.Note)
	case fdscan.ViaTable:
	}
	for _, pid := range h.SharesTableWith {
		say("one descriptor table with pid %d", pid)
	}
	if n := len(h.Process.NSPIDs); n > 1 {
		say("pid %d in its namespace", h.Process.NSPIDs[n-1])
	}
	switch h.Process.State {
	case 'T', 't':
		say("stopped")
	case 'Z':
		say("its main thread has exited")
	}
	switch {
	case !h.Origin.Leak || h.Origin.OpenerAlive || h.Origin.From != nil:
	case h.Origin.OpenerExited:
		say("opener has exited")
	default:
		say("opener does not hold it any more")
	}
	if text := inspect.StopInstead(h.Process); text != "" {
		say("%s", text)
	}
	return remarks
}

// fdText is the number of the descriptor that holds; of a ring with the slot
// behind it.
func fdText(h *fdscan.Holder) string {
	switch h.Via {
	case fdscan.ViaRing:
		return fmt.Sprintf("%d[%d]", h.FD, h.Slot)
	case fdscan.ViaMemory:
		return "-"
	case fdscan.ViaTable, fdscan.ViaThread, fdscan.ViaMessage:
	}
	return strconv.Itoa(h.FD)
}

// cloexecText is FD_CLOEXEC, which only an entry of a table has.
func cloexecText(h *fdscan.Holder) string {
	switch {
	case h.CloseOnExec != nil:
		return yesNo(*h.CloseOnExec)
	case h.Via == fdscan.ViaTable || h.Via == fdscan.ViaThread:
		return "?"
	}
	return "-"
}

func originText(h *inspect.Holder) string {
	text := string(h.Origin.Kind)
	switch {
	case h.Origin.From != nil:
		text += fmt.Sprintf(", from %d", h.Origin.From.PID)
	case !h.Origin.Certain && (h.Origin.Leak || h.Origin.Kind == inspect.Received):
		text += ", probably"
	}
	return text
}

func servesText(s inspect.Serving) string {
	if s == inspect.Unknown {
		return "?"
	}
	return servingWord(s)
}

// objects writes files and pipes and who holds them. Of a unix socket's file
// the socket is written.
func (p *page) objects() error {
	for _, o := range p.answer.Objects {
		if len(o.Holders) == 0 {
			continue // see free
		}
		if p.blocks > 0 {
			p.line("")
		}
		p.blocks++
		p.head(Printable(o.Path), fmt.Sprintf("%s, inode %d", kindText(o.Kind), o.Inode))
		s := &inspect.Socket{Socket: &fdscan.Socket{}}
		for _, h := range o.Holders {
			s.Holders = append(s.Holders, &inspect.Holder{Holder: h})
		}
		if err := p.holders(s); err != nil {
			return err
		}
	}
	return nil
}

// kindText names a kind of file.
func kindText(kind string) string {
	switch kind {
	case "regular":
		return "file"
	case "character", "block":
		return kind + " device"
	}
	return kind
}
