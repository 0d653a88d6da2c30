package report

import "io"

var _ = register(&Format{
	Name:  "ndjson",
	Title: "one JSON object for each line: the socket, object or finding, with its kind",
	Write: func(w io.Writer, r *Result, _ Style) error {
		d, e := NewDocument(r), encoder(w)
		type line struct {
			Kind    string   `json:"kind"`
			Socket  *Socket  `json:"socket,omitempty"`
			Object  *Object  `json:"object,omitempty"`
			Finding *Finding `json:"finding,omitempty"`
			Gap     *Gap     `json:"gap,omitempty"`
			// The summary is the document without its lists.
			Summary *Document `json:"summary,omitempty"`
		}
		for i := range d.Sockets {
			if err := e.Encode(line{Kind: "socket", Socket: &d.Sockets[i]}); err != nil {
				return err
			}
		}
		for i := range d.Objects {
			if err := e.Encode(line{Kind: "object", Object: &d.Objects[i]}); err != nil {
				return err
			}
		}
		for i := range d.Findings {
			if err := e.Encode(line{Kind: "finding", Finding: &d.Findings[i]}); err != nil {
				return err
			}
		}
		for i := range d.Gaps {
			if err := e.Encode(line{Kind: "gap", Gap: &d.Gaps[i]}); err != nil {
				return err
			}
		}
		d.Sockets, d.Objects, d.Findings, d.Gaps = []Socket{}, []Object{}, []Finding{}, []Gap{}
		return e.Encode(line{Kind: "summary", Summary: d})
	},
})
