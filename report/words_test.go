package report

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 59*time.Minute + 59*time.Second: "59m",
		time.Hour: "1h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 1000 * 24 * time.Hour: "1000d",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestSecondsAndSize(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Millisecond: "1s", 1400 * time.Millisecond: "1s", 1600 * time.Millisecond: "2s", time.Minute: "60s"} {
		if got := seconds(d); got != want {
			t.Errorf("seconds(%v) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 213_000: "213.0 kB", 3_800_000: "3.8 MB", 1<<32 - 1: "4.3 GB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		"plain name":         "plain name",
		`back\slash "quote"`: `back\slash "quote"`,
		"日本語":                "日本語",
		"a\x1b[31mb":         `a\x1b[31mb`,
		"tab\tnew\nline":     `tab\tnew\nline`,
		"nul\x00":            `nul\x00`,
		"\xff\xfe":           `\xff\xfe`,
		"\u202etxt":          `\u202etxt`,
		"zero\u200bwidth":    `zero\u200bwidth`,
		"soft\u00adhyphen":   `soft\u00adhyphen`,
		"no\u00a0break":      `no\u00a0break`,
		"\x7f\u0085":         `\x7f\u0085`,
		"\"q\" and \\ \x07":  `"q" and \\ \a`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", `C:\x`: `C:\x`, "日本語\n\x1b": "日本語\n\x1b", "a\xffb": `a\xffb`, "a\\\xff": `a\\\xff`, "\xed\xa0\x80": `\xed\xa0\x80`, "\x00\xf0": "\x00\\xf0",
	} {
		if got := text(in); got != want {
			t.Errorf("text(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzEscapes(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[2J\xff\u202e日本語\\\"")
	f.Fuzz(func(t *testing.T, s string) {
		if got := text(s); !utf8.ValidString(got) {
			t.Errorf("text(%q) = %q is not UTF-8", s, got)
		}
		got := Printable(s)
		if Printable(got) != got {
			t.Errorf("Printable(%q) = %q is not printable", s, got)
		}
	})
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		in    string
		width int
		want  string
	}{
		{"short", 0, "short"}, {"short", 5, "short"}, {"shorter", 5, "shor…"}, {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"x", 1, "x"}, {"xy", 1, "…"}, {"", 3, ""},
	} {
		got := cut(tt.in, tt.width)
		if got != tt.want || tt.width > 0 && displayWidth(got) > tt.width {
			t.Errorf("cut(%q, %d) = %q, want %q", tt.in, tt.width, got, tt.want)
		}
	}
}

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		in    string
		width int
		want  string
	}{
		{"one two three", 0, "one two three"},
		{"one two three", 13, "one two three"},
		{"one two three", 9, "one two|..three"},
		{"one two three", 5, "one|..two|..three"},
		{"one  two", 5, "one|..two"},
		{"  indented text", 10, "  indented|..text"},
		{"averylongword", 5, "averylongword"},
		{"a verylongword b", 5, "a|..verylongword|..b"},
		{"日本 語語", 6, "日本|..語語"},
	} {
		if got := fold(tt.in, tt.width, ".."); got != strings.ReplaceAll(tt.want, "|", "\n") {
			t.Errorf("fold(%q, %d) = %q, want %q", tt.in, tt.width, got, tt.want)
		}
	}
}

func TestBaseName(t *testing.T) {
	for in, want := range map[string]string{"/usr/bin/app --flag /etc/x": "app --flag /etc/x", "app": "app", "/usr/bin/app": "app", "./app x": "app x", "nginx: worker process": "nginx: worker process"} {
		if got := baseName(in); got != want {
			t.Errorf("baseName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestRuleRanges(t *testing.T) {
	for ids, want := range map[string]string{
		"":                        "",
		"FD101":                   "FD101",
		"FD101 FD102":             "FD101, FD102",
		"FD101 FD102 FD103":       "FD101–FD103",
		"FD105 FD201 FD202 FD203": "FD105, FD201–FD203",
		"FD101 FD103 FD104 FD106": "FD101, FD103, FD104, FD106",
	} {
		if got := ruleRanges(strings.Fields(ids)); got != want {
			t.Errorf("%s: %q, want %q", ids, got, want)
		}
	}
}
