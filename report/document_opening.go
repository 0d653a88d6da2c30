package report

import "stray/fdscan"

// Opening is how a descriptor came to be.
type Opening struct {
	Call    string  `json:"call"`
	Program string  `json:"program"`
	Stack   []Frame `json:"stack"`
	// DuplicateOf is how that came to be which this is a duplicate of.
	DuplicateOf *Opening `json:"duplicate_of"`
}

// Frame is a call of a stack.
type Frame struct {
	Function *string `json:"function"`
	File     *string `json:"file"`
	Line     *int    `json:"line"`
	Module   string  `json:"module"`
	Offset   uint64  `json:"offset"`
	Inlined  bool    `json:"inlined"`
}

func newOpening(o *fdscan.Opening) *Opening {
	if o == nil {
		return nil
	}
	return &Opening{o.Call, text(o.Program), list(o.Stack, newFrame), newOpening(o.Of)}
}

func newFrame(f fdscan.Frame) Frame {
	return Frame{orNull(text(f.Function)), orNull(text(f.File)), orNull(f.Line), text(f.Module), f.Offset, f.Inlined}
}
