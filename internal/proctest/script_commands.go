package proctest

import (
	"errors"
	"os"
	"strings"
	"sync"
	"time"
)

// Script is what the commands for scripts need of a *testscript.TestScript.
type Script interface {
	Defer(func())
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	MkAbs(file string) string
	Setenv(key, value string)
}

// ScriptCommands are commands for testscript.Params.Cmds:
//
//	hold [PREFIX=] SCRIPT…   plays a role as long as the script runs, or until
//	                         release; sets the Variables of its process
//	release                  ends every role that hold has begun
//	waitfor FILE [PREFIX=]   waits for the FILE of a command
//	                         "holder -ready FILE SCRIPT… &", and sets its variables
//
// The names of the variables begin with PREFIX. A script is for instance
//
//	hold listen tcp4 127.0.0.1:0 name=web ; fork { serve sleep }
//	exec stray who $PORT
//	stdout $CHILD
//
// S is *testscript.TestScript: this package does without that import.
func ScriptCommands[S Script]() map[string]func(s S, neg bool, args []string) {
	ends := &roleEnds{}
	return map[string]func(s S, neg bool, args []string){
		"hold": func(s S, neg bool, args []string) {
			prefix := ""
			if len(args) > 0 && strings.HasSuffix(args[0], "=") {
				prefix, args = strings.TrimSuffix(args[0], "="), args[1:]
			}
			if neg || len(args) == 0 {
				s.Fatalf("usage: hold [PREFIX=] SCRIPT…")
			}
			p, end, err := start(strings.Join(args, " "))
			if err != nil {
				s.Fatalf("hold: %v", err)
			}
			end = sync.OnceValue(end)
			ends.add(s, end)
			s.Defer(func() {
				ends.forget(s)
				if err := end(); err != nil {
					s.Fatalf("hold: end role: %v", err)
				}
			})
			setVariables(s, prefix, p.Variables())
		},
		"release": func(s S, neg bool, args []string) {
			if neg || len(args) != 0 {
				s.Fatalf("usage: release")
			}
			for _, end := range ends.forget(s) {
				if err := end(); err != nil {
					s.Fatalf("release: %v", err)
				}
			}
		},
		"waitfor": func(s S, neg bool, args []string) {
			if neg || len(args) < 1 || len(args) > 2 {
				s.Fatalf("usage: waitfor FILE [PREFIX=]")
			}
			prefix := ""
			if len(args) == 2 {
				prefix = strings.TrimSuffix(args[1], "=")
			}
			variables, err := awaitVariables(s.MkAbs(args[0]))
			if err != nil {
				s.Fatalf("waitfor %s: %v", args[0], err)
			}
			setVariables(s, prefix, variables)
		},
	}
}

// roleEnds are what ends the roles of each script: scripts run in parallel.
type roleEnds struct {
	mu   sync.Mutex
	ends map[any][]func() error
}

func (r *roleEnds) add(script any, end func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ends == nil {
		r.ends = map[any][]func() error{}
	}
	r.ends[script] = append(r.ends[script], end)
}

// forget returns the ends of a script's roles, and keeps them no more.
func (r *roleEnds) forget(script any) []func() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ends := r.ends[script]
	delete(r.ends, script)
	return ends
}

func setVariables(s Script, prefix string, variables [][2]string) {
	for _, v := range variables {
		s.Setenv(prefix+v[0], v[1])
		s.Logf("%s%s=%s\n", prefix, v[0], v[1])
	}
}

// awaitVariables waits until a supervisor has written its file.
func awaitVariables(file string) ([][2]string, error) {
	deadline := time.Now().Add(2 * settleTime)
	for {
		text, err := os.ReadFile(file)
		if err == nil {
			return parseVariables(string(text))
		}
		if !os.IsNotExist(err) || time.Now().After(deadline) {
			return nil, err
		}
		time.Sleep(time.Millisecond)
	}
}

// parseVariables reads what tell writes.
func parseVariables(text string) ([][2]string, error) {
	var variables [][2]string
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if name == "ERROR" {
			return nil, errors.New(value)
		}
		variables = append(variables, [2]string{name, value})
	}
	return variables, nil
}
