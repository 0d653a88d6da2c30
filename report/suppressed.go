package report

import (
	"fmt"
	"strings"

	"stray/inspect"
)

// suppressedTally counts findings that do not count: "2 findings suppressed: 1
// baseline, 1 ignored".
func suppressedTally(all []inspect.Suppressed) string {
	counts := map[string]int{}
	for _, s := range all {
		counts[s.By]++
	}
	var parts []string
	for _, by := range []string{inspect.ByBaseline, inspect.ByIgnore} {
		if n := counts[by]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, suppressedWord(by)))
		}
	}
	return fmt.Sprintf("%d %s suppressed: %s", len(all), plural(len(all), "finding"), strings.Join(parts, ", "))
}

func suppressedWord(by string) string {
	if by == inspect.ByIgnore {
		return "ignored"
	}
	return "baseline"
}

// suppressedText is one of them, and why it does not count.
func suppressedText(s inspect.Suppressed) string {
	text := fmt.Sprintf("%s %s, %s: %s", s.Rule.ID, s.Severity, suppressedWord(s.By), s.Message)
	if s.Reason != "" {
		text += " (" + s.Reason + ")"
	}
	return text
}
