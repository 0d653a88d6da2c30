package report

import (
	"strconv"

	"stray/inspect"
)

// tsvFindingColumns are those of what scan and check find, permanent as tsvColumns
// are. The column suppressed is empty for a finding that counts, else what
// accounts for it; next is the first of the commands to go on with.
var tsvFindingColumns = []string{
	"rule", "name", "severity", "pid", "tid", "fd", "inode", "comm", "exe", "uid", "user", "unit", "container", "fingerprint", "suppressed", "message", "next",
}

func findingCells(f inspect.Finding, suppressed string) []string {
	cells := []string{f.Rule.ID, f.Rule.Name, f.Severity.String(), "", number(uint64(f.TID)), "", number(f.Inode), "", "", "", "", "", "", f.Fingerprint, suppressed, f.Message, ""}
	if f.FD >= 0 {
		cells[5] = strconv.Itoa(f.FD)
	}
	if p := f.Process; p != nil {
		cells[3] = strconv.Itoa(p.PID)
		copy(cells[7:], []string{p.Comm, p.Exe, strconv.FormatUint(uint64(p.UID), 10), p.User, p.Unit, p.Container})
	}
	if len(f.Next) > 0 {
		cells[16] = f.Next[0]
	}
	return cells
}
