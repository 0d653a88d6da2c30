package report

import "github.com/fatih/color"

// palette writes in colour, or does not.
type palette struct{ boldText, red, yellow, green, faint *color.Color }

func newPalette(on bool) palette {
	p := palette{color.New(color.Bold), color.New(color.FgRed, color.Bold), color.New(color.FgYellow), color.New(color.FgGreen), color.New(color.Faint)}
	for _, c := range []*color.Color{p.boldText, p.red, p.yellow, p.green, p.faint} {
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
