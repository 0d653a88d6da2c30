package report

import (
	"encoding/json"
	"io"
)

var _ = register(&Format{
	Name:  "ndjson",
	Title: "one JSON object on each line: a socket, file, descriptor, finding or gap, and at last the summary",
	Lists: true,
	Write: func(w io.Writer, r *Result, _ Style) error {
		d, e := NewDocument(r), encoder(w)
		return firstError(
			eachLine(e, d.Sockets, func(v *Socket) Line { return Line{Kind: "socket", Socket: v} }),
			eachLine(e, d.Objects, func(v *Object) Line { return Line{Kind: "object", Object: v} }),
			eachLine(e, d.Descriptors, func(v *Descriptor) Line { return Line{Kind: "descriptor", Descriptor: v} }),
			eachLine(e, d.Tables, func(v *Table) Line { return Line{Kind: "table", Table: v} }),
			eachLine(e, d.Findings, func(v *Finding) Line { return Line{Kind: "finding", Finding: v} }),
			eachLine(e, d.Suppressed, func(v *Suppressed) Line { return Line{Kind: "suppressed", Suppressed: v} }),
			eachLine(e, d.Gaps, func(v *Gap) Line { return Line{Kind: "gap", Gap: v} }),
			func() error {
				if d.Run == nil {
					return nil
				}
				return e.Encode(Line{Kind: "run", Run: d.Run})
			},
			func() error { return e.Encode(Line{Kind: "summary", Summary: &d.Summary}) },
		)
	},
})

// eachLine writes a line for each of all.
func eachLine[T any](e *json.Encoder, all []T, line func(*T) Line) func() error {
	return func() error {
		for i := range all {
			if err := e.Encode(line(&all[i])); err != nil {
				return err
			}
		}
		return nil
	}
}

// firstError does one thing after the other, until one fails.
func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Line is a line of ndjson: its kind, and under that very name what it holds. A
// report without its last line, the summary, has been cut off.
type Line struct {
	Kind       string      `json:"kind"`
	Socket     *Socket     `json:"socket,omitempty"`
	Object     *Object     `json:"object,omitempty"`
	Descriptor *Descriptor `json:"descriptor,omitempty"`
	Table      *Table      `json:"table,omitempty"`
	Finding    *Finding    `json:"finding,omitempty"`
	Suppressed *Suppressed `json:"suppressed,omitempty"`
	Gap        *Gap        `json:"gap,omitempty"`
	Run        *Run        `json:"run,omitempty"`
	Summary    *Summary    `json:"summary,omitempty"`
}
