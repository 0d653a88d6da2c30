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
		text := inspect.OpeningText(o, dir)[0]
		if !p.wide {
			p.line("%s", fold(findingIndent+Printable(text), p.style.Width, findingIndent))
			continue
		}
		p.line("%s", findingIndent+Printable(text))
		for _, c := range o.Stack {
			p.say(p.paint.faint.Sprint, findingIndent+"  "+stackLine(c, dir))
		}
	}
}

// directory is the working directory of the command that was followed.
func (p *page) directory() string {
	if p.outcome.Run == nil {
		return ""
	}
	return p.outcome.Run.Directory
}

// stackLine is a call with its module: "leak.c:5 open_backend, in leak+0x1149".
func stackLine(f fdscan.Frame, dir string) string {
	text := inspect.FrameText(f, dir)
	if f.Inlined {
		return text + " (inlined)"
	}
	return text
}
