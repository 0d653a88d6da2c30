package cmd

import (
	"bytes"
	"testing"

	"stray/internal/testenv"
)

// Colour is for terminals that want it, unless it was asked for or forbidden.
func TestColorIsForTerminals(t *testing.T) {
	for _, tt := range []struct {
		name, flag, term, noColor string
		terminal, want            bool
	}{
		{"a terminal", "auto", "xterm", "", true, true},
		{"a pipe", "auto", "xterm", "", false, false},
		{"a terminal, NO_COLOR", "auto", "xterm", "1", true, false},
		{"a dumb terminal", "auto", "dumb", "", true, false},
		{"never", "never", "xterm", "", true, false},
		{"always, in a pipe", "always", "xterm", "", false, true},
		{"always, NO_COLOR", "always", "xterm", "1", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TERM", tt.term)
			t.Setenv("NO_COLOR", tt.noColor)
			o := &output{color: tt.flag}
			style := o.style(&bytes.Buffer{})
			if tt.terminal {
				_, program := testenv.Terminal(t)
				style = o.style(program)
			}
			if style.Color != tt.want {
				t.Errorf("colour %v, want %v", style.Color, tt.want)
			}
		})
	}
}
