package report_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stray/inspect"
	"stray/report"
)

// A baseline is read as it was written, and follows the schema.
func TestBaseline(t *testing.T) {
	whole, part := compile(t, ""), compile(t, "baseline")
	for name, r := range results() {
		b := &inspect.Baseline{}
		b.Update(r.Outcome)
		var text bytes.Buffer
		if err := report.WriteBaseline(&text, b); err != nil {
			t.Fatal(err)
		}
		if err := validate(part, text.String()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := validate(whole, text.String()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		read, err := report.ReadBaseline(text.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var again bytes.Buffer
		if err := report.WriteBaseline(&again, read); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text.String(), again.String()); diff != "" {
			t.Errorf("%s (-written +read):\n%s", name, diff)
		}
	}
}

func TestBaselineErrors(t *testing.T) {
	const entry = `{"rule": "FD101", "severity": "error", "program": null, "fingerprint": "x", "count": 1, "message": "m"}`
	file := func(version, entries string) string {
		return `{"schema_version": "` + version + `", "baseline": [` + entries + `]}`
	}
	if _, err := report.ReadBaseline([]byte(file("1.7", entry))); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"":                              "unexpected end of JSON input",
		"{\n\"baseline\": [\n}":         "line 3: ",
		"[]":                            "line 1: ",
		`{"schema_version": "1.0"}`:     "it is no baseline",
		`{"baseline": []}`:              "stray did not write it",
		file("2.0", entry):              "its schema version is 2.0, and this program reads 1.x",
		file("1.0", entry+","+entry):    "entry 2 has the fingerprint of another, x",
		file("1.0", entry+",{}"):        "entry 2 lacks ",
		file("1.0", `{"count": "one"}`): "line 1: a JSON string is no value for ",
		file("1.0", strings.Replace(entry, "error", "fatal", 1)): "entry 1 lacks ",
		file("1.0", strings.Replace(entry, ": 1", ": 0", 1)):     "entry 1 lacks ",
	} {
		if _, err := report.ReadBaseline([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
