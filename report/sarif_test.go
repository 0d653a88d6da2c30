package report_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"stray/inspect"
	"stray/report"
)

// The schema is the one that OASIS publishes, at the address that is its id.
func TestSARIFFollowsTheSchema(t *testing.T) {
	text, err := os.ReadFile("testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	schema := compileText(t, string(text))
	for name, r := range results() {
		log := render(t, r, "sarif", report.Style{})
		if err := validate(schema, log); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		checkSARIF(t, name, log, r.Outcome)
	}
}

// checkSARIF holds what the schema does not: references that lead somewhere,
// and what GitHub wants to have.
func checkSARIF(t *testing.T, name, log string, o *inspect.Outcome) {
	t.Helper()
	type text struct{ Text, Markdown string }
	var d struct {
		Runs []struct {
			Tool struct {
				Driver struct {
					Rules []struct {
						ID                                      string
						ShortDescription, FullDescription, Help text
					}
					Notifications []struct{ ID string }
				}
			}
			Invocations []struct {
				ToolExecutionNotifications []struct {
					Descriptor struct {
						ID    string
						Index int
					}
					AssociatedRule *struct {
						ID    string
						Index int
					}
				}
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Message   text
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           map[string]int
					}
				}
				PartialFingerprints map[string]string
				Suppressions        []struct{ Justification string }
			}
		}
	}
	if err := json.Unmarshal([]byte(log), &d); err != nil || len(d.Runs) != 1 {
		t.Fatalf("%s: %v", name, err)
	}
	run := d.Runs[0]
	driver := run.Tool.Driver
	for _, r := range driver.Rules {
		if r.ShortDescription.Text == "" || r.FullDescription.Text == "" || len(r.FullDescription.Text) > 1024 || r.Help.Text == "" || r.Help.Markdown == "" {
			t.Errorf("%s: rule %+v", name, r)
		}
	}
	prints := map[string]bool{}
	for _, r := range run.Results {
		print := r.PartialFingerprints["primaryLocationLineHash"]
		if prints[print] || print == "" {
			t.Errorf("%s: fingerprint %q twice", name, print)
		}
		prints[print] = true
		if driver.Rules[r.RuleIndex].ID != r.RuleID || r.Message.Text == "" || len(r.Locations) != 1 {
			t.Errorf("%s: result %+v", name, r)
		}
		where := r.Locations[0].PhysicalLocation
		if uri := where.ArtifactLocation.URI; uri == "" || strings.HasPrefix(uri, "/") || len(where.Region) != 4 {
			t.Errorf("%s: location %+v", name, where)
		}
		for _, s := range r.Suppressions {
			if s.Justification == "" {
				t.Errorf("%s: suppressed without a reason", name)
			}
		}
	}
	if len(run.Results) != len(o.Findings)+len(o.Suppressed) {
		t.Errorf("%s: %d results", name, len(run.Results))
	}
	unchecked := 0
	for _, n := range run.Invocations[0].ToolExecutionNotifications {
		if driver.Notifications[n.Descriptor.Index].ID != n.Descriptor.ID {
			t.Errorf("%s: notification %+v", name, n)
		}
		if rule := n.AssociatedRule; rule != nil {
			unchecked++
			if driver.Rules[rule.Index].ID != rule.ID {
				t.Errorf("%s: notification %+v", name, n)
			}
		}
	}
	if unchecked != len(o.NotEvaluated) {
		t.Errorf("%s: %d notifications of %d rules that were not checked", name, unchecked, len(o.NotEvaluated))
	}
}
