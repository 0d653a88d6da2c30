package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"stray/fdscan"
	"stray/inspect"
)

// ReadPast reads the tables of a JSON report, of check -p or scan.
func ReadPast(r io.Reader) (*inspect.Past, error) {
	var d Document
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		return nil, fmt.Errorf("this is no JSON report: %w", err)
	}
	if d.Tool.Name != "stray" || d.SchemaVersion == "" {
		return nil, errors.New("this is no report of stray")
	}
	if len(d.Tables) == 0 {
		return nil, fmt.Errorf("this report of %s has no descriptor tables", d.Command)
	}
	taken, err := time.Parse(time.RFC3339Nano, d.TakenAt)
	if err != nil {
		return nil, fmt.Errorf("taken_at: %w", err)
	}
	past := &inspect.Past{TakenAt: taken, BootID: d.Host.BootID}
	for _, t := range d.unaskedTables() {
		started, err := time.Parse(time.RFC3339Nano, t.Process.StartTime)
		if err != nil {
			return nil, fmt.Errorf("start_time of pid %d: %w", t.PID, err)
		}
		p := &fdscan.Process{PID: t.PID, PPID: t.Process.PPID, StartTime: started, Comm: t.Process.Comm, Cmdline: t.Process.Cmdline}
		if t.Process.Exe != nil {
			p.Exe = *t.Process.Exe
		}
		table := &fdscan.Table{Process: p, Open: t.Open, Kinds: t.Kinds}
		if t.TID != nil {
			table.TID = *t.TID
		}
		past.Tables = append(past.Tables, table)
	}
	return past, nil
}
