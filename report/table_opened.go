package report

import (
	"stray/fdscan"
	"stray/inspect"
)

// opened says below a finding where its descriptor was opened; on a wide page with
// the whole stack.
func (p *page) opened(f *inspect.Finding) {
	dir := p.directory()
	for o := f.Opening; o != nil; o = o.Of {
		text := findingIndent + Printable(inspect.OpeningText(o, dir)[0])
		if !p.wide {
			p.line("%s", fold(text, p.style.Width, findingIndent))
			continue
		}
		p.line("%s", text)
		for _, c := range o.Stack {
			p.say(p.paint.faint.Sprint, findingIndent+"  "+stackLine(c, dir))
		}
	}
}

// openingLines are what a finding says of where its descriptor was opened.
func openingLines(f *inspect.Finding, dir string) []string {
	if f.Opening == nil {
		return nil
	}
	return inspect.OpeningText(f.Opening, dir)
}

// directory is the working directory of the command that was followed; "" for none.
func (r *Result) directory() string {
	if r.Outcome.Run == nil {
		return ""
	}
	return r.Outcome.Run.Directory
}

// sourceRoot is what the files of annotations are relative to; "" for nothing.
func (r *Result) sourceRoot() string {
	if r.Outcome.Run == nil {
		return ""
	}
	return r.Outcome.Run.SourceRoot
}

func (p *page) directory() string { return (&Result{Outcome: p.outcome}).directory() }

// stackLine is one call of a stack.
func stackLine(c fdscan.Frame, dir string) string {
	if c.Inlined {
		return inspect.FrameText(c, dir) + " (inlined)"
	}
	return inspect.FrameText(c, dir)
}
