package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

// results are those of every scene, and for each with findings: half of them
// suppressed, a rule starved, equal findings, findings of no process, nothing
// that fails; and the same as scan has it. Besides, what has nothing to tell.
func results() map[string]*report.Result {
	all := map[string]*report.Result{"followed": followed()}
	for _, sc := range scenes {
		all[sc.name] = sc.build().answer()
		if len(all[sc.name].Outcome.Findings) == 0 {
			continue
		}
		r := sc.build().answer()
		o := r.Outcome
		n := len(o.Findings) / 2
		for i, f := range o.Findings[n:] {
			s := inspect.Suppressed{Finding: f, By: inspect.ByBaseline}
			if i%2 == 0 {
				s.By, s.Reason = inspect.ByIgnore, "known; 100%\n::error::]]>"
			}
			o.Suppressed = append(o.Suppressed, s)
		}
		o.Findings = slices.Concat(o.Findings[:n], o.Findings[:n])
		all[sc.name+", suppressed"] = r

		r = sc.build().answer()
		o = r.Outcome
		o.FailOn = inspect.Error + 1
		f := o.Findings[0]
		f.Process, f.FD, f.Evidence, f.Next = nil, -1, nil, nil
		o.Findings = append(o.Findings, f)
		o.Evaluated, o.NotEvaluated = nil, []inspect.Unevaluated{{Rule: rules.Find("FD103"), Because: "no holder of\n\x1b::x could be read"}}
		o.Run = &inspect.Run{Argv: []string{"make", "te\nst"}, ExitCode: 2}
		all[sc.name+", starved"] = r

		for _, name := range []string{sc.name, sc.name + ", suppressed", sc.name + ", starved"} {
			scan := *all[name]
			scan.Command, scan.Answer = "scan", nil
			all[name+", as scan"] = &scan
		}
	}
	for _, name := range []string{"all is well", "every rule starved"} {
		r := newMachine("18080").answer()
		r.Command, r.Answer, r.Query = "scan", nil, nil
		o := r.Outcome
		o.Findings, o.Evaluated, o.NotEvaluated = nil, rules.All(), nil
		if name == "every rule starved" {
			for _, rule := range rules.All() {
				o.NotEvaluated = append(o.NotEvaluated, inspect.Unevaluated{Rule: rule, Because: "the descriptors of 3 processes could not be read"})
			}
			o.Evaluated, o.Complete = nil, false
		}
		all[name] = r
	}
	return all
}

// TestMachineFormats holds what other programs read, for the page of the design
// and for hostile names. The help of rules is left out: they are not the format.
func TestMachineFormats(t *testing.T) {
	all := results()
	for _, scene := range []string{"leak", "hostile-leak", "hostile-leak, suppressed", "hostile-leak, starved"} {
		for _, format := range []string{"markdown", "sarif", "junit", "github", "gitlab"} {
			t.Run(scene+"/"+format, func(t *testing.T) {
				text := render(t, all[scene], format, report.Style{})
				if format == "sarif" {
					text = regexp.MustCompile(`(?m)^( *"(text|markdown)": ").{200,}(",?)$`).ReplaceAllString(text, "$1…$3")
				}
				compare(t, strings.ReplaceAll(scene, ", ", "-")+"."+format, text)
			})
		}
	}
}

// gitlabSchema is what GitLab's documentation asks of a Code Quality report.
const gitlabSchema = `{
  "type": "array",
  "items": {
    "type": "object",
    "properties": {
      "description": {"type": "string", "minLength": 1},
      "check_name": {"type": "string", "minLength": 1},
      "fingerprint": {"type": "string", "minLength": 1},
      "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
      "location": {
        "type": "object",
        "properties": {
          "path": {"type": "string", "pattern": "^[^/]"},
          "lines": {"type": "object", "properties": {"begin": {"type": "integer", "minimum": 1}}, "required": ["begin"], "additionalProperties": false}
        },
        "required": ["path", "lines"],
        "additionalProperties": false
      }
    },
    "required": ["description", "check_name", "fingerprint", "severity", "location"],
    "additionalProperties": false
  }
}`

func TestGitLabFollowsTheSchema(t *testing.T) {
	schema := compileText(t, gitlabSchema)
	for name, r := range results() {
		text := render(t, r, "gitlab", report.Style{})
		if err := validate(schema, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var issues []struct{ Fingerprint string }
		if err := json.Unmarshal([]byte(text), &issues); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, i := range issues {
			if seen[i.Fingerprint] {
				t.Errorf("%s: fingerprint %q twice", name, i.Fingerprint)
			}
			seen[i.Fingerprint] = true
		}
		if n, most := len(r.Outcome.Findings), len(r.Outcome.Findings)+len(r.Outcome.NotEvaluated); len(issues) < n || len(issues) > most || len(issues) == n && n < most {
			t.Errorf("%s: %d issues of %d findings, and at most %d", name, len(issues), n, most)
		}
	}
}

func compileText(t *testing.T, text string) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// junitElements are the elements that Ant, Jenkins (junit-10.xsd of its xunit
// plugin) and GitLab know, as a pattern of what is inside, with the attributes
// that one of them needs, and those that all allow.
var junitElements = map[string]struct {
	inside           string
	needed, optional []string
}{
	"testsuites": {`^testsuite $`, nil, []string{"tests", "failures", "errors"}},
	"testsuite": {
		`^properties (testcase )*(system-out )?$`,
		[]string{"name", "tests", "failures", "errors", "time", "timestamp", "hostname"},
		[]string{"skipped"},
	},
	"properties": {`^(property )*$`, nil, nil},
	"property":   {`^$`, []string{"name", "value"}, nil},
	"testcase":   {`^(skipped |failure )?(system-out )?$`, []string{"classname", "name", "time"}, nil},
	"skipped":    {`^$`, nil, []string{"message"}},
	"failure":    {`^$`, []string{"type"}, []string{"message"}},
	"system-out": {`^$`, nil, nil},
}

func TestJUnitFollowsTheSchema(t *testing.T) {
	for name, r := range results() {
		text := render(t, r, "junit", report.Style{})
		cases, failures, skipped := readJUnit(t, name, text)
		o := r.Outcome
		want := map[string]bool{}
		for _, f := range o.Findings {
			if o.Fails(f.Severity) {
				want[f.Rule.ID] = true
			}
		}
		if failures != len(want) {
			t.Errorf("%s: %d failures, want those of %v", name, failures, want)
		}
		if cases == 0 || skipped > len(o.NotEvaluated) || len(want) == 0 && skipped != len(o.NotEvaluated) {
			t.Errorf("%s: %d cases, %d skipped", name, cases, skipped)
		}
	}
}

// readJUnit checks every element against junitElements, and the counts.
func readJUnit(t *testing.T, name, text string) (cases, failures, skipped int) {
	t.Helper()
	type element struct{ name, inside string }
	stack := []element{{}}
	counts := map[string]string{}
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		switch token := token.(type) {
		case xml.StartElement:
			stack[len(stack)-1].inside += token.Name.Local + " "
			stack = append(stack, element{name: token.Name.Local})
			rule, known := junitElements[token.Name.Local]
			var attributes []string
			for _, a := range token.Attr {
				attributes = append(attributes, a.Name.Local)
				if token.Name.Local == "testsuite" {
					counts[a.Name.Local] = a.Value
				}
				if !known || !slices.Contains(slices.Concat(rule.needed, rule.optional), a.Name.Local) {
					t.Errorf("%s: attribute %s of %s", name, a.Name.Local, token.Name.Local)
				}
			}
			for _, needed := range rule.needed {
				if !slices.Contains(attributes, needed) {
					t.Errorf("%s: %s lacks %s", name, token.Name.Local, needed)
				}
			}
			switch token.Name.Local {
			case "testcase":
				cases++
			case "failure":
				failures++
			case "skipped":
				skipped++
			}
		case xml.EndElement:
			top := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if !regexp.MustCompile(junitElements[top.name].inside).MatchString(top.inside) {
				t.Errorf("%s: %s holds %q", name, top.name, top.inside)
			}
		}
	}
	want := map[string]string{"tests": fmt.Sprint(cases), "failures": fmt.Sprint(failures), "skipped": fmt.Sprint(skipped), "errors": "0"}
	for key, value := range want {
		if counts[key] != value {
			t.Errorf("%s: %s=%q, want %q", name, key, counts[key], value)
		}
	}
	return cases, failures, skipped
}

// Every line is a command of a level that GitHub knows, but for the last; what
// the runner makes of it is what was to be said.
func TestGitHubAnnotations(t *testing.T) {
	command := regexp.MustCompile(`^::(error|warning|notice) (?:file=[^:,]+,line=\d+,)?title=([^:,]*)::(.*)$`)
	back := strings.NewReplacer("%25", "%", "%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",")
	for name, r := range results() {
		text := render(t, r, "github", report.Style{})
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		last := len(lines) - 1
		if !strings.HasPrefix(lines[last], "stray "+r.Command+": ") {
			t.Errorf("%s: the last line is %q", name, lines[last])
		}
		for i, line := range lines[:last] {
			m := command.FindStringSubmatch(line)
			if m == nil {
				t.Errorf("%s: line %q", name, line)
				continue
			}
			if i >= len(r.Outcome.Findings) {
				continue
			}
			f := r.Outcome.Findings[i]
			title, message := back.Replace(m[2]), back.Replace(m[3])
			if title != f.Rule.ID+" "+f.Rule.Name || !strings.HasPrefix(message+"\n", report.Printable(f.Message)+"\n") {
				t.Errorf("%s: finding %q is told as %q, %q", name, f.Message, title, message)
			}
		}
		if n := len(r.Outcome.Findings); last < n || len(r.Outcome.NotEvaluated) > 0 && !strings.Contains(text, "::warning title=not checked") {
			t.Errorf("%s: %d commands for %d findings:\n%s", name, last, n, text)
		}
	}
}

// Every format takes every result, and says of each finding what it is: nothing
// is lost. What who writes as tsv are holders.
func TestEveryFormatTellsEveryFinding(t *testing.T) {
	for name, r := range results() {
		for _, f := range report.Formats() {
			var first, second bytes.Buffer
			for _, b := range []*bytes.Buffer{&first, &second} {
				if err := f.Write(b, r, report.Style{Headers: true}); err != nil {
					t.Fatalf("%s as %s: %v", name, f.Name, err)
				}
			}
			if diff := cmp.Diff(first.String(), second.String()); diff != "" {
				t.Errorf("%s as %s: two renderings differ:\n%s", name, f.Name, diff)
			}
			for _, finding := range r.Outcome.Findings {
				if (f.Name != "tsv" || r.Answer == nil) && !strings.Contains(first.String(), finding.Rule.ID) {
					t.Errorf("%s as %s: %s is not told", name, f.Name, finding.Rule.ID)
				}
			}
		}
	}
}

// A finding is a line of fields, whatever it is about.
func TestTSVOfFindings(t *testing.T) {
	all := results()
	compare(t, "hostile-leak-suppressed-as-scan.tsv", render(t, all["hostile-leak, suppressed, as scan"], "tsv", report.Style{Headers: true}))
	for name, r := range all {
		if r.Answer != nil {
			continue
		}
		lines := strings.Split(strings.TrimSuffix(render(t, r, "tsv", report.Style{Headers: true}), "\n"), "\n")
		if n := len(r.Outcome.Findings) + len(r.Outcome.Suppressed); len(lines) != n+1 {
			t.Errorf("%s: %d lines for %d findings", name, len(lines), n)
		}
		for _, line := range lines {
			if strings.Count(line, "\t") != strings.Count(lines[0], "\t") {
				t.Errorf("%s: line %q", name, line)
			}
		}
	}
}
