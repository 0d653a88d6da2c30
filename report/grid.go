package report

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// grid is a table without lines, whose columns are as wide as their contents.
type grid struct {
	indent string
	header []string
	rows   []gridRow
	// elastic are the columns that give way where a terminal is too narrow, by
	// their names, in order, and how much of each is kept.
	elastic []squeeze
}

// squeeze makes a column narrower.
type squeeze struct {
	column string
	least  int // columns of the terminal
	// shorten is tried before the text is cut; nil for none.
	shorten func(string) string
}

type gridRow struct {
	cells []string
	// note stands behind the cells or, where there is no room, below them.
	note string
	// paint colours the row; nil leaves it as it is.
	paint func(string) string
}

func (g *grid) add(cells ...string) { g.rows = append(g.rows, gridRow{cells: clean(cells)}) }

func clean(cells []string) []string {
	for i := range cells {
		cells[i] = Printable(cells[i])
	}
	return cells
}

// dropEmpty removes the columns that hold nothing in any row.
func (g *grid) dropEmpty() {
	for i := len(g.header) - 1; i >= 0; i-- {
		empty := true
		for _, row := range g.rows {
			empty = empty && row.cells[i] == ""
		}
		if empty {
			g.remove(i)
		}
	}
}

// remove takes a column out.
func (g *grid) remove(i int) {
	g.header = append(g.header[:i:i], g.header[i+1:]...)
	for j, row := range g.rows {
		g.rows[j].cells = append(row.cells[:i:i], row.cells[i+1:]...)
	}
}

// give takes columns out, one by one, as long as a terminal is too narrow for
// the grid with the elastic ones at their least. What is in the column that keep
// names goes to the notes; "" for none.
func (g *grid) give(s Style, columns []string, keep string, elastic ...squeeze) {
	for _, name := range columns {
		width, _ := g.measure(s.Headers)
		for _, e := range elastic {
			if i := slices.Index(g.header, e.column); i >= 0 {
				width -= max(0, g.widest(i)-e.least)
			}
		}
		i := slices.Index(g.header, name)
		if s.Width == 0 || i < 0 || width <= s.Width {
			continue
		}
		for j, row := range g.rows {
			if name == keep && row.cells[i] != "" {
				g.rows[j].note = strings.TrimSpace(row.note + " " + row.cells[i])
			}
		}
		g.remove(i)
	}
}

// write renders the grid. On a terminal that is too narrow, notes go to lines of
// their own, and then elastic columns are cut.
func (g *grid) write(w io.Writer, s Style) error {
	width, notes := g.measure(s.Headers)
	beside := s.Width == 0 || width+notes <= s.Width
	if s.Width > 0 {
		g.squeeze(width - s.Width)
	}
	lines, err := g.render(s, beside)
	if err != nil {
		return err
	}
	var b strings.Builder
	if s.Headers && len(lines) > 0 {
		b.WriteString(cut(lines[0], s.Width) + "\n")
		lines = lines[1:]
	}
	for i, line := range lines {
		line = cut(line, s.Width)
		row := g.rows[i]
		if row.note != "" && !beside {
			line += "\n" + fold(g.indent+"  "+row.note, s.Width, g.indent+"  ")
		}
		if row.paint != nil {
			line = row.paint(line)
		}
		b.WriteString(line + "\n")
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// measure returns the width of the table in columns, and how many more the notes
// would take.
func (g *grid) measure(headers bool) (width, notes int) {
	width = displayWidth(g.indent) + 2*(len(g.header)-1)
	for i, name := range g.header {
		widest := g.widest(i)
		if headers {
			widest = max(widest, displayWidth(name))
		}
		width += widest
	}
	for _, row := range g.rows {
		if row.note != "" {
			notes = max(notes, 2+displayWidth(row.note))
		}
	}
	return width, notes
}

// join puts the notes into a column where there is room for them. A cell for
// which a terminal is too narrow becomes a note itself, which is cut nowhere.
func (g *grid) join(column string, s Style) {
	i := slices.Index(g.header, column)
	if i < 0 {
		return
	}
	width, _ := g.measure(s.Headers)
	room := s.Width - width + max(g.widest(i), displayWidth(column))
	for j, row := range g.rows {
		switch whole := strings.TrimSpace(row.cells[i] + " " + row.note); {
		case s.Width == 0 || displayWidth(whole) <= room:
			row.cells[i], g.rows[j].note = whole, ""
		case displayWidth(row.cells[i]) > room:
			row.cells[i], g.rows[j].note = "", whole
		}
	}
}

// squeeze makes the grid narrower by so many columns, as far as it can.
func (g *grid) squeeze(over int) {
	for _, e := range g.elastic {
		i := slices.Index(g.header, e.column)
		if over <= 0 || i < 0 {
			continue
		}
		before := g.widest(i)
		for _, row := range g.rows {
			to := max(e.least, before-over)
			if e.shorten != nil && displayWidth(row.cells[i]) > to {
				row.cells[i] = e.shorten(row.cells[i])
			}
			row.cells[i] = cut(row.cells[i], to)
		}
		over -= before - max(g.widest(i), displayWidth(e.column))
	}
}

// widest is the width of a column's contents.
func (g *grid) widest(column int) (widest int) {
	for _, row := range g.rows {
		widest = max(widest, displayWidth(row.cells[column]))
	}
	return widest
}

// render returns the lines of the table, the first being the header when there
// is one.
func (g *grid) render(s Style, notes bool) (lines []string, err error) {
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
		t.Header(append(g.header[:len(g.header):len(g.header)], ""))
	}
	for _, row := range g.rows {
		note := ""
		if notes {
			note = row.note
		}
		if err := t.Append(append(row.cells[:len(row.cells):len(row.cells)], note)); err != nil {
			return nil, err
		}
	}
	if err := t.Render(); err != nil {
		return nil, err
	}
	for line := range strings.Lines(b.String()) {
		lines = append(lines, g.indent+strings.TrimRight(line, " \n"))
	}
	return lines, nil
}

// display measures as tablewriter does: characters of ambiguous width take one
// column, whatever the locale says.
var display = &runewidth.Condition{StrictEmojiNeutral: true}

// displayWidth is how many columns of a terminal a text takes.
func displayWidth(s string) int { return display.StringWidth(s) }

// cut shortens a text to width columns, the last being an ellipsis; 0 is no
// limit.
func cut(s string, width int) string {
	if width <= 0 {
		return s
	}
	return display.Truncate(s, width, "…")
}

// fold breaks a line at spaces, so that no part is wider than width columns;
// the parts after the first begin with indent. 0 is no limit.
func fold(line string, width int, indent string) string {
	if width <= 0 || displayWidth(line) <= width {
		return line
	}
	var done []string
	var part string
	for i, word := range strings.Split(line, " ") {
		switch {
		case i == 0:
			part = word
		case displayWidth(part)+1+displayWidth(word) > width && strings.TrimSpace(part) != "":
			done = append(done, strings.TrimRight(part, " "))
			part = indent + word
		default:
			part += " " + word
		}
	}
	return strings.Join(append(done, part), "\n")
}
