package inspect_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
)

// gateScene is an outcome with findings of each kind that a match can tell
// apart. Its rules were all run, over everything.
func gateScene() *inspect.Outcome {
	process := func(pid int, exe, user string, uid uint32, unit string) *fdscan.Process {
		return &fdscan.Process{PID: pid, Exe: exe, Comm: exe[strings.LastIndex(exe, "/")+1:], User: user, UID: uid, Unit: unit}
	}
	sleep := process(11, "/usr/bin/sleep", "dev", 1000, "")
	web := process(12, "/srv/app/bin/web", "www-data", 33, "web.service")
	web.Comm = "web: worker"
	web.Container = "docker:0123456789ab"
	tcp := &inspect.Socket{Socket: &fdscan.Socket{Protocol: fdscan.TCP, State: fdscan.Listen, Inode: 41877, Local: fdscan.Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 8080}}}
	peer := &inspect.Socket{Socket: &fdscan.Socket{
		Protocol: fdscan.TCP, State: fdscan.CloseWait, Inode: 41878, Local: fdscan.Endpoint{Addr: netip.MustParseAddr("10.0.0.1"), Port: 8081},
		Remote: fdscan.Endpoint{Addr: netip.MustParseAddr("192.0.2.7"), Port: 443},
	}}
	unix := &inspect.Socket{Socket: &fdscan.Socket{Protocol: fdscan.Unix, State: fdscan.Listen, Inode: 41879, Local: fdscan.Endpoint{Path: "/run/app/x.sock"}}}
	kind := func(name string) *fdscan.Kind {
		all := fdscan.Kinds()
		return all[slices.IndexFunc(all, func(k *fdscan.Kind) bool { return k.Name == name })]
	}
	o := &inspect.Outcome{
		View: &inspect.View{
			Snapshot: &fdscan.Snapshot{
				TakenAt: time.Date(2026, 6, 30, 23, 59, 59, 0, time.UTC),
				Descriptors: []*fdscan.Descriptor{
					{Process: web, FD: 7, Kind: kind("pipe"), Link: "pipe:[41877]", Inode: 41877}, // the inode of a socket, elsewhere
					{Process: web, FD: 8, Kind: kind("regular"), Link: "/var/log/app/access.log", Inode: 5, From: sleep},
				},
			},
			Sockets: []*inspect.Socket{tcp, peer, unix},
		},
		Complete: true, Evaluated: rules.All(),
	}
	add := func(rule string, severity inspect.Severity, p *fdscan.Process, fd int, inode uint64, print string) {
		o.Findings = append(o.Findings, inspect.Finding{
			Rule: rules.Find(rule), Severity: severity, Process: p, FD: fd, Inode: inode, Message: fmt.Sprintf("pid %d fd %d", p.PID, fd), Fingerprint: print,
		})
	}
	add("FD101", inspect.Error, sleep, 3, 41877, "tcp")
	add("FD101", inspect.Error, sleep, 4, 41878, "peer")
	add("FD101", inspect.Error, sleep, 5, 41879, "unix")
	add("FD101", inspect.Error, web, 7, 41877, "pipe")
	add("FD101", inspect.Error, web, 8, 5, "file")
	o.Findings = append(o.Findings, inspect.Finding{Rule: rules.Find("FD101"), Severity: inspect.Warning, FD: -1, Message: "of nobody", Fingerprint: "nobody"})
	add("FD102", inspect.Warning, sleep, 3, 41877, "other rule")
	return o
}

func prints(findings []inspect.Finding) (all []string) {
	for _, f := range findings {
		all = append(all, f.Fingerprint)
	}
	return all
}

func suppressed(o *inspect.Outcome) (all []string) {
	for _, s := range o.Suppressed {
		all = append(all, s.Fingerprint)
	}
	return all
}

// ignoring reads an ignore file.
func ignoring(t *testing.T, text string) []*inspect.Ignore {
	t.Helper()
	s, err := inspect.ParseSettings([]byte(text), rules.Find)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s.Ignore
}

func TestMatch(t *testing.T) {
	for match, want := range map[string]string{
		"":                                "tcp peer unix pipe file nobody",
		"{program: sleep}":                "tcp peer unix",
		"{program: 'sl*'}":                "tcp peer unix",
		"{program: '?leep'}":              "tcp peer unix",
		"{program: leep}":                 "",
		"{program: /usr/bin/sleep}":       "tcp peer unix",
		"{program: '/usr/*'}":             "",
		"{program: '/usr/**'}":            "tcp peer unix",
		"{program: '/srv/*/bin/web'}":     "pipe file",
		"{program: 'web: *'}":             "pipe file", // its name for itself
		"{program: '[a-z]*'}":             "",          // no classes
		"{from: sleep}":                   "file",
		"{from: web}":                     "",
		"{user: www-data}":                "pipe file",
		"{user: 33}":                      "pipe file",
		"{user: root}":                    "",
		"{unit: 'web.*'}":                 "pipe file",
		"{container: 'docker:*'}":         "pipe file",
		"{port: 8080}":                    "tcp",
		"{port: 8080-8090}":               "tcp peer",
		"{port: 443}":                     "",
		"{address: 127.0.0.1}":            "tcp",
		"{address: 127.0.0.0/8}":          "tcp",
		"{address: 10.1.2.3/8}":           "peer",
		"{address: '::1'}":                "",
		"{peer: 192.0.2.0/24}":            "peer",
		"{path: /run/app/x.sock}":         "unix",
		"{path: '/run/**'}":               "unix",
		"{path: '/var/log/*/*.log'}":      "file",
		"{path: '/var/log/*.log'}":        "",
		"{path: 'pipe:*'}":                "pipe",
		"{kind: pipe}":                    "pipe",
		"{kind: socket}":                  "tcp peer unix",
		"{kind: inet}":                    "tcp peer",
		"{kind: unix}":                    "unix",
		"{kind: regular, program: web}":   "file",
		"{kind: regular, program: sleep}": "",
	} {
		o := gateScene()
		before := len(o.Findings)
		if match != "" {
			match = ", match: " + match
		}
		o.Ignore(ignoring(t, "ignore:\n  - {rule: FD101, reason: r"+match+"}\n"))
		if diff := cmp.Diff(strings.Fields(want), suppressed(o), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", match, diff)
		}
		if len(o.Findings)+len(o.Suppressed) != before {
			t.Errorf("%s: %d findings, %d suppressed, of %d", match, len(o.Findings), len(o.Suppressed), before)
		}
		for _, s := range o.Suppressed {
			if s.By != inspect.ByIgnore || s.Reason != "r" {
				t.Errorf("%s: %+v", match, s)
			}
		}
	}
}

// A finding about several things is ignored when an entry is about each of them.
func TestMatchOfSeveral(t *testing.T) {
	for match, want := range map[string]string{
		"{program: web}":    "descriptors",
		"{kind: pipe}":      "",
		"{kind: regular}":   "",
		"{port: 8080}":      "",
		"{port: 8080-8081}": "sockets",
		"{kind: inet}":      "sockets",
	} {
		o := gateScene()
		web := o.Descriptors[0].Process
		o.Findings = []inspect.Finding{
			{Rule: rules.Find("FD105"), Process: web, FD: 7, Descriptors: o.Descriptors, Fingerprint: "descriptors"},
			{Rule: rules.Find("FD105"), FD: -1, Sockets: o.Sockets[:2], Fingerprint: "sockets"},
		}
		o.Ignore(ignoring(t, "ignore:\n  - {rule: FD105, reason: r, match: "+match+"}\n"))
		if diff := cmp.Diff(strings.Fields(want), suppressed(o), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", match, diff)
		}
	}
}

// An entry holds through the day that it names. After that its findings count
// again, and that is said; so is what is of no use.
func TestIgnoreRemarks(t *testing.T) {
	const file = `ignore:
  - {rule: FD101, reason: r, match: {port: 8080}, expires: 2026-06-30}
  - {rule: FD101, reason: r, match: {port: 9999}}
  - {rule: FD101, reason: r, match: {port: 9999}, expires: 2026-06-29}
  - {rule: FD102, reason: r, expires: 2026-06-29}
  - {rule: FD101, reason: again, match: {port: 8080}}
`
	remarks := func(change func(o *inspect.Outcome)) (all []string, o *inspect.Outcome) {
		o = gateScene()
		change(o)
		for _, r := range o.Ignore(ignoring(t, file)) {
			all = append(all, fmt.Sprintf("%d: %s", r.Line, r.Text))
		}
		return all, o
	}
	nothing := "3: the entry for FD101 ignores nothing without scan --deep, and may go"
	over := "4: the entry for FD101 held until 2026-06-29, and may go"
	again := "5: the entry for FD102 held until 2026-06-29: what it ignored counts again"
	for name, tt := range map[string]struct {
		change func(o *inspect.Outcome)
		want   []string
	}{
		"on the last day":      {func(*inspect.Outcome) {}, []string{nothing, over, again}},
		"on the day after":     {func(o *inspect.Outcome) { o.TakenAt = o.TakenAt.Add(time.Second) }, []string{"2: the entry for FD101 held until 2026-06-30: what it ignored counts again", nothing, over, again}},
		"not all was seen":     {func(o *inspect.Outcome) { o.Complete = false }, []string{over, again}},
		"the rule was not run": {func(o *inspect.Outcome) { o.Evaluated = nil }, []string{over, again}},
		"deep":                 {func(o *inspect.Outcome) { o.Asked.Deep = true }, []string{"3: the entry for FD101 ignores nothing, and may go", over, again}},
		"some processes only":  {func(o *inspect.Outcome) { o.Asked.PIDs = []int{11} }, []string{over, again}},
		"some ports only":      {func(o *inspect.Outcome) { o.Asked.Targets = []string{"443"} }, []string{over, again}},
		"a process that has ended": {func(o *inspect.Outcome) {
			o.Processes = map[int]*fdscan.Process{}
			findings := o.Findings
			descriptors := slices.Clone(o.Descriptors)
			o.Findings = nil
			o.Limit([]int{99})
			o.Descriptors = descriptors
			o.Findings = findings
		}, []string{over, again}},
	} {
		got, o := remarks(tt.change)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		// Two entries are about it, and one suffices.
		if diff := cmp.Diff([]string{"tcp"}, suppressed(o)); diff != "" {
			t.Errorf("%s: suppressed (-want +got):\n%s", name, diff)
		}
	}
}
