package cmd

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The pages name every format, every key of a match and every variable, and the
// file that they show is one that is read.
func TestDocumentsAreWhole(t *testing.T) {
	formats, gate := document(t, "formats.md"), document(t, "gate.md")
	for _, f := range report.Formats() {
		if !strings.Contains(formats, "`"+f.Name+"`") {
			t.Errorf("docs/formats.md does not name %s", f.Name)
		}
	}
	for _, k := range inspect.ConditionKeys() {
		if row := "| `" + k.Name + "` | " + k.Title + " |"; !strings.Contains(gate, row) {
			t.Errorf("docs/gate.md lacks the row %s", row)
		}
	}
	for _, variable := range environment {
		if !strings.Contains(gate, "`"+variable+"`") {
			t.Errorf("docs/gate.md does not name %s", variable)
		}
	}
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(gate)
	if example == nil {
		t.Fatal("docs/gate.md shows no file")
	}
	if s, err := inspect.ParseSettings([]byte(example[1]), rules.Find); err != nil || len(s.Ignore) != 1 || s.FailOn == "" || s.Baseline == "" {
		t.Errorf("the file of docs/gate.md: %+v, %v", s, err)
	}
	entry := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(gate)
	if entry == nil {
		t.Fatal("docs/gate.md shows no entry of a baseline")
	}
	if b, err := report.ReadBaseline([]byte(`{"schema_version": "1.0", "baseline": [` + entry[1] + `]}`)); err != nil || len(b.Entries) != 1 {
		t.Errorf("the entry of docs/gate.md: %+v, %v", b, err)
	}
}

// The environment never consents, and never says what to act on.
func TestEnvironmentIsHarmless(t *testing.T) {
	for flag, variable := range environment {
		if !strings.HasPrefix(variable, "STRAY_") {
			t.Errorf("--%s: %s", flag, variable)
		}
		switch flag {
		case "yes", "force", "pid", "holders", "plain", "half", "destroy", "connections", "dry-run", "update-baseline", "prune-baseline":
			t.Errorf("--%s has a variable", flag)
		}
	}
}
