package report_test

import (
	"regexp"
	"strings"
	"testing"

	"stray/inspect"
	"stray/report"
)

// No name that a target has chosen begins a line of markdown, ends a code block,
// or is more than text.
func TestMarkdownIsText(t *testing.T) {
	for name, r := range results() {
		code, blocks := false, 0
		for line := range strings.Lines(render(t, r, "markdown", report.Style{})) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasPrefix(line, "```") {
				code = !code
				blocks++
				continue
			}
			if code {
				if !strings.HasPrefix(line, "stray ") {
					t.Errorf("%s: %q in a block of code", name, line)
				}
				continue
			}
			table := strings.HasPrefix(line, "|")
			plain := regexp.MustCompile(`\\[^A-Za-z0-9 ]`).ReplaceAllString(line, "")
			plain = regexp.MustCompile("`[^`]+`").ReplaceAllString(plain, "")
			if strings.ContainsAny(plain, "`*[]<>~&") || strings.Contains(plain, "://") || table && strings.Count(plain, "|") != 8 || !table && strings.Contains(plain, "|") {
				t.Errorf("%s: line %q", name, line)
			}
			if head := regexp.MustCompile(`^#+ (stray (who|scan|check)|FD\d{3} |Not |Sockets$|Suppressed$)`); strings.HasPrefix(line, "#") && !head.MatchString(line) {
				t.Errorf("%s: heading %q", name, line)
			}
		}
		if blocks%2 != 0 {
			t.Errorf("%s: %d ends of code blocks", name, blocks)
		}
	}
}

// What GitHub and GitLab make something of is in code, where nothing is left to
// them, whatever is before it and behind it.
func TestMarkdownCallsNobody(t *testing.T) {
	r := results()["leak"]
	for message, want := range map[string]string{
		"pid 1 (@everyone) leaks":   "pid 1 `(@everyone)` leaks",
		"@a @b":                     "`@a` `@b`",
		"fixes #12, GH-7 and o/r#8": "fixes `#12,` `GH-7` and `o/r#8`",
		"see www.example.org, !3":   "see `www.example.org,` `!3`",
		"$x$ and $`y`$":             "`$x$` and `$`\\``y`\\``$`",
		"a|@b|c":                    "`a`\\|`@b`\\|`c`",
		"# 12 * @":                  "\\# 12 \\* @",
		"unix:@x\ty":                "`unix:@x`\\\\`ty`",
	} {
		r.Outcome.Findings[0].Message = message
		if text := render(t, r, "markdown", report.Style{}); !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("%q is not %q:\n%s", message, want, text)
		}
	}
}

// Findings come before sockets, which are there where they were asked for; of
// either only so many that GitHub takes it for a summary.
func TestMarkdownIsBounded(t *testing.T) {
	r := results()["leak"]
	finding, socket := r.Outcome.Findings[0], r.Outcome.Shown[0]
	finding.Message = strings.Repeat("long ", 100)
	for len(r.Outcome.Findings) < 10_000 {
		r.Outcome.Findings = append(r.Outcome.Findings, finding)
		r.Outcome.Shown = append(r.Outcome.Shown, socket)
		r.Outcome.Suppressed = append(r.Outcome.Suppressed, inspect.Suppressed{Finding: finding, By: inspect.ByIgnore})
	}
	for _, format := range []string{"markdown", "github-summary"} {
		text := render(t, r, format, report.Style{})
		first, table := strings.Index(text, "\n## FD101 "), strings.Index(text, "\n| socket |")
		if len(text) > 1<<19 || first < 0 || table < first || !strings.Contains(text, "\nand 9,900 more findings (-o json has them)\n") {
			t.Errorf("%s: %d bytes, first finding at %d, sockets at %d", format, len(text), first, table)
		}
		scan := *r
		scan.Command, scan.Answer = "scan", nil
		if text := render(t, &scan, format, report.Style{}); strings.Contains(text, "| socket |") || !strings.Contains(text, "\n## FD101 ") {
			t.Errorf("%s of scan:\n%.2000s", format, text)
		}
	}
}

// What is suppressed is told on the page, and with its reason on the wide one.
func TestSuppressedOnThePage(t *testing.T) {
	all := results()
	for _, r := range []*report.Result{all["hostile-leak, suppressed"], all["hostile-leak, suppressed, as scan"]} {
		page := render(t, r, "table", report.Style{})
		if strings.Count(page, "suppressed") != 1 || !strings.Contains(page, "\n5 findings suppressed: 2 baseline, 3 ignored\n") {
			t.Errorf("%s: the page does not tell of it once:\n%s", r.Command, page)
		}
		if wide := render(t, r, "wide", report.Style{}); !strings.Contains(wide, `(known; 100%\n::error::]]>)`) {
			t.Errorf("%s: the wide page does not give the reason:\n%s", r.Command, wide)
		}
	}
}
