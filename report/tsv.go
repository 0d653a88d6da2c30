package report

import (
	"bufio"
	"io"
	"strconv"
	"strings"

	"stray/inspect"
)

// tsvColumns are permanent: new ones are added at the end.
var tsvColumns = []string{
	"protocol", "state", "local", "remote", "inode", "netns", "mine", "pid", "tid", "fd", "slot", "via", "cloexec", "origin", "from", "leak", "serving", "uid", "user", "unit", "container", "comm", "exe",
}

var _ = register(&Format{
	Name:  "tsv",
	Title: "a line for each holder, fields between tabs; a socket without a holder has empty ones",
	Write: func(w io.Writer, r *Result, s Style) error {
		b := bufio.NewWriter(w)
		row := func(cells ...string) {
			for i, c := range cells {
				cells[i] = printable(c)
			}
			b.WriteString(strings.Join(cells, "\t") + "\n")
		}
		if s.Headers {
			row(append([]string(nil), tsvColumns...)...)
		}
		for _, socket := range r.Answer.Shown {
			remote := ""
			if socket.Remote.Port != 0 {
				remote = inspect.EndpointText(socket.Protocol, socket.Remote)
			}
			head := []string{string(socket.Protocol), string(socket.State), socket.Address(), remote, number(socket.Inode), number(socket.NetNS), strconv.FormatBool(socket.NetNSMine)}
			for _, h := range socket.Holders {
				row(append(head[:len(head):len(head)], holderCells(h)...)...)
			}
			if len(socket.Holders) == 0 {
				row(append(head[:len(head):len(head)], make([]string, len(tsvColumns)-len(head))...)...)
			}
		}
		for _, o := range r.Answer.Objects {
			head := []string{"file", o.Kind, o.Path, "", number(o.Inode), "", ""}
			for _, h := range o.Holders {
				row(append(head[:len(head):len(head)], holderCells(&inspect.Holder{Holder: h, Serving: inspect.Unknown, Origin: inspect.Origin{Kind: inspect.NoOrigin}})...)...)
			}
		}
		return b.Flush()
	},
})

func holderCells(h *inspect.Holder) []string {
	p := h.Process
	cloexec, fd, slot, from := "", "", "", ""
	if h.CloseOnExec != nil {
		cloexec = yesNo(h.CloseOnExec)
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
