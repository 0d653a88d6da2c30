package report

import (
	"bytes"
	"io"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// grid is a table without lines, whose columns are as wide as their contents.
type grid struct {
	indent string
	header []string
	rows   [][]string
}

func (g *grid) add(cells ...string) {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	g.rows = append(g.rows, cells)
}

// dropEmpty removes the columns that hold nothing in any row.
func (g *grid) dropEmpty() {
	for i := len(g.header) - 1; i >= 0; i-- {
		empty := true
		for _, row := range g.rows {
			empty = empty && row[i] == ""
		}
		if !empty {
			continue
		}
		g.header = append(g.header[:i:i], g.header[i+1:]...)
		for j, row := range g.rows {
			g.rows[j] = append(row[:i:i], row[i+1:]...)
		}
	}
}

// write renders the grid. Every line is cut at width columns, if that is not 0.
func (g *grid) write(w io.Writer, s Style) error {
	var b bytes.Buffer
	t := tablewriter.NewTable(&b,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone, Symbols: tw.NewSymbols(tw.StyleNone),
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		})),
		tablewriter.WithHeaderAutoFormat(tw.Off), tablewriter.WithHeaderAlignment(tw.AlignLeft), tablewriter.WithRowAlignment(tw.AlignLeft),
		tablewriter.WithRowAutoWrap(tw.WrapNone), tablewriter.WithHeaderAutoWrap(tw.WrapNone), tablewriter.WithTrimSpace(tw.Off),
		tablewriter.WithPadding(tw.Padding{Right: "  ", Overwrite: true}), tablewriter.WithEastAsian(false),
	)
	if s.Headers {
		t.Header(g.header)
	}
	for _, row := range g.rows {
		if err := t.Append(row); err != nil {
			return err
		}
	}
	if err := t.Render(); err != nil {
		return err
	}
	for line := range bytes.Lines(b.Bytes()) {
		text := g.indent + string(bytes.TrimRight(line, " \n"))
		if _, err := io.WriteString(w, cut(text, s.Width)+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// cut shortens a line to width columns, the last being an ellipsis.
func cut(line string, width int) string {
	runes := []rune(line)
	if width <= 0 || len(runes) <= width {
		return line
	}
	return string(runes[:width-1]) + "…"
}
