package report

import "github.com/fatih/color"

// palette writes in colour, or does not.
type palette struct{ boldText, red, yellow, green, faint, leak *color.Color }

func newPalette(on bool) palette {
	p := palette{
		boldText: color.New(color.Bold), red: color.New(color.FgRed, color.Bold), yellow: color.New(color.FgYellow),
		green: color.New(color.FgGreen), faint: color.New(color.Faint), leak: color.New(color.FgRed),
	}
	for _, c := range []*color.Color{p.boldText, p.red, p.yellow, p.green, p.faint, p.leak} {
		// The caller has decided; the package's own guess is not asked.
		if on {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
	}
	return p
}

func (p palette) bold(s string) string { return p.boldText.Sprint(s) }
