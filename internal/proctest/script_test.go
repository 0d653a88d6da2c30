package proctest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// script is a *testscript.TestScript as far as the commands know it. What ends
// a script there, ends the command here.
type script struct {
	directory string
	variables map[string]string
	deferred  []func()
	failure   string
}

type failed struct{}

func (s *script) Defer(f func())           { s.deferred = append(s.deferred, f) }
func (s *script) Logf(string, ...any)      {}
func (s *script) MkAbs(file string) string { return filepath.Join(s.directory, file) }

func (s *script) Setenv(key, value string) {
	if s.variables == nil {
		s.variables = map[string]string{}
	}
	s.variables[key] = value
}

func (s *script) Fatalf(format string, args ...any) {
	s.failure = fmt.Sprintf(format, args...)
	panic(failed{})
}

var scriptCommands = ScriptCommands[*script]()

// run runs a command, up to its failure.
func (s *script) run(command string, args ...string) {
	defer func() {
		if r := recover(); r != nil && r != (failed{}) {
			panic(r)
		}
	}()
	scriptCommands[command](s, false, args)
}

func (s *script) end() {
	for _, f := range s.deferred {
		f()
	}
}

func TestScriptHold(t *testing.T) {
	s := &script{}
	s.run("hold", "listen", "tcp4", "127.0.0.1:0", "name=web", ";", "fork", "{", "fork", "{", "}", "}")
	s.run("hold", "B_=", "bind udp4 127.0.0.1:0; dup fd=9 name=copy")
	if s.failure != "" {
		t.Fatal(s.failure)
	}
	v := s.variables
	link := "socket:[" + v["INODE"] + "]"
	for _, name := range []string{"PID", "CHILD", "CHILD2"} {
		if got := links("/proc/" + v[name])[3]; got != link || v["FD"] != "3" || v["WEB_FD"] != "3" {
			t.Errorf("%s=%s holds %s as 3, and FD=%s", name, v[name], got, v["FD"])
		}
	}
	if v["B_COPY_FD"] != "9" || v["B_COPY_INODE"] != v["B_INODE"] || v["B_PORT"] == "" || v["B_NETNS"] != v["NETNS"] {
		t.Errorf("variables %v", v)
	}
	if connection, err := net.Dial("tcp", "127.0.0.1:"+v["WEB_PORT"]); err != nil {
		t.Error(err)
	} else {
		connection.Close()
	}

	s.run("release")
	for _, name := range []string{"PID", "CHILD", "CHILD2", "B_PID"} {
		if _, err := os.Stat("/proc/" + v[name]); !os.IsNotExist(err) {
			t.Errorf("after release, %s is there: %v", name, err)
		}
	}
	port, _ := strconv.Atoi(v["PORT"])
	if err := canBind(t, port); err != nil {
		t.Errorf("bind after release: %v", err)
	}
	s.end()
}

// The end of a script is the end of its roles, and of no other script's.
func TestScriptEnd(t *testing.T) {
	var one, other script
	one.run("hold", "listen tcp4 127.0.0.1:0")
	other.run("hold", "listen tcp4 127.0.0.1:0")
	one.end()
	if _, err := os.Stat("/proc/" + one.variables["PID"]); !os.IsNotExist(err) {
		t.Errorf("the role is there: %v", err)
	}
	one.run("release") // of nothing
	if _, err := os.Stat("/proc/" + other.variables["PID"]); err != nil {
		t.Errorf("the other script's role: %v", err)
	}
	other.end()
}

func TestScriptFailures(t *testing.T) {
	for _, tt := range []struct {
		command string
		args    []string
		want    string
	}{
		{"hold", nil, "usage: hold [PREFIX=] SCRIPT…"},
		{"hold", []string{"nosuch"}, `hold: unknown operation "nosuch"`},
		{"hold", []string{"close", "x"}, `hold: close x: there is no descriptor "x"`},
		{"release", []string{"x"}, "usage: release"},
		{"waitfor", nil, "usage: waitfor FILE [PREFIX=]"},
	} {
		var s script
		if s.run(tt.command, tt.args...); s.failure != tt.want {
			t.Errorf("%s %q fails with %q, want %q", tt.command, tt.args, s.failure, tt.want)
		}
		s.end()
	}
}
