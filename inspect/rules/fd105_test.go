package rules_test

import (
	"slices"
	"testing"

	"stray/fdscan"
)

func TestFD105(t *testing.T) {
	no := false
	server, sleep := process(10, 1, "server"), process(11, 10, "sleep")
	carried := func(fd int, kind *fdscan.Kind, link string) *fdscan.Descriptor {
		return &fdscan.Descriptor{Process: sleep, FD: fd, Kind: kind, Link: link, CloseOnExec: &no, From: server}
	}
	stray := func() *machine {
		m := newMachine(server, sleep)
		m.Descriptors = []*fdscan.Descriptor{carried(3, fdscan.Pipe, "pipe:[77]"), carried(5, fdscan.Regular, "/srv/app.log")}
		return m
	}
	fs := stray().says(t, "FD105 warning 11: pid 11 (sleep) carries 2 descriptors of pid 10 (server) across exec: fd 3 pipe, fd 5 /srv/app.log")
	if !slices.Contains(fs[0].Next, "stray scan --fds -p 11") {
		t.Errorf("next %q", fs[0].Next)
	}
	for name, known := range map[string]func(m *machine){
		"named":                  func(*machine) { sleep.Evidence.HandOvers = map[int]string{3: "argument", 5: "argument"} },
		"waited for":             func(*machine) { sleep.Evidence.Waits[0].Suspects = []int{3, 5} },
		"waited for by a parent": func(*machine) { server.Evidence.Waits[0].Call = "wait4" },
		"not compared": func(m *machine) {
			for _, d := range m.Descriptors {
				d.From = nil
			}
		},
		"standard": func(m *machine) { m.Descriptors = []*fdscan.Descriptor{carried(2, fdscan.Pipe, "pipe:[77]")} },
	} {
		t.Run(name, func(t *testing.T) {
			evidence, waits := *sleep.Evidence, slices.Clone(server.Evidence.Waits)
			sleep.Evidence.Waits = slices.Clone(sleep.Evidence.Waits)
			m := stray()
			known(m)
			m.says(t)
			*sleep.Evidence, server.Evidence.Waits = evidence, waits
		})
	}
	m := stray()
	m.Descriptors[1].Locks = []fdscan.Lock{{Type: "FLOCK", Access: "WRITE"}}
	fs = m.says(t, "FD105 warning 11: pid 11 (sleep) carries 2 descriptors of pid 10 (server) across exec: fd 3 pipe, fd 5 /srv/app.log, locked")
	if !slices.Contains(fs[0].Evidence, "fd 5 keeps a lock, FLOCK WRITE: it lasts until the last copy is closed, or one is unlocked") {
		t.Errorf("evidence %q", fs[0].Evidence)
	}
	m = stray()
	m.Descriptors = []*fdscan.Descriptor{carried(3, fdscan.Regular, "/dev/null")}
	m.says(t, "FD105 note 11: pid 11 (sleep) carries a descriptor of pid 10 (server) across exec: fd 3 /dev/null")
}
