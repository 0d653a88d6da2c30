package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stray/fdscan"
	"stray/inspect"
	"stray/report"
)

// day is a machine as scan sees it: a server that leaks descriptors, workers that
// are restarted, and what listens.
func day(later time.Duration, build func(m *machine)) *report.Document {
	m := newMachine("18080")
	build(m)
	r := m.answer()
	r.Command, r.Answer, r.Query = "scan", nil, nil
	r.Outcome.TakenAt = taken.Add(later)
	return report.NewDocument(r)
}

// table fills the descriptor table of a process.
func (m *machine) table(p *fdscan.Process, kinds map[string]int) {
	t := &fdscan.Table{Process: p, Kinds: kinds}
	for _, n := range kinds {
		t.Open += n
	}
	m.Tables = append(m.Tables, t)
}

func yesterday() *report.Document {
	return day(0, func(m *machine) {
		s := m.listen("0.0.0.0:18080")
		server := m.process(4180, "/srv/server", serves(s))
		hold(s, server, 5, false)
		m.table(server, map[string]int{"socket": 4, "pipe": 2, "file": 7})
		for pid := range 3 {
			m.table(m.process(500+pid, "/usr/sbin/worker"), map[string]int{"socket": 10})
		}
		m.table(m.process(900, "/usr/bin/steady"), map[string]int{"file": 3})
		m.table(m.process(950, "/usr/bin/brief"), map[string]int{"file": 3})
		hold(m.socket(fdscan.TCP, fdscan.CloseWait, "127.0.0.1:18080", "127.0.0.1:50000"), server, 6, false)
	})
}

func today() *report.Document {
	return day(26*time.Hour, func(m *machine) {
		s := m.listen("0.0.0.0:18080")
		server := m.process(4180, "/srv/server", serves(s))
		hold(s, server, 5, false)
		hold(s, m.process(4502, "sleep 3600", child(server), waits("clock_nanosleep")), 5, false)
		m.table(server, map[string]int{"socket": 5, "pipe": 802, "file": 6})
		for pid := range 4 {
			m.table(m.process(600+pid, "/usr/sbin/worker"), map[string]int{"socket": 11})
		}
		m.table(m.process(900, "/usr/bin/steady"), map[string]int{"file": 3})
		hold(m.socket(fdscan.TCP, fdscan.CloseWait, "127.0.0.1:18080", "127.0.0.1:50000"), server, 6, false)
		hold(m.socket(fdscan.TCP, fdscan.CloseWait, "127.0.0.1:18080", "127.0.0.1:50001"), server, 7, false)
		hold(m.listen("[::1]:18080"), server, 9, true)
	})
}

// reread is d as it comes out of a file.
func reread(t *testing.T, d *report.Document) *report.Document {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	read, err := report.ReadDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func TestDiff(t *testing.T) {
	var text strings.Builder
	for _, s := range []report.Style{{Headers: true}, {Headers: true, Width: 60}} {
		for _, sides := range [][2]*report.Document{{yesterday(), today()}, {today(), yesterday()}, {today(), today()}} {
			d := report.Compare("1.2.3", reread(t, sides[0]), reread(t, sides[1]))
			if err := report.WriteDiff(&text, d, s); err != nil {
				t.Fatal(err)
			}
			text.WriteString("\n")
		}
	}
	compare(t, "diff.txt", text.String())
	d := report.Compare("1.2.3", yesterday(), today())
	var document bytes.Buffer
	if err := report.WriteDiffJSON(&document, d); err != nil {
		t.Fatal(err)
	}
	compare(t, "diff.json", document.String())
	if !d.Fails(inspect.Error) || !d.Fails(inspect.Note) || d.Fails(inspect.Error+1) {
		t.Error("an error has appeared")
	}
}

// Whatever the reports are of, the difference follows the schema, is the same to
// the byte again, and of a report with itself is nothing.
func TestDiffsFollowTheSchema(t *testing.T) {
	whole, part := compile(t, ""), compile(t, "diff")
	var documents []*report.Document
	for _, sc := range scenes {
		documents = append(documents, report.NewDocument(sc.build().answer()))
	}
	documents = append(documents, yesterday(), today())
	for i, a := range documents {
		for _, b := range []*report.Document{a, documents[(i+1)%len(documents)], documents[(i+7)%len(documents)]} {
			var texts [2]bytes.Buffer
			for i := range texts {
				if err := report.WriteDiffJSON(&texts[i], report.Compare("1.2.3", a, b)); err != nil {
					t.Fatal(err)
				}
			}
			if texts[0].String() != texts[1].String() {
				t.Error("two comparisons differ")
			}
			for _, schema := range []interface{ Validate(v any) error }{whole, part} {
				var v any
				if err := json.Unmarshal(texts[0].Bytes(), &v); err != nil {
					t.Fatal(err)
				}
				if err := schema.Validate(v); err != nil {
					t.Error(err)
				}
			}
		}
		d := report.Compare("1.2.3", a, a)
		if len(d.Appeared)+len(d.Gone)+len(d.NotCompared)+len(d.Tables)+len(d.Listening)+len(d.Connections) > 0 {
			t.Errorf("%s differs from itself: %+v", scenes[min(i, len(scenes)-1)].name, d)
		}
	}
}

func TestDiffOfFindings(t *testing.T) {
	finding := func(print, severity string) report.Finding {
		return report.Finding{Rule: "FD102", Severity: severity, Fingerprint: print}
	}
	document := func(findings ...report.Finding) *report.Document {
		d := &report.Document{Findings: findings}
		d.Evaluated = []string{"FD102"}
		return d
	}
	names := func(findings []report.Finding) string {
		text := ""
		for _, f := range findings {
			text += f.Fingerprint + " " + f.Severity + "; "
		}
		return text
	}
	aWarning, aError, b := finding("a", "warning"), finding("a", "error"), finding("b", "note")
	for name, tt := range map[string]struct {
		before, after  *report.Document
		appeared, gone string
	}{
		"the same":            {document(aWarning, b), document(b, aWarning), "", ""},
		"one more":            {document(aWarning), document(aWarning, aWarning), "a warning; ", ""},
		"one less":            {document(aWarning, aWarning), document(aWarning), "", "a warning; "},
		"worse":               {document(aWarning), document(aError), "a error; ", ""},
		"milder":              {document(aError), document(aWarning), "", ""},
		"another":             {document(b), document(aError), "a error; ", "b note; "},
		"worse, and one more": {document(aWarning), document(aError, aWarning), "a error; ", ""},
	} {
		d := report.Compare("", tt.before, tt.after)
		if names(d.Appeared) != tt.appeared || names(d.Gone) != tt.gone {
			t.Errorf("%s: appeared %q, want %q; gone %q, want %q", name, names(d.Appeared), tt.appeared, names(d.Gone), tt.gone)
		}
	}
	// A rule that was not checked has nothing gone; what was suppressed is not new,
	// and what is suppressed now is not gone.
	unchecked := document()
	unchecked.Evaluated = nil
	suppressed := document()
	suppressed.Suppressed = []report.Suppressed{{Finding: aError, By: "ignore"}}
	for name, d := range map[string]*report.Diff{
		"not checked": report.Compare("", document(aError), unchecked), "suppressed before": report.Compare("", suppressed, document(aError)),
		"suppressed now": report.Compare("", document(aError), suppressed),
	} {
		if len(d.Appeared)+len(d.Gone) > 0 || slices.Contains(d.NotCompared, "FD102") != (name == "not checked") {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestReadDocumentErrors(t *testing.T) {
	for _, sc := range scenes {
		d := report.NewDocument(sc.build().answer())
		if diff := cmp.Diff(d, reread(t, d)); diff != "" {
			t.Errorf("%s (-written +read):\n%s", sc.name, diff)
		}
	}
	whole := render(t, scenes[0].build().answer(), "json", report.Style{})
	var failed bytes.Buffer
	if err := report.WriteError(&failed, "1.2.3", "scan", "no", "", 2); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                   "it is empty",
		" \n":                "it is empty",
		"who":                "it cannot be read: line 1: ",
		whole[:len(whole)/2]: "it cannot be read: line ",
		"[]":                 "it cannot be read: line 1: a JSON array is no value",
		"{}":                 "stray did not write it",
		whole + whole:        "it cannot be read: line ",
		render(t, scenes[1].build().answer(), "ndjson", report.Style{}):                 "it is ndjson: ",
		render(t, scenes[1].build().answer(), "sarif", report.Style{}):                  "stray did not write it",
		strings.Replace(whole, `"schema_version": "1.0"`, `"schema_version": "2.1"`, 1): "its schema version is 2.1, and this program reads 1.x",
		failed.String(): "it tells of a command that failed",
		`{"schema_version": "1.0", "baseline": []}`:                 "it is a baseline",
		`{"schema_version": "1.0", "abilities": []}`:                "it is of doctor",
		`{"schema_version": "1.0", "appeared": []}`:                 "it is of diff",
		`{"schema_version": "1.0"}`:                                 "it is no report",
		strings.Replace(whole, `"findings": [`, `"findings": {`, 1): "it cannot be read: line ",
	} {
		if d, err := report.ReadDocument([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q: %v, %v; want %s", text, d, err, want)
		}
	}
	later := strings.Replace(strings.Replace(whole, `"schema_version": "1.0"`, `"schema_version": "1.9"`, 1), `"findings": [`, `"more": 1, "findings": [`, 1)
	if _, err := report.ReadDocument([]byte(later)); err != nil {
		t.Errorf("a later version of the same major number: %v", err)
	}
}

// What only one of two reports was asked about is neither new nor gone.
func TestDiffOfOtherQuestions(t *testing.T) {
	const ours, theirs = "ours", "theirs"
	pid := func(pid int, program string) report.Asked {
		return report.Asked{PIDs: []int{pid}, Programs: []string{program}}
	}
	listener := func(port uint16) report.Socket {
		tcp, address := "tcp", "127.0.0.1"
		return report.Socket{Protocol: &tcp, State: "LISTEN", Local: report.Endpoint{Address: &address, Port: &port}, NetNSIsMine: true}
	}
	connection := func(mine bool) report.Socket {
		s := listener(8080)
		s.State, s.NetNSIsMine = "ESTABLISHED", mine
		return s
	}
	// Each side has a finding, a listener, a connection and a process of its own.
	document := func(side string, change func(d *report.Document)) *report.Document {
		d := &report.Document{Findings: []report.Finding{{Rule: "FD101", Severity: "error", Fingerprint: side}}}
		d.Command, d.Evaluated, d.Host.BootID = "scan", []string{"FD101"}, "boot"
		d.Sockets = []report.Socket{listener(uint16(8000 + len(side))), connection(true)}
		if side == theirs {
			d.Sockets = append(d.Sockets, connection(true), connection(false))
		}
		d.Tables = []report.Table{{PID: len(side), Open: 1, Kinds: map[string]int{"pipe": 1}, Process: report.Process{PID: len(side), Comm: side}}}
		change(d)
		return d
	}
	asked := func(a report.Asked) func(*report.Document) { return func(d *report.Document) { d.Asked = a } }
	query := func(words ...string) func(*report.Document) { return func(d *report.Document) { d.Query = words } }
	conns := func(all bool) func(*report.Document) {
		return func(d *report.Document) { d.Command, d.Asked.All = "conns", all }
	}
	everything := func(*report.Document) {}
	for name, tt := range map[string]struct {
		before, after func(d *report.Document)
		// What is compared: new findings, findings that are gone, tables that came
		// or went, listeners, connections.
		want string
	}{
		"everything":              {everything, everything, "new gone tables listeners"},
		"one process, then all":   {asked(pid(4, "web")), everything, "gone"},
		"all, then one process":   {everything, asked(pid(4, "web")), "new"},
		"the same process":        {asked(pid(4, "web")), asked(pid(4, "web")), "new gone tables listeners"},
		"its program, restarted":  {asked(pid(4, "web")), asked(pid(5, "web")), "new gone tables listeners"},
		"another program":         {asked(pid(4, "web")), asked(pid(5, "cron")), ""},
		"a process that is gone":  {asked(pid(4, "web")), asked(report.Asked{PIDs: []int{5}}), ""},
		"one port, then another":  {query("8080"), query("8081"), ""},
		"one port, then two":      {query("8080"), query("8081", "8080"), "gone"},
		"all, then one port":      {everything, query("8080"), "new"},
		"other limits":            {everything, asked(report.Asked{Limits: []string{"--pile 3"}}), ""},
		"the same other limits":   {asked(report.Asked{Limits: []string{"--pile 3"}}), asked(report.Asked{Limits: []string{"--pile 3"}}), "new gone tables listeners"},
		"deep, then at a glance":  {asked(report.Asked{Deep: true}), everything, "new"},
		"at a glance, then deep":  {everything, asked(report.Asked{Deep: true}), "gone"},
		"twice, then once":        {asked(report.Asked{Twice: true}), everything, ""},
		"all connections":         {conns(true), conns(true), "new gone tables listeners connections"},
		"those that are not well": {conns(false), conns(false), "new gone tables"},
		"another command":         {everything, conns(true), "new gone tables"},
		"nothing judged before":   {func(d *report.Document) { d.Evaluated = nil }, everything, "gone"},
		"starved before": {func(d *report.Document) {
			d.Evaluated, d.NotEvaluated = nil, []report.Unevaluated{{Rule: "FD101"}}
		}, everything, "gone tables listeners"},
		"a command, then the machine": {func(d *report.Document) { d.Run = &report.Run{} }, everything, ""},
		"no tables before":            {func(d *report.Document) { d.Tables = nil }, everything, "new gone listeners"},
	} {
		before, after := document(ours, tt.before), document(theirs, tt.after)
		d := report.Compare("", before, after)
		var got []string
		for _, part := range []struct {
			name string
			n    int
		}{{"new", len(d.Appeared)}, {"gone", len(d.Gone)}, {"tables", len(d.Tables)}, {"listeners", len(d.Listening)}, {"connections", len(d.Connections)}} {
			if part.n > 0 {
				got = append(got, part.name)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: compared %q, want %q", name, got, tt.want)
		}
		if left := len(d.Appeared) == 0 || len(d.Gone) == 0; left != slices.Contains(d.NotCompared, "FD101") && name != "nothing judged before" {
			t.Errorf("%s: not compared: %v", name, d.NotCompared)
		}
		var page strings.Builder
		if err := report.WriteDiff(&page, d, report.Style{}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(page.String(), "asked different things") == d.SameQuestion {
			t.Errorf("%s: same question: %v\n%s", name, d.SameQuestion, page.String())
		}
		for _, c := range d.Connections { // of this namespace only
			if c.Old != 1 || c.New != 2 {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
}

// Every format says what was asked about.
func TestQuestionIsTold(t *testing.T) {
	m := newMachine("18080")
	r := m.answer()
	r.Query = []string{"18080"}
	r.Outcome.Processes[4180] = &fdscan.Process{PID: 4180, Exe: "/srv/server"}
	r.Outcome.Asked = inspect.Scope{PIDs: []int{4180, 77}, Limits: []string{"--pile 3"}, Deep: true}
	for format, want := range map[string]string{
		"json": `"asked": {
    "pids": [
      4180,
      77
    ],
    "programs": [
      "server"
    ],
    "limits": [
      "--pile 3"
    ],
    "all": false,
    "deep": true,
    "twice": false
  }`,
		"junit":    `<property name="query" value="18080 -p 4180 -p 77 --pile 3 --deep"></property>`,
		"markdown": "# stray who 18080 -p 4180 -p 77 --pile 3 --deep\n",
	} {
		if text := render(t, r, format, report.Style{}); !strings.Contains(text, want) {
			t.Errorf("%s lacks %s:\n%s", format, want, text)
		}
	}
}

// Listeners that came are before those that went, by protocol and port, however
// many share an address.
func TestOrderOfListeners(t *testing.T) {
	listener := func(protocol, address string, port uint16) report.Socket {
		s := report.Socket{Protocol: &protocol, State: "LISTEN", NetNSIsMine: true}
		if protocol == "unix" {
			s.Local.Path = &address
		} else {
			s.Local = report.Endpoint{Address: &address, Port: &port}
		}
		return s
	}
	some := []report.Socket{
		listener("unix", "/run/x", 0), listener("tcp", "0.0.0.0", 10_000), listener("tcp", "0.0.0.0", 10_000), listener("tcp", "0.0.0.0", 9000), listener("udp", "0.0.0.0", 53),
	}
	for name, sides := range map[string][2][]report.Socket{"came": {nil, some}, "went": {some, nil}} {
		var documents [2]report.Document
		for i := range documents {
			documents[i].Command, documents[i].Evaluated, documents[i].Sockets = "scan", []string{"FD101"}, append(sides[i], listener("tcp", "::1", uint16(1+i)))
		}
		var got []string
		for _, c := range report.Compare("", &documents[0], &documents[1]).Listening {
			word := c.Protocol
			if c.Local.Port != nil {
				word = fmt.Sprintf("%s:%d", word, *c.Local.Port)
			}
			got = append(got, word)
		}
		want := map[string]string{"came": "tcp:2 tcp:9000 tcp:10000 udp:53 unix tcp:1", "went": "tcp:2 tcp:1 tcp:9000 tcp:10000 udp:53 unix"}[name]
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
}

// A list of descriptors tells kinds apart that are one where they are judged: that
// is no growth.
func TestDiffOfListAndScan(t *testing.T) {
	document := func(evaluated []string, kinds map[string]int) *report.Document {
		open := 0
		for _, n := range kinds {
			open += n
		}
		d := &report.Document{Tables: []report.Table{{PID: 4, Open: open, Kinds: kinds, Process: report.Process{PID: 4, Comm: "web"}}}}
		d.Command, d.Host.BootID, d.Evaluated = "scan", "boot", evaluated
		return d
	}
	judged := []string{"FD101"}
	list := document(nil, map[string]int{"character": 3, "regular": 1, "inet": 2, "pipe": 1})
	if d := report.Compare("", list, document(judged, map[string]int{"file": 4, "socket": 2, "pipe": 1})); len(d.Tables) != 0 {
		t.Errorf("%+v", d.Tables)
	}
	want := []report.KindChange{{Kind: "socket", Change: report.Change{Old: 2, New: 9}}}
	if d := report.Compare("", list, document(judged, map[string]int{"file": 4, "socket": 9, "pipe": 1})); len(d.Tables) != 1 || !slices.Equal(d.Tables[0].Kinds, want) {
		t.Errorf("%+v", d.Tables)
	}
	// Two lists are compared by their own words.
	want = []report.KindChange{{Kind: "regular", Change: report.Change{Old: 1, New: 2}}, {Kind: "character", Change: report.Change{Old: 3, New: 2}}}
	if d := report.Compare("", list, document(nil, map[string]int{"character": 2, "regular": 2, "inet": 2, "pipe": 1})); len(d.Tables) != 1 || !slices.Equal(d.Tables[0].Kinds, want) {
		t.Errorf("%+v", d.Tables)
	}
}
