package report_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mattn/go-runewidth"

	"stray/report"
)

// update rewrites the golden files, to be read before they are committed:
//
//	go test ./report -update
var update = flag.Bool("update", false, "rewrite the golden files")

// render writes r in a format.
func render(t testing.TB, r *report.Result, format string, s report.Style) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Find(format).Write(&b, r, s); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	return b.String()
}

// compare compares text with a golden file, or rewrites it.
func compare(t *testing.T, file, got string) {
	t.Helper()
	file = "testdata/" + file
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// TestPages holds what people read: the page, the wide page, and the page on a
// terminal of 80 columns.
func TestPages(t *testing.T) {
	for _, sc := range scenes {
		t.Run(sc.name, func(t *testing.T) {
			r := sc.build().answer()
			query := make([]string, len(r.Query))
			for i, q := range r.Query {
				query[i] = strings.Trim(fmt.Sprintf("%q", q), `"`)
			}
			var b strings.Builder
			section := func(format string, s report.Style, flags string) {
				fmt.Fprintf(&b, "$ stray who %s%s\n%s\n", flags, strings.Join(query, " "), render(t, r, format, s))
			}
			fmt.Fprintf(&b, "%s\n\n", sc.guards)
			section("table", report.Style{Headers: true}, "")
			section("table", report.Style{Headers: true, Width: 80}, "(80 columns) ")
			section("wide", report.Style{Headers: true}, "-o wide ")
			compare(t, sc.name+".txt", b.String())
		})
	}
}

// TestData holds what programs read, for the scenes that have everything.
func TestData(t *testing.T) {
	for _, sc := range scenes {
		switch sc.name {
		case "leak", "both", "time-wait-one", "file", "unseen", "hostile":
		default:
			continue
		}
		r := sc.build().answer()
		for _, format := range []string{"json", "ndjson", "tsv"} {
			t.Run(sc.name+"/"+format, func(t *testing.T) {
				compare(t, sc.name+"."+format, render(t, r, format, report.Style{Headers: true}))
			})
		}
	}
}

// Two renderings of one answer, and of two answers built alike, are the same
// to the byte, in every format.
func TestRenderingsAreIdentical(t *testing.T) {
	for _, sc := range scenes {
		r := sc.build().answer()
		for _, f := range report.Formats() {
			for _, s := range []report.Style{{}, {Headers: true}, {Headers: true, Color: true, Width: 60}} {
				first := render(t, r, f.Name, s)
				if again := render(t, r, f.Name, s); again != first {
					t.Errorf("%s as %s: two renderings of one answer differ", sc.name, f.Name)
				}
				if again := render(t, sc.build().answer(), f.Name, s); again != first {
					t.Errorf("%s as %s: renderings of equal answers differ", sc.name, f.Name)
				}
			}
		}
	}
}

// Nothing that a target controls reaches a terminal: no control character but
// the newline, and in tsv the tab, and in colour the reporter's own.
func TestNothingUnprintable(t *testing.T) {
	for _, sc := range scenes {
		r := sc.build().answer()
		for _, f := range report.Formats() {
			text := render(t, r, f.Name, report.Style{Headers: true})
			if !utf8.ValidString(text) {
				t.Errorf("%s as %s: not UTF-8", sc.name, f.Name)
			}
			for _, c := range text {
				if !unicode.IsPrint(c) && c != '\n' && !(c == '\t' && f.Name == "tsv") && !(f.Name == "json" || f.Name == "ndjson") {
					t.Errorf("%s as %s: %q in the text", sc.name, f.Name, c)
				}
				if c < ' ' && c != '\n' && c != '\t' {
					t.Errorf("%s as %s: %q in the text", sc.name, f.Name, c)
				}
			}
			if !strings.HasSuffix(text, "\n") {
				t.Errorf("%s as %s: the last line has no end", sc.name, f.Name)
			}
			for line := range strings.Lines(text) {
				if f.Name != "tsv" && strings.HasSuffix(line, " \n") {
					t.Errorf("%s as %s: spaces at the end of %q", sc.name, f.Name, line)
				}
			}
		}
	}
}

// Colour changes nothing but colour.
func TestColor(t *testing.T) {
	ansi := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for _, sc := range scenes {
		r := sc.build().answer()
		for _, width := range []int{0, 80, 40} {
			plain := render(t, r, "table", report.Style{Headers: true, Width: width})
			colored := render(t, r, "table", report.Style{Headers: true, Width: width, Color: true})
			if !strings.Contains(colored, "\x1b[") {
				t.Errorf("%s: no colour", sc.name)
			}
			if diff := cmp.Diff(plain, ansi.ReplaceAllString(colored, "")); diff != "" {
				t.Errorf("%s, %d columns (-plain +colour):\n%s", sc.name, width, diff)
			}
		}
	}
}

// On a terminal no line is wider than it, as far as words allow, and but for
// commands, which people copy.
func TestWidth(t *testing.T) {
	command := regexp.MustCompile(`^(next:|     ) stray `)
	for _, sc := range scenes {
		r := sc.build().answer()
		for _, width := range []int{20, 40, 60, 80, 120} {
			for line := range strings.Lines(render(t, r, "table", report.Style{Headers: true, Width: width})) {
				line = strings.TrimSuffix(line, "\n")
				if n := runewidth.StringWidth(line); n > width && strings.Contains(strings.TrimSpace(line), " ") && !command.MatchString(line) {
					t.Errorf("%s, %d columns: a line takes %d: %q", sc.name, width, n, line)
				}
			}
		}
	}
}

// Without headers the names of columns are gone, and nothing else.
func TestNoHeaders(t *testing.T) {
	for _, sc := range scenes {
		r := sc.build().answer()
		for _, format := range []string{"table", "wide", "tsv"} {
			with := render(t, r, format, report.Style{Headers: true})
			without := render(t, r, format, report.Style{})
			var want []string
			for line := range strings.Lines(with) {
				first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
				if first != "PID" && first != "ADDRESS" && first != "FAR" && !strings.HasPrefix(line, "protocol\t") {
					want = append(want, strings.Fields(line)...)
				}
			}
			if diff := cmp.Diff(want, strings.Fields(without), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s as %s (-want +got):\n%s", sc.name, format, diff)
			}
		}
	}
}

// Every line of tsv has the same fields.
func TestTSVFields(t *testing.T) {
	for _, sc := range scenes {
		text := render(t, sc.build().answer(), "tsv", report.Style{Headers: true})
		header, _, _ := strings.Cut(text, "\n")
		for line := range strings.Lines(text) {
			if n := strings.Count(line, "\t"); n != strings.Count(header, "\t") {
				t.Errorf("%s: %d tabs in %q", sc.name, n, line)
			}
		}
	}
}

// Every format has a name and a title of its own.
func TestFormats(t *testing.T) {
	for _, f := range report.Formats() {
		if f.Name == "" || f.Title == "" || report.Find(f.Name) != f {
			t.Errorf("format %+v", f)
		}
	}
	if report.Find("xml") != nil {
		t.Error("there is no format xml")
	}
}

// A writer that fails makes the rendering fail.
func TestWriteErrors(t *testing.T) {
	broken := errors.New("no space left on device")
	for _, sc := range scenes {
		r := sc.build().answer()
		for _, f := range report.Formats() {
			if err := f.Write(failing{broken}, r, report.Style{Headers: true}); !errors.Is(err, broken) {
				t.Errorf("%s as %s: error %v", sc.name, f.Name, err)
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
