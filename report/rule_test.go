package report_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"stray/inspect/rules"
	"stray/report"
)

// The pages of docs/rules are what the rules say of themselves: one for each, and
// an index. Make generate writes them.
func TestRulePages(t *testing.T) {
	const dir = "../docs/rules"
	pages := map[string]string{}
	var index strings.Builder
	index.WriteString("# What stray checks\n\nThe same is said by `stray rules`, and by `stray explain FD101` for each. This page and those behind it are made\nfrom the rules (`make generate`).\n\n| rule | severity | |\n|---|---|---|\n")
	for _, r := range rules.All() {
		var page bytes.Buffer
		fmt.Fprintf(&page, "# %s %s\n\n%s%s.\n\n", r.ID, r.Name, strings.ToUpper(r.Title[:1]), r.Title[1:])
		if err := report.WriteRuleMarkdown(&page, r); err != nil {
			t.Fatal(err)
		}
		pages[r.ID+".md"] = page.String()
		fmt.Fprintf(&index, "| [%s](%s.md) %s | %s | %s |\n", r.ID, r.ID, r.Name, r.Severity, r.Title)
	}
	pages["README.md"] = index.String()
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	there, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range there {
		if _, wanted := pages[path.Base(name)]; wanted {
			continue
		}
		if !*update {
			t.Errorf("%s: there is no such rule (make generate)", name)
		} else if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range pages {
		compare(t, "../"+dir+"/"+name, want)
	}
}

// Every word of a rule is in what explain prints, and no line is too wide for a
// terminal.
func TestWriteRule(t *testing.T) {
	for _, r := range rules.All() {
		var text bytes.Buffer
		if err := report.WriteRule(&text, r, report.Style{}); err != nil {
			t.Fatal(err)
		}
		words := strings.Join(strings.Fields(text.String()), " ")
		for _, part := range []string{r.ID, r.Name, r.Title, r.SeverityNote, r.Text} {
			if !strings.Contains(words, strings.Join(strings.Fields(part), " ")) {
				t.Errorf("%s: %q is not told", r.ID, part)
			}
		}
		for _, c := range r.Cures {
			if !strings.Contains(words, strings.Join(strings.Fields(c.Language+" "+c.Text), " ")) {
				t.Errorf("%s: the cure in %s is not told", r.ID, c.Language)
			}
		}
		for line := range strings.Lines(text.String()) {
			if n := len([]rune(line)); n > 84 && !strings.HasPrefix(line, r.ID) && !strings.HasPrefix(line, "severity: ") {
				t.Errorf("%s: %d columns: %s", r.ID, n, line)
			}
		}
	}
}

// On a narrow terminal every line but code is folded, and loses no word.
func TestRulesOnNarrowTerminals(t *testing.T) {
	words := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	for _, width := range []int{40, 60, 79, 80} {
		s := report.Style{Width: width}
		check := func(name, narrow, wide string) {
			if words(narrow) != words(wide) {
				t.Errorf("%s, %d columns: other words:\n%s", name, width, narrow)
			}
			for line := range strings.Lines(narrow) {
				code := strings.HasPrefix(line, "    - ") || strings.HasPrefix(line, "    + ") || strings.HasPrefix(line, "      ")
				if oneWord := len(strings.Fields(line)) == 1; !code && !oneWord && len([]rune(line)) > width+1 {
					t.Errorf("%s, %d columns: %s", name, width, line)
				}
			}
		}
		for _, r := range rules.All() {
			var narrow, wide bytes.Buffer
			if err := errors.Join(report.WriteRule(&narrow, r, s), report.WriteRule(&wide, r, report.Style{})); err != nil {
				t.Fatal(err)
			}
			check(r.ID, narrow.String(), wide.String())
			if strings.Contains(narrow.String(), " - ") && strings.Contains(r.Text, "\n- ") && !strings.Contains(narrow.String(), "\n- ") {
				t.Errorf("%s: the list is no list:\n%s", r.ID, &narrow)
			}
		}
		var narrow, wide bytes.Buffer
		if err := errors.Join(report.WriteRules(&narrow, rules.All(), s), report.WriteRules(&wide, rules.All(), report.Style{})); err != nil {
			t.Fatal(err)
		}
		check("rules", narrow.String(), wide.String())
		if n := strings.Count(wide.String(), "\n"); n != len(rules.All()) {
			t.Errorf("%d lines for %d rules", n, len(rules.All()))
		}
	}
}

func TestRulesJSON(t *testing.T) {
	var text bytes.Buffer
	if err := report.WriteRulesJSON(&text, "1.2.3", rules.All()); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"", "rules"} {
		if err := validate(compile(t, part), text.String()); err != nil {
			t.Error(err)
		}
	}
}
