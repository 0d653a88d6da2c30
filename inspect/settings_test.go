package inspect_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stray/inspect"
	"stray/inspect/rules"
)

func TestParseSettings(t *testing.T) {
	s, err := inspect.ParseSettings([]byte(`# what the team has agreed on
fail-on: warning
strict: true
baseline: ci/stray-baseline.json
ignore:
  - rule: FD101
    match:
      program: sleep
      port: 18080
    reason: the old init script; goes with the next release
    expires: 2026-06-30
  - {rule: listener-inheritable, reason: "reloads by exec"}
  - rule: fd102
    reason: |
      two
      lines
`), rules.Find)
	if err != nil {
		t.Fatal(err)
	}
	if s.FailOn != "warning" || !s.Strict || s.Baseline != "ci/stray-baseline.json" || len(s.Ignore) != 3 {
		t.Fatalf("%+v", s)
	}
	type entry struct {
		Rule, Reason, Match string
		Line                int
		Until               time.Time
	}
	var got []entry
	for _, i := range s.Ignore {
		e := entry{i.Rule.ID, i.Reason, "", i.Line, i.Until}
		for _, c := range i.Match {
			e.Match += c.Key + "=" + c.Value + " "
		}
		got = append(got, e)
	}
	want := []entry{
		{"FD101", "the old init script; goes with the next release", "program=sleep port=18080 ", 6, time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)},
		{"FD103", "reloads by exec", "", 12, time.Time{}},
		{"FD102", "two\nlines", "", 13, time.Time{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, empty := range []string{"", "# nothing\n", "ignore:\n", "ignore: []\n"} {
		if s, err := inspect.ParseSettings([]byte(empty), rules.Find); err != nil || len(s.Ignore) != 0 {
			t.Errorf("%q: %+v, %v", empty, s, err)
		}
	}
}

// Every mistake is told with its place.
func TestSettingsErrors(t *testing.T) {
	const entry = "ignore:\n  - rule: FD101\n    reason: r\n"
	for _, tt := range []struct {
		name, text   string
		line, column int
		message      string
	}{
		{"unknown key", "ignored:\n  - rule: FD101\n", 1, 1, `unknown key "ignored"`},
		{"unknown key of an entry", entry + "    reasons: x\n", 4, 5, `unknown key "reasons"`},
		{"unknown key of a match", entry + "    match: {comm: x}\n", 4, 13, `unknown key "comm"`},
		{"no reason", "ignore:\n  - rule: FD101\n  - rule: FD102\n    reason: r\n", 2, 0, "the entry for FD101 gives no reason"},
		{"an empty reason", "ignore:\n  - rule: FD101\n    reason: ''\n", 3, 5, "reason has no value"},
		{"a reason of null", "ignore:\n  - rule: FD101\n    reason:\n", 3, 5, "reason has no value"},
		{"no rule", "ignore:\n  - reason: r\n", 2, 0, "the entry names no rule"},
		{"unknown rule", "ignore:\n  - rule: FD999\n    reason: r\n", 2, 11, `unknown rule "FD999"`},
		{"no date", entry + "    expires: soon\n", 4, 14, `"soon" is no date`},
		{"no such day", entry + "    expires: 2026-02-30\n", 4, 14, `"2026-02-30" is no date`},
		{"a date in another order", entry + "    expires: 30.06.2026\n", 4, 14, `"30.06.2026" is no date`},
		{"no port", entry + "    match: {port: http}\n", 4, 19, `port "http": `},
		{"a range that runs backwards", entry + "    match: {port: 90-80}\n", 4, 19, `port "90-80": `},
		{"no address", entry + "    match: {address: localhost}\n", 4, 22, `address "localhost": `},
		{"a match of nothing", entry + "    match: {}\n", 4, 12, "match has no condition"},
		{"no kind", entry + "    match: {kind: tap}\n", 4, 19, `unknown kind "tap"`},
		{"a list as a value", entry + "    match: {program: [a, b]}\n", 4, 22, "program takes one value"},
		{"unknown severity", "fail-on: fatal\n", 1, 10, `unknown value "fatal" for fail-on`},
		{"strict is no word", "strict: maybe\n", 1, 9, "strict is true or false"},
		{"a list at the top", "- rule: FD101\n", 1, 1, "the file has keys and values"},
		{"an entry that is a word", "ignore:\n  - FD101\n", 2, 5, "an entry has keys and values"},
		{"no list", "ignore:\n  rule: FD101\n", 2, 0, "a list is wanted here"},
		{"a key twice", entry + "    reason: s\n", 4, 5, ""},
		{"no YAML", "ignore: [\n", 0, 0, ""},
		{"two documents", entry + "---\n" + entry, 5, 0, "a second document"},
		{"an anchor", "baseline: &a x\n", 1, 0, "baseline takes one value"},
	} {
		s, err := inspect.ParseSettings([]byte(tt.text), rules.Find)
		var e *inspect.SettingsError
		if !errors.As(err, &e) {
			t.Errorf("%s: %+v, %v", tt.name, s, err)
			continue
		}
		if tt.line != 0 && e.Line != tt.line || tt.column != 0 && e.Column != tt.column || !strings.Contains(e.Message, tt.message) || strings.Contains(e.Message, "\n") {
			t.Errorf("%s: %d:%d: %s, want %d:%d: %s", tt.name, e.Line, e.Column, e.Message, tt.line, tt.column, tt.message)
		}
	}
}

// Whatever the file holds, it is read or refused with a place.
func FuzzParseSettings(f *testing.F) {
	f.Add([]byte("ignore:\n  - rule: FD101\n    match: {program: sleep, port: 1-2}\n    reason: r\n    expires: 2026-06-30\n"))
	f.Add([]byte("fail-on: none\nstrict: true\nbaseline: x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := inspect.ParseSettings(text, rules.Find)
		var e *inspect.SettingsError
		if (s == nil) == (err == nil) || err != nil && (!errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Message == "") {
			t.Errorf("%+v, %v", s, err)
		}
	})
}
