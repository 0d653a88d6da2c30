package rules_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

// checked are the findings of a command that was followed.
func checked(run *inspect.Run) *inspect.Outcome {
	run.Argv = []string{"make", "test"}
	snap := &fdscan.Snapshot{Processes: map[int]*fdscan.Process{}, TablesComplete: true, HoldersComplete: true}
	return inspect.Check(snap, run, rules.All())
}

// ran is a process with a command line.
func ran(pid int, words ...string) *fdscan.Process {
	p := process(pid, 1, words[0])
	p.Cmdline = words
	return p
}

// got is what a program got from another one.
func got(d *fdscan.Descriptor) *fdscan.Crossing {
	d.Process = ran(11, "sleep", "60")
	return &fdscan.Crossing{Descriptor: d, From: ran(10, "server", "--port", "80"), Count: 1, Into: []string{"sleep"}}
}

func listener() *fdscan.Descriptor {
	return &fdscan.Descriptor{FD: 5, Kind: fdscan.AnySocket, Link: "socket:[77]", Inode: 77, Socket: &fdscan.Socket{
		Protocol: fdscan.TCP, Family: fdscan.Inet, State: fdscan.Listen, Inode: 77, NetNSMine: true,
		Local: fdscan.Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 8080},
	}}
}

func regular(fd int, path string) *fdscan.Descriptor {
	return &fdscan.Descriptor{FD: fd, Kind: fdscan.Regular, Link: path}
}

func TestWhatARunCrosses(t *testing.T) {
	many, plumbing := got(regular(3, "/srv/data")), got(regular(4, "/srv/config.log"))
	many.Count, many.Into = 500, []string{"cc1", "sh", "sleep"}
	closed, half := got(listener()), got(listener())
	closed.Count, closed.Closed, half.Count, half.Closed = 2, 2, 2, 1
	plumbing.Plumbing = "a redirection of the script ./configure"
	for name, tt := range map[string]struct {
		crossing *fdscan.Crossing
		want     string
	}{
		"listener":   {got(listener()), `FD101 error 11: pid 11 (sleep) carries the listener 127.0.0.1:8080 of pid 10 (server) across the exec of "sleep 60": fd 5 lacks FD_CLOEXEC`},
		"closed":     {closed, `FD101 note 11: pid 11 (sleep) carries the listener 127.0.0.1:8080 of pid 10 (server) across the exec of "sleep 60": fd 5 lacks FD_CLOEXEC; and so does 1 more (sleep)`},
		"not all":    {half, `FD101 error 11: pid 11 (sleep) carries the listener 127.0.0.1:8080 of pid 10 (server) across the exec of "sleep 60": fd 5 lacks FD_CLOEXEC; and so does 1 more (sleep)`},
		"file":       {got(regular(3, "/srv/data")), `FD105 error 11: pid 11 (sleep) carries fd 3, the file /srv/data of pid 10 (server), across the exec of "sleep 60": it lacks FD_CLOEXEC`},
		"many":       {many, `FD105 error 11: pid 11 (sleep) carries fd 3, the file /srv/data of pid 10 (server), across the exec of "sleep 60": it lacks FD_CLOEXEC; and so do 499 more (cc1, sh, sleep)`},
		"script":     {plumbing, `FD105 note 11: pid 11 (sleep) carries fd 4, the file /srv/config.log of pid 10 (server), across the exec of "sleep 60": it lacks FD_CLOEXEC`},
		"pipe":       {got(&fdscan.Descriptor{FD: 3, Kind: fdscan.Pipe, Link: "pipe:[5]", Inode: 5}), `FD105 error 11: pid 11 (sleep) carries fd 3, a pipe of pid 10 (server), across the exec of "sleep 60": it lacks FD_CLOEXEC`},
		"no content": {got(regular(3, "/dev/null")), `FD105 note 11: pid 11 (sleep) carries fd 3, the device /dev/null of pid 10 (server), across the exec of "sleep 60": it lacks FD_CLOEXEC`},
	} {
		o := checked(&inspect.Run{Crossings: []*fdscan.Crossing{tt.crossing}})
		if diff := cmp.Diff([]string{tt.want}, texts(o.Findings)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A finding is known again in the next run, in which every number is another.
func TestFingerprintsOfRuns(t *testing.T) {
	print := func(pid, fd int, path string) string {
		c := got(regular(fd, path))
		c.Process.PID, c.From.PID = pid, pid-1
		return checked(&inspect.Run{Crossings: []*fdscan.Crossing{c}}).Findings[0].Fingerprint
	}
	if print(20, 3, "/srv/data") != print(30, 4, "/srv/data") || print(20, 3, "/srv/data") == print(20, 3, "/srv/other") {
		t.Error("a fingerprint depends on numbers, or not on the file")
	}
}

func TestFD201(t *testing.T) {
	open := func(signal, count int) *fdscan.Unclosed {
		d := regular(7, "/srv/data")
		d.Process = ran(10, "server")
		return &fdscan.Unclosed{Descriptor: d, Signal: signal, Count: count}
	}
	for _, tt := range []struct {
		run  inspect.Run
		want []string
	}{
		{inspect.Run{}, nil},
		{inspect.Run{Unclosed: []*fdscan.Unclosed{open(0, 1)}}, []string{"FD201 note 10: pid 10 (server) ended with fd 7 open, the file /srv/data"}},
		{inspect.Run{Unclosed: []*fdscan.Unclosed{open(0, 3)}, OpenAtExit: true}, []string{"FD201 error 10: pid 10 (server) ended with fd 7 open, the file /srv/data; 3 processes of this program did"}},
		{inspect.Run{Unclosed: []*fdscan.Unclosed{open(9, 1)}, OpenAtExit: true}, []string{"FD201 note 10: pid 10 (server) ended by signal 9 with fd 7 open, the file /srv/data"}},
	} {
		if diff := cmp.Diff(tt.want, texts(checked(&tt.run).Findings), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestFD202(t *testing.T) {
	p := ran(12, "daemon")
	for _, tt := range []struct {
		survivor fdscan.Survivor
		want     string
	}{
		{fdscan.Survivor{}, "FD202 warning 12: pid 12 (daemon) outlives the command"},
		{
			fdscan.Survivor{Streams: []string{"stdout"}},
			"FD202 error 12: pid 12 (daemon) outlives the command and holds its stdout: whoever reads that to its end waits for the process",
		},
		{
			fdscan.Survivor{Streams: []string{"stdout and stderr"}, Ports: []*fdscan.Descriptor{listener()}, Locked: []*fdscan.Descriptor{regular(9, "/run/x.lock")}},
			"FD202 error 12: pid 12 (daemon) outlives the command and holds the tcp listener 127.0.0.1:8080 (fd 5), a lock on /run/x.lock (fd 9) and its stdout and stderr: whoever reads that to its end waits for the process",
		},
	} {
		tt.survivor.Process = p
		o := checked(&inspect.Run{Survivors: []*fdscan.Survivor{&tt.survivor}})
		if diff := cmp.Diff([]string{tt.want}, texts(o.Findings)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if o.Findings[0].Next[0] != "kill 12" {
			t.Errorf("next: %q", o.Findings[0].Next)
		}
	}
}

// What could not be seen is no proof of anything.
func TestStarvedRuns(t *testing.T) {
	starved := func(run *inspect.Run) (ids []string) {
		for _, u := range checked(run).NotEvaluated {
			ids = append(ids, u.Rule.ID)
		}
		return ids
	}
	if diff := cmp.Diff([]string{"FD201"}, starved(&inspect.Run{Sampled: true})); diff != "" {
		t.Errorf("sampled (-want +got):\n%s", diff)
	}
	unread := []fdscan.Gap{{PID: 7, Err: "permission denied"}}
	if diff := cmp.Diff([]string{"FD105", "FD201", "FD202"}, starved(&inspect.Run{Unread: unread})); diff != "" {
		t.Errorf("unread (-want +got):\n%s", diff)
	}
}
