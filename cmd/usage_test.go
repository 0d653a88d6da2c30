package cmd

import (
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestAgain(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		with   []string
		change map[string]string
		want   string
	}{
		{[]string{"18080"}, []string{"18080"}, nil, "stray who 18080"},
		{[]string{"-t", "-a", "--deep=false", "18080"}, []string{"18080"}, nil, "stray who -a -t 18080"},
		{[]string{"-o", "xml", "18080"}, []string{"18080"}, map[string]string{"output": "json"}, "stray who -o json 18080"},
		{[]string{"--json", "18080"}, []string{"18080"}, map[string]string{"json": ""}, "stray who 18080"},
		{[]string{"--timeout", "90s", "18080"}, []string{"18080"}, map[string]string{"wait": "free"}, "stray who --timeout 1m30s --wait free 18080"},
		{[]string{"-p", "1", "-p", "2,3"}, []string{"[::1]:80", "it's"}, nil, `stray who -p 1,2,3 '[::1]:80' 'it'\''s'`},
		{[]string{"--report", "json=a,b", "--report", "tsv=c"}, nil, nil, "stray who --report json=a,b --report tsv=c"},
		{[]string{"--output-file", "a b"}, nil, nil, "stray who --output-file 'a b'"},
	} {
		a := &app{}
		c := a.who()
		a.root().AddCommand(c)
		if err := c.ParseFlags(tt.args); err != nil {
			t.Fatal(err)
		}
		if got := again(c, tt.with, tt.change); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.args, got, tt.want)
		}
	}
}

// A shell reads a quoted word as it was.
func TestShellWord(t *testing.T) {
	for _, word := range []string{"", "plain", "a b", "it's", "$HOME", "`id`", `back\slash`, `"q"`, "*", "~", "-x", "#", "a\nb", "[::1]:80", "日本"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellWord(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q as %s is read as %q (%v)", word, shellWord(word), out, err)
		}
	}
}

func TestWantsJSON(t *testing.T) {
	for line, want := range map[string]bool{
		"who --json 1": true, "who 1 --json": true, "who -o json": true, "who -ojson": true, "who -o=json": true, "who --output json": true,
		"who --output=json": true, "who --nosuch --json": true, "doctor --json": true,
		"who 1": false, "who -o tsv": false, "who -o ndjson": false, "who --json=false": false, "who -- --json": false, "who -o": false, "": false,
	} {
		if got := wantsJSON(strings.Fields(line), ""); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
	if !wantsJSON([]string{"who", "1"}, "json") || wantsJSON([]string{"who", "-o", "tsv", "1"}, "json") || wantsJSON([]string{"who", "1"}, "tsv") {
		t.Error("the environment asks where the arguments do not")
	}
}

// Every type of flag that can be given a wrong value has a name in words.
func TestTypesOfFlagsHaveNames(t *testing.T) {
	a := &app{stdout: io.Discard, stderr: io.Discard}
	for _, c := range a.root().Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			err := c.ParseFlags([]string{"--" + f.Name + "=\x00"})
			if err == nil {
				return
			}
			if message := a.flagError(c, err).Error(); strings.Contains(message, "takes ,") || !strings.Contains(message, "--"+f.Name+" takes ") {
				t.Errorf("%s: %s", c.Name(), message)
			}
		})
	}
}

// A command that is made alone is the one that all of them have by that name.
func TestCommandsAreMadeByName(t *testing.T) {
	for _, s := range (&app{}).commands() {
		commands := (&app{args: []string{s.name}}).root().Commands()
		if len(commands) != 1 || commands[0].Name() != s.name {
			t.Errorf("%s makes %d commands, the first %s", s.name, len(commands), commands[0].Name())
		}
	}
}
