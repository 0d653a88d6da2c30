package report_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"stray/fdscan"
	"stray/inspect"
	"stray/report"
)

// listing adds descriptors to a machine.
type listing struct{ *machine }

// open adds a descriptor of a process.
func (l listing) open(p *fdscan.Process, fd int, kind *fdscan.Kind, flags uint32, link, target string) *fdscan.Descriptor {
	d := &fdscan.Descriptor{
		Process: p, FD: fd, Kind: kind, Link: link, Target: target, Inode: uint64(1000 + fd), Device: 64768, MountID: 27,
		CloseOnExec: new(fd > 2), Flags: &flags, Pos: new(int64(0)), Description: uint64(len(l.Descriptors) + 1),
	}
	l.Descriptors = append(l.Descriptors, d)
	return d
}

// result is what scan --fds tells.
func (l listing) result(pids ...int) *report.Result {
	for _, d := range l.Descriptors {
		last := len(l.Tables) - 1
		if last < 0 || l.Tables[last].Process != d.Process || l.Tables[last].TID != d.TID {
			l.Tables = append(l.Tables, &fdscan.Table{Process: d.Process, TID: d.TID, Limit: 1024, Kinds: map[string]int{}})
			last++
		}
		l.Tables[last].Open++
		l.Tables[last].Kinds[d.Kind.Name]++
	}
	return &report.Result{
		Version: "1.2.3", Command: "scan", Listed: append([]*fdscan.Descriptor{}, l.Descriptors...),
		Outcome: &inspect.Outcome{View: inspect.Judge(l.Snapshot), Complete: l.HoldersComplete, PIDs: pids},
	}
}

// Flags of open(2), as fdinfo tells them on amd64 and arm64.
const (
	readOnly, writeOnly, readWrite = 0, 1, 2
	appends, nonBlocking           = 0o2000, 0o4000
	pathOnly                       = 0o10000000
)

// aListing has what a list of descriptors can show, and a program that means
// harm.
func aListing() *report.Result {
	l := listing{newMachine()}
	web := l.process(812, "nginx: worker process", aged(1), user(33, "www-data"))
	app := l.process(900, "/srv/app --port 80\x1b[31m")
	app.Comm = "app\n)"
	null := l.open(web, 0, fdscan.Character, readWrite, "/dev/null", "device 1:3, mem")
	null.Device, null.Number = 6, 259
	log := l.open(web, 2, fdscan.Regular, writeOnly|appends, "/var/log/nginx/error.log", "")
	log.Deleted, log.Size, log.Allocated, log.Pos = true, new(int64(123456789)), new(int64(123457536)), new(int64(123456789))
	log.Locks = []fdscan.Lock{{Type: "FLOCK", Access: "WRITE", PID: 900, End: -1}, {Type: "POSIX", Access: "READ", PID: 812, Start: 5, End: 14}}
	pipe := l.open(web, 5, fdscan.Pipe, readOnly|nonBlocking, "pipe:[41877]", "")
	for fd := 4; fd < 10; fd++ {
		pipe.Peers = append(pipe.Peers, fdscan.Peer{Process: app, FD: fd})
	}
	pipe.MorePeers = 1994
	socket := l.open(web, 6, fdscan.InetSocket, readWrite|nonBlocking, "socket:[41878]", "tcp 127.0.0.1:80 → 127.0.0.1:40294 ESTABLISHED, 12 B unread")
	socket.Socket = l.socket(fdscan.TCP, fdscan.Established, "127.0.0.1:80", "127.0.0.1:40294", queues(12, 0))
	socket.Peers = []fdscan.Peer{{Process: web, FD: 7}}
	l.open(web, 7, fdscan.InetSocket, readWrite, "socket:[41879]", "tcp 127.0.0.1:40294 → 127.0.0.1:80 ESTABLISHED").Description = socket.Description
	poll := l.open(web, 8, fdscan.EventPoll, readWrite, "anon_inode:[eventpoll]", "watches fd 6 (tcp 127.0.0.1:80 → 127.0.0.1:40294 ESTABLISHED) for in edge; inode 5, once fd 9, which is closed for in")
	poll.Details = []fdscan.Detail{{Name: "tfd", Value: "6 events:       19 data: 6  pos:0 ino:a396 sdev:9"}, {Name: "tfd", Value: "9 events: 1 data: 9"}}
	unknown := l.open(web, 9, fdscan.Unknown, readWrite, "anon_inode:[tomorrow]", "")
	unknown.Flags, unknown.CloseOnExec, unknown.Pos = nil, nil, nil
	l.open(web, 10, fdscan.Directory, pathOnly, "/srv/\x1b]0;owned\a\u202e dir", "")
	own := l.open(web, 3, fdscan.EventFD, readWrite, "anon_inode:[eventfd]", "count 3, id 9")
	own.TID = 815
	for fd := range 3 {
		l.open(app, fd, fdscan.Unreadable, 0, "", "").Err = "operation not permitted"
	}
	l.open(app, 4, fdscan.Unreadable, 0, "", "").Err = "invalid argument"
	name := l.open(app, 5, fdscan.Regular, readOnly, "/tmp/\xff\xfe", "")
	name.Details = []fdscan.Detail{{Name: "name", Value: "a\tb\nc"}}
	name.Peers = []fdscan.Peer{{Process: app, TID: 901, FD: 3}}
	l.gap(fdscan.ScopeHolders, "read /proc/PID/fd", 77, "permission denied", "CAP_SYS_PTRACE")
	r := l.result()
	r.Outcome.Tables[2].Limit = math.MaxUint64
	r.Outcome.Tables[2].SharedWith = []int{904}
	return r
}

func TestListing(t *testing.T) {
	var b strings.Builder
	section := func(format string, s report.Style, flags string) {
		fmt.Fprintf(&b, "$ stray scan --fds%s\n%s\n", flags, render(t, aListing(), format, s))
	}
	section("table", report.Style{Headers: true}, "")
	section("table", report.Style{Headers: true, Width: 80}, " (80 columns)")
	section("table", report.Style{Headers: true, Width: 40}, " (40 columns)")
	section("wide", report.Style{Headers: true}, " -o wide")
	section("tsv", report.Style{Headers: true}, " -o tsv")
	compare(t, "listing.txt", b.String())
	compare(t, "listing.json", render(t, aListing(), "json", report.Style{}))
}

// Thousands of descriptors of one open file description are not all written in
// the row of each.
func TestCrowdedListing(t *testing.T) {
	l := listing{newMachine()}
	app := l.process(900, "app")
	for fd := range 40 {
		l.open(app, fd, fdscan.Pipe, readOnly, "pipe:[41877]", "").Description = 7
	}
	got := render(t, l.result(), "wide", report.Style{})
	if n := strings.Count(got, "fd 30, fd 31, 7 more"); n != 8 {
		t.Errorf("the last 8 rows say so in %d:\n%s", n, got)
	}
	if n := strings.Count(got, "fd 31, fd 32, 7 more"); n != 31 {
		t.Errorf("the first 31 rows say so in %d:\n%s", n, got)
	}
}

func TestListingFollowsTheSchema(t *testing.T) {
	whole, line := compile(t, "report"), compile(t, "line")
	for _, r := range []*report.Result{aListing(), (listing{newMachine()}).result()} {
		if err := validate(whole, render(t, r, "json", report.Style{})); err != nil {
			t.Error(err)
		}
		for text := range strings.Lines(render(t, r, "ndjson", report.Style{})) {
			if err := validate(line, text); err != nil {
				t.Errorf("line %s: %v", text, err)
			}
		}
	}
}

// What is filtered away leaves no empty table, and nothing at all says so.
func TestListingOfNothing(t *testing.T) {
	r := aListing()
	r.Listed = r.Listed[:1]
	page := render(t, r, "table", report.Style{})
	if !strings.Contains(page, "8 descriptors of 1024, 1 of them shown") || strings.Contains(page, "pid 900") {
		t.Errorf("page\n%s", page)
	}
	r.Listed = []*fdscan.Descriptor{}
	for complete, want := range map[bool]string{true: "no such descriptor\nnot seen: ", false: "not seen: "} {
		r.Outcome.Complete = complete
		if page := render(t, r, "table", report.Style{}); !strings.HasPrefix(page, want) {
			t.Errorf("page\n%s", page)
		}
	}
}
