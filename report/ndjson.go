package report

import "io"

var _ = register(&Format{
	Name:  "ndjson",
	Title: "one JSON object on each line: a socket, object, finding or gap, and at last the summary",
	Write: func(w io.Writer, r *Result, _ Style) error {
		d, e := NewDocument(r), encoder(w)
		for i := range d.Sockets {
			if err := e.Encode(Line{Kind: "socket", Socket: &d.Sockets[i]}); err != nil {
				return err
			}
		}
		for i := range d.Objects {
			if err := e.Encode(Line{Kind: "object", Object: &d.Objects[i]}); err != nil {
				return err
			}
		}
		for i := range d.Findings {
			if err := e.Encode(Line{Kind: "finding", Finding: &d.Findings[i]}); err != nil {
				return err
			}
		}
		for i := range d.Gaps {
			if err := e.Encode(Line{Kind: "gap", Gap: &d.Gaps[i]}); err != nil {
				return err
			}
		}
		return e.Encode(Line{Kind: "summary", Summary: &d.Summary})
	},
})

// Line is a line of ndjson: its kind, and under that very name what it holds. A
// report without its last line, the summary, has been cut off.
type Line struct {
	Kind    string   `json:"kind"`
	Socket  *Socket  `json:"socket,omitempty"`
	Object  *Object  `json:"object,omitempty"`
	Finding *Finding `json:"finding,omitempty"`
	Gap     *Gap     `json:"gap,omitempty"`
	Summary *Summary `json:"summary,omitempty"`
}
