package unwind

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// told writes the frames as a person would read them.
func told(frames []Frame) string {
	var b strings.Builder
	for _, f := range frames {
		fmt.Fprintf(&b, "%s %s:%d (%s+%#x)", f.Function, f.File, f.Line, f.Module, f.Offset)
		if f.Inlined {
			b.WriteString(" inlined")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestC(t *testing.T) {
	program := build(t, "open.c", "-O2", "-g", "-fomit-frame-pointer")
	for _, how := range []string{"plain", "thread", "signal", "altstack", "deep"} {
		for _, frames := range stacks(t, program, how) {
			t.Logf("%s:\n%s", how, told(frames))
		}
	}
}
