package cmd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"

	"stray/inspect"
	"stray/inspect/rules"
	"stray/internal/testenv"
)

// action is what is used of action.yml.
type action struct {
	Inputs map[string]struct {
		Description, Default string
		Required             bool
	}
	Runs struct {
		Using string
		Steps []struct {
			Name, Shell, Run string
			Directory        string `yaml:"working-directory"`
			Env              map[string]string
		}
	}
}

// pipeline is what is used of docs/stray.gitlab-ci.yml.
type pipeline map[string]struct {
	Image        string
	Variables    map[string]string
	BeforeScript []string `yaml:"before_script"`
	Script       []string
	Artifacts    struct{ Reports map[string]string }
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// leaky starts sleep with a listener that it should not have.
const leaky = `import os, socket
s = socket.socket()
s.set_inheritable(True)
s.bind(("127.0.0.1", 0))
s.listen()
os.spawnlp(os.P_WAIT, "sleep", "sleep", "0.1")
`

// The steps of the action do what they promise when they are run as a runner runs
// them: in bash -eo pipefail, with expressions filled in.
func TestAction(t *testing.T) {
	testenv.NeedUntraced(t)
	testenv.NeedTool(t, "python3", "python3")
	testenv.NeedTool(t, "bash", "bash")
	var a action
	readYAML(t, "../action.yml", &a)
	if a.Runs.Using != "composite" || len(a.Runs.Steps) != 2 || !a.Inputs["run"].Required {
		t.Fatalf("%+v", a)
	}
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir, temp := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "leaky.py"), []byte(leaky), 0o644); err != nil {
		t.Fatal(err)
	}
	summary := filepath.Join(temp, "summary.md")
	step := func(i int, inputs map[string]string) (output string, code int) {
		t.Helper()
		fill := func(s string) string {
			s = strings.ReplaceAll(s, "${{ github.action_path }}", source)
			for name, input := range a.Inputs {
				value, given := inputs[name]
				if !given {
					value = input.Default
				}
				s = strings.ReplaceAll(s, "${{ inputs."+name+" }}", value)
			}
			if strings.Contains(s, "${{") {
				t.Fatalf("an expression that the test does not know: %s", s)
			}
			return s
		}
		s := a.Runs.Steps[i]
		if s.Shell != "bash" || strings.Contains(s.Run, "${{") {
			t.Fatalf("step %q: what a caller writes belongs into the environment, not into a script", s.Name)
		}
		script := filepath.Join(temp, "script.sh")
		if err := os.WriteFile(script, []byte(s.Run), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", script)
		cmd.Dir = filepath.Join(dir, fill(s.Directory))
		cmd.Env = append(os.Environ(), "RUNNER_TEMP="+temp, "GITHUB_STEP_SUMMARY="+summary)
		for name, value := range s.Env {
			cmd.Env = append(cmd.Env, name+"="+fill(value))
		}
		text, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(text), cmd.ProcessState.ExitCode()
	}
	if output, code := step(0, nil); code != 0 {
		t.Fatalf("build: exit %d\n%s", code, output)
	}
	for _, tt := range []struct {
		name, run, flags string
		code             int
		says             string // a pattern
	}{
		{"clean", "echo hello | cat", "", 0, `(?m)^hello$`},
		{"leak", "python3 leaky.py\necho done", "", 1, `(?ms)^done$.*^::error title=FD101 listener-crossed-exec::pid \d+ \(sleep\) carries the listener`},
		{"leak that may be", "python3 leaky.py", "--fail-on none", 0, `(?m)^::error title=FD101`},
		{"failure", "false\necho not reached", "", 1, `(?m)^stray check: no findings`},
		{"failure in a pipe", "exit 7 | cat", "--exit-code 99", 7, ``},
		{"leak with a code", "python3 leaky.py", "--exit-code 99", 99, ``},
		{"a socket without an address", "python3 -c 'import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).detach()'", "", 0, ``},
		// A baseline holds for another run, with another port.
		{"leak that gets known", "python3 leaky.py", "--update-baseline", 0, ``},
		{"leak that is known", "python3 leaky.py", "--baseline stray-baseline.json", 0, `(?m)^stray check: no findings`},
		{"quotes and expansions", `test "$(printf '%s' "a  b" '$x')" = 'a  b$x'; test -z "${COMMAND+x}${FLAGS+x}"`, "", 0, ``},
	} {
		output, code := step(1, map[string]string{"run": tt.run, "flags": tt.flags})
		if code != tt.code || !regexp.MustCompile(tt.says).MatchString(output) {
			t.Errorf("%s: exit %d, want %d; says %q, want match for %s", tt.name, code, tt.code, output, tt.says)
		}
	}
	if text, err := os.ReadFile(summary); err != nil || !bytes.Contains(text, []byte("## FD101 error: listener-crossed-exec")) {
		t.Errorf("summary %q, %v", text, err)
	}
}

// The job of GitLab does, too, with the program in a directory of PATH.
func TestGitLabJob(t *testing.T) {
	testenv.NeedUntraced(t)
	testenv.NeedTool(t, "python3", "python3")
	var p pipeline
	readYAML(t, "../docs/stray.gitlab-ci.yml", &p)
	job := p["stray"]
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir, bin := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "leaky.py"), []byte(leaky), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(script []string, command string) int {
		t.Helper()
		text := strings.ReplaceAll(strings.Join(script, "\n"), "/usr/local/bin", bin)
		cmd := exec.Command("sh", "-ec", text)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "STRAY_SOURCE="+source, "COMMAND="+command)
		output, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		t.Logf("%s", output)
		return cmd.ProcessState.ExitCode()
	}
	if len(job.BeforeScript) == 0 || len(job.Script) == 0 || !strings.HasPrefix(job.Image, "golang:1.26") {
		t.Fatalf("%+v", p)
	}
	if code := run(job.BeforeScript, ""); code != 0 {
		t.Fatalf("build: exit %d", code)
	}
	for command, want := range map[string]int{"python3 leaky.py": 1, "true": 0, "exit 7": 7} {
		if code := run(job.Script, command); code != want {
			t.Errorf("%s: exit %d, want %d", command, code, want)
		}
		for kind, name := range job.Artifacts.Reports {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
				t.Errorf("%s: report %s: %v", command, kind, err)
			}
			os.Remove(filepath.Join(dir, name))
		}
	}
}

// Every command line of stray in the pages and the files for CI is one that the
// program takes.
func TestPagesUseFlagsThatExist(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../README.md", "../action.yml", "../docs/stray.gitlab-ci.yml")
	seen := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range commandLines(string(text)) {
			seen++
			root := (&app{}).root()
			c, args, err := root.Find(words)
			if err == nil {
				err = c.ParseFlags(args)
			}
			if err != nil {
				t.Errorf("%s: stray %s: %v", page, strings.Join(words, " "), err)
			}
		}
	}
	if seen < 20 {
		t.Errorf("%d command lines in %d pages: they are not found", seen, len(pages))
	}
}

// The page on CI shows YAML that can be read, and flags that exist.
func TestPageOnCI(t *testing.T) {
	text, err := os.ReadFile("../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, c := range (&app{}).root().Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
	}
	for _, other := range []string{"--depth", "--cap-add", "--security-opt"} { // of git and docker
		known[other] = true
	}
	for _, flag := range regexp.MustCompile(`--[a-z][a-z-]*`).FindAllString(string(text), -1) {
		if !known[flag] {
			t.Errorf("there is no flag %s", flag)
		}
	}
	settings := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1) {
		var any any
		if err := yaml.Unmarshal(block[1], &any); err != nil {
			t.Errorf("%v in\n%s", err, block[1])
		}
		if bytes.Contains(block[1], []byte("ignore:")) {
			settings++
			if _, err := inspect.ParseSettings(block[1], rules.Find); err != nil {
				t.Errorf("%v in\n%s", err, block[1])
			}
		}
	}
	if settings != 1 {
		t.Errorf("%d ignore files are shown", settings)
	}
}

// commandLine is stray with its arguments, at the beginning of a line, behind a
// prompt, in back quotes, behind an operator of the shell or a path.
var commandLine = regexp.MustCompile("(?m)(?:^|^\\s*(?:- )?|\\$ |`|&& |/)\"? ?stray\"? ([a-z][^`\n|;]*)")

// commandLines finds the command lines in a page, without what the shell or the
// command behind -- makes of the rest.
func commandLines(page string) (found [][]string) {
	for _, m := range commandLine.FindAllStringSubmatch(page, -1) {
		line, _, _ := strings.Cut(m[1], "  ") // a comment, in columns
		for _, end := range []string{" -- ", " && ", " #", " >", ")"} {
			line, _, _ = strings.Cut(line, end)
		}
		words := strings.Fields(line)
		for i, w := range words {
			if w = strings.Trim(w, `"`); strings.HasPrefix(w, "$") || w == "PID" {
				words[i] = "1"
			}
		}
		if len(words) > 0 && (&app{}).isCommand(words[0]) {
			found = append(found, words)
		}
	}
	return found
}

// isCommand tells a command line from a sentence about stray.
func (a *app) isCommand(word string) bool {
	c, _, err := a.root().Find([]string{word})
	return err == nil && c.HasParent()
}
