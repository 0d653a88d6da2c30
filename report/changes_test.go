package report

import (
	"slices"
	"strings"
	"testing"
)

// Without the marked lines of one side, what is left is the other.
func TestChanges(t *testing.T) {
	for _, tt := range [][2]string{
		{"a", "b"}, {"a b c", "a c"}, {"a c", "a b c"}, {"a b c d", "b x d y"}, {"a a b", "a b a"}, {"", "a"}, {"a b", "a b"},
	} {
		before, after := strings.Split(tt[0], " "), strings.Split(tt[1], " ")
		lines := changes(before, after)
		side := func(mark string) (texts []string) {
			for _, l := range lines {
				if strings.HasPrefix(l, " ") || strings.HasPrefix(l, mark) {
					texts = append(texts, l[1:])
				}
			}
			return texts
		}
		if !slices.Equal(side("-"), before) || !slices.Equal(side("+"), after) {
			t.Errorf("%q to %q: %q", before, after, lines)
		}
	}
	if got := strings.Join(changes([]string{"a", "b", "c"}, []string{"a", "x", "c"}), ","); got != " a,-b,+x, c" {
		t.Errorf("one line: %s", got)
	}
}
