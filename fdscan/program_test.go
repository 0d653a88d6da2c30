package fdscan_test

import (
	"testing"

	"stray/fdscan"
)

func TestProgramName(t *testing.T) {
	for _, tt := range []struct {
		exe, comm string
		cmdline   []string
		want      string
	}{
		{"/usr/bin/sleep", "sleep", []string{"sleep", "1"}, "sleep"},
		{"/usr/bin/redis-check-rdb", "redis-server", []string{"/usr/bin/redis-server 127.0.0.1:6379"}, "redis-server"},
		{"/bin/busybox", "sleep", []string{"/bin/sleep", "9"}, "sleep"},
		{"/bin/bash", "bash", []string{"-bash"}, "bash"},
		{"/opt/a-program-with-a-long-name", "a-program-with-", []string{"./a-program-with-a-long-name"}, "a-program-with-a-long-name"},
		{"/usr/bin/python3.12", "serve.py", []string{"/usr/bin/python3", "/srv/serve.py"}, "python3.12"},
		{"/usr/sbin/nginx", "nginx", []string{"nginx: worker process"}, "nginx"},
		{"/usr/bin/node", "MainThread", []string{"node", "x.js"}, "node"},
		{"/usr/bin/node", "node", nil, "node"},
		{"", "redis-server", []string{"anything"}, "redis-server"},
		{"/srv/web", "", []string{""}, "web"},
	} {
		if got := fdscan.ProgramName(tt.exe, tt.comm, tt.cmdline); got != tt.want {
			t.Errorf("%s, %s, %q: %q, want %q", tt.exe, tt.comm, tt.cmdline, got, tt.want)
		}
	}
}
