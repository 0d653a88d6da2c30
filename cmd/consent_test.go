package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"stray/inspect"
	"stray/internal/act"
	"stray/internal/testenv"
	"stray/report"
)

func TestConsent(t *testing.T) {
	said := report.NewActions("close", nil, "", &inspect.Answer{}, &act.Plan{})
	ask := func(t *testing.T, ctx context.Context, typed string) error {
		person, program := testenv.Terminal(t)
		if _, err := person.WriteString(typed); err != nil {
			t.Fatal(err)
		}
		a := &app{stdin: program, stdout: &bytes.Buffer{}, stderr: program}
		return a.consent(ctx, &actFlags{out: &output{}}, said)
	}
	for typed, agreed := range map[string]bool{"y\n": true, "Yes\n": true, "n\n": false, "\n": false, "yx\n": false, "\x04": false} {
		t.Run(fmt.Sprintf("%q", typed), func(t *testing.T) {
			if err := ask(t, context.Background(), typed); (err == nil) != agreed {
				t.Errorf("error %v, want agreement: %v", err, agreed)
			}
		})
	}
	// ^C is an answer, though nothing is typed; and no later y undoes it.
	for _, typed := range []string{"", "y\n"} {
		t.Run(fmt.Sprintf("interrupted, then %q", typed), func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			err := ask(t, ctx, typed)
			if err == nil {
				t.Fatal("taken for agreement")
			}
			if text := interrupted(ctx, err).Error(); !strings.HasPrefix(text, "nothing was done: ") {
				t.Errorf("it says %q, and not that nothing was done", text)
			}
		})
	}
	t.Run("quiet", func(t *testing.T) {
		_, program := testenv.Terminal(t)
		a := &app{stdin: program, stdout: program, stderr: program}
		err := a.consent(context.Background(), &actFlags{out: &output{quiet: true}}, said)
		var e *exitError
		if !errors.As(err, &e) || e.code != exitUnknown {
			t.Errorf("error %v: asked about a plan that -q does not show", err)
		}
	})
}
