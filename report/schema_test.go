package report_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

// compile returns the schema, or the part of it below $defs.
func compile(t *testing.T, part string) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(report.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	const url = "stray.json"
	if err := c.AddResource(url, document); err != nil {
		t.Fatal(err)
	}
	if part != "" {
		part = "#/$defs/" + part
	}
	schema, err := c.Compile(url + part)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// validate checks JSON text against the schema.
func validate(schema *jsonschema.Schema, text string) error {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

func TestReportsFollowTheSchema(t *testing.T) {
	whole, who, line := compile(t, ""), compile(t, "report"), compile(t, "line")
	for _, sc := range scenes {
		r := sc.build().answer()
		text := render(t, r, "json", report.Style{})
		if err := validate(who, text); err != nil {
			t.Errorf("%s: %v", sc.name, err)
		}
		if err := validate(whole, text); err != nil {
			t.Errorf("%s: as any report: %v", sc.name, err)
		}
		for text := range strings.Lines(render(t, r, "ndjson", report.Style{})) {
			if err := validate(line, text); err != nil {
				t.Errorf("%s: line %s: %v", sc.name, text, err)
			}
			if err := validate(whole, text); err != nil {
				t.Errorf("%s: line as any report: %v", sc.name, err)
			}
		}
	}
}

func TestErrorsFollowTheSchema(t *testing.T) {
	for _, hint := range []string{"", "stray who 8000-8010"} {
		var b bytes.Buffer
		if err := report.WriteError(&b, "1.2.3", "who", `target "8010-\xff": the range runs backwards`, hint, 2); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"", "error"} {
			if err := validate(compile(t, part), b.String()); err != nil {
				t.Errorf("%s: %v", b.String(), err)
			}
		}
	}
}

// abilities is what doctor may find.
func abilities() []fdscan.Ability {
	return []fdscan.Ability{
		{Name: "descriptors of processes", Have: "partly", Detail: "12 of 180 may be listed", Adds: "who holds a socket; the rest is named by user and cgroup only"},
		{Name: "all processes visible", Have: "no", Detail: "/proc is mounted with hidepid=invisible", Adds: "without it processes of other users do not even appear"},
		{Name: "bound-only sockets", Have: "yes", Detail: "Linux 6.18.0", Adds: "a table of them (Linux 6.8); before, each socket has to be asked through its holder"},
		{Name: "kcmp", Have: "yes", Adds: "threads with a table of their own"},
	}
}

func TestDoctor(t *testing.T) {
	host := newMachine().Host
	var page, document bytes.Buffer
	for _, s := range []report.Style{{Headers: true}, {Headers: true, Width: 60}} {
		if err := report.WriteDoctor(&page, host, abilities(), s); err != nil {
			t.Fatal(err)
		}
		page.WriteString("\n")
	}
	compare(t, "doctor.txt", page.String())
	if err := report.WriteDoctorJSON(&document, "1.2.3", host, abilities()); err != nil {
		t.Fatal(err)
	}
	compare(t, "doctor.json", document.String())
	for _, part := range []string{"", "doctor"} {
		if err := validate(compile(t, part), document.String()); err != nil {
			t.Error(err)
		}
	}
}

// What the contract forbids is an error: a key that is missing or unknown, null
// for an array, a word outside of its vocabulary.
func TestSchemaRejects(t *testing.T) {
	who := compile(t, "report")
	var scene scene
	for _, sc := range scenes {
		if sc.name == "leak" {
			scene = sc
		}
	}
	good := render(t, scene.build().answer(), "json", report.Style{})
	for name, spoil := range map[string]func(d map[string]any){
		"missing key":       func(d map[string]any) { delete(d, "complete") },
		"unknown key":       func(d map[string]any) { d["extra"] = 1 },
		"null array":        func(d map[string]any) { d["gaps"] = nil },
		"unknown verdict":   func(d map[string]any) { d["verdict"] = "maybe" },
		"another version":   func(d map[string]any) { d["schema_version"] = "2.0" },
		"time without zone": func(d map[string]any) { d["taken_at"] = "2026-01-02 03:04:05" },
		"null holders":      func(d map[string]any) { socket(d)["holders"] = nil },
		"unknown state":     func(d map[string]any) { socket(d)["state"] = "TIME-WAIT" },
		"port 0":            func(d map[string]any) { socket(d)["local"].(map[string]any)["port"] = 0 },
		"negative fd":       func(d map[string]any) { holder(d)["fd"] = -1 },
		"unknown via":       func(d map[string]any) { holder(d)["via"] = "magic" },
		"unknown origin":    func(d map[string]any) { holder(d)["origin"].(map[string]any)["kind"] = "stolen" },
		"missing evidence":  func(d map[string]any) { delete(holder(d)["origin"].(map[string]any), "evidence") },
		"missing comm":      func(d map[string]any) { delete(holder(d)["process"].(map[string]any), "comm") },
	} {
		var d map[string]any
		if err := json.Unmarshal([]byte(good), &d); err != nil {
			t.Fatal(err)
		}
		spoil(d)
		bad, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if validate(who, string(bad)) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func socket(d map[string]any) map[string]any { return d["sockets"].([]any)[0].(map[string]any) }
func holder(d map[string]any) map[string]any { return socket(d)["holders"].([]any)[0].(map[string]any) }

// The closed vocabularies of the schema are those of the program.
func TestVocabularies(t *testing.T) {
	words := func(part string, keys ...string) []string {
		var d map[string]any
		if err := json.Unmarshal(report.Schema, &d); err != nil {
			t.Fatal(err)
		}
		v := d["$defs"].(map[string]any)[part].(map[string]any)
		for _, k := range keys {
			v = v["properties"].(map[string]any)[k].(map[string]any)
		}
		var words []string
		for _, w := range v["enum"].([]any) {
			if w != nil {
				words = append(words, w.(string))
			}
		}
		slices.Sort(words)
		return words
	}
	sorted := func(words ...string) []string { slices.Sort(words); return words }
	for _, tt := range []struct {
		name      string
		got, want []string
	}{
		{"verdict", words("report", "verdict"), sorted(string(inspect.Held), string(inspect.Free), string(inspect.VerdictOpen))},
		{"bind", words("bind", "plain"), sorted(string(inspect.BindYes), string(inspect.BindNo), string(inspect.BindUnknown))},
		{"protocol", words("socket", "protocol"), sorted(string(fdscan.TCP), string(fdscan.UDP), string(fdscan.UDPLite), string(fdscan.MPTCP), string(fdscan.Unix))},
		{"family", words("socket", "family"), sorted(string(fdscan.Inet), string(fdscan.Inet6), string(fdscan.UnixPath))},
		{"state", words("state"), sorted(
			string(fdscan.Listen), string(fdscan.Bound), string(fdscan.Established), string(fdscan.SynSent), string(fdscan.SynRecv), string(fdscan.FinWait1),
			string(fdscan.FinWait2), string(fdscan.TimeWait), string(fdscan.CloseWait), string(fdscan.LastAck), string(fdscan.Closing), string(fdscan.Close))},
		{"via", words("holder", "via"), sorted(string(fdscan.ViaTable), string(fdscan.ViaThread), string(fdscan.ViaRing), string(fdscan.ViaMessage), string(fdscan.ViaMemory))},
		{"serving", words("holder", "serving"), sorted(string(inspect.Serves), string(inspect.Idle), string(inspect.Unknown))},
		{"origin", words("holder", "origin", "kind"), sorted(
			string(inspect.Opened), string(inspect.Forked), string(inspect.Execed), string(inspect.Intended), string(inspect.Received), string(inspect.NoOrigin))},
		{"severity", words("finding", "severity"), sorted(inspect.Note.String(), inspect.Warning.String(), inspect.Error.String())},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-program +schema):\n%s", tt.name, diff)
		}
	}
}

// The schema speaks to people: every property says what it is.
func TestSchemaDescribesEveryKey(t *testing.T) {
	var d map[string]any
	if err := json.Unmarshal(report.Schema, &d); err != nil {
		t.Fatal(err)
	}
	defs := d["$defs"].(map[string]any)
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			properties, _ := v["properties"].(map[string]any)
			for _, key := range slices.Sorted(maps.Keys(properties)) {
				p := properties[key].(map[string]any)
				_, described := p["description"]
				_, constant := p["const"]
				target := p
				if to, ok := p["$ref"].(string); ok {
					target = defs[strings.TrimPrefix(to, "#/$defs/")].(map[string]any)
				}
				if _, there := target["description"]; !described && !there && !constant {
					t.Errorf("%s.%s has no description", path, key)
				}
			}
			if properties != nil && v["additionalProperties"] != false {
				t.Errorf("%s allows other keys", path)
			}
			if required, _ := v["required"].([]any); len(required) != len(properties) {
				t.Errorf("%s: %d of %d keys are required", path, len(required), len(properties))
			}
			for key, inner := range v {
				walk(key, inner)
			}
		case []any:
			for _, inner := range v {
				walk(path, inner)
			}
		}
	}
	walk("schema", d)
}

// Every rule that can be found has an id of the schema's form.
func TestRuleIDs(t *testing.T) {
	finding := compile(t, "unevaluated")
	for _, r := range rules.All() {
		text, err := json.Marshal(report.Unevaluated{Rule: r.ID, Because: "-"})
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(finding, string(text)); err != nil {
			t.Error(err)
		}
	}
}
