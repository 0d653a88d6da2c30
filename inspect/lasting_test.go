package inspect

import "testing"

func TestLastingName(t *testing.T) {
	for name, want := range map[string]string{
		"/var/log/app/access.log":                   "app/access.log",
		"/var/log/app/access.log.17":                "app/access.log.*",
		"/tmp/tmpx7f2k1q9":                          "tmp/*",
		"/tmp/go-build1234567/b001/exe":             "b001/exe",
		"/tmp/ssh-XXXabCDeF/agent.4711":             "ssh-*/agent.*",
		"/home/dev/src/app/data.db":                 "app/data.db",
		"/builds/42/app/data.db":                    "app/data.db",
		"/run/user/1000/bus":                        "*/bus",
		"/memfd:cache":                              "/memfd:cache",
		"/tmp/#1048577":                             "tmp/#*",
		"/SYSV00000000":                             "/*",
		"/dev/shm/6ba7b810-9dad-11d1-80b4-00c04fd4": "shm/*-9dad-11d1-80b4-*",
		"/x":   "/x",
		"@bus": "@bus",
	} {
		if got := lastingName(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
