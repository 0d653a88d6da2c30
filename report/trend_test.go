package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/report"
)

// growing is the outcome of check -p for a process that leaks connections.
func growing(past *inspect.Past) *report.Result {
	p := &fdscan.Process{PID: 4180, PPID: 1, Comm: "server", Exe: "/srv/server", StartTime: time.Unix(1000, 0).UTC(), NSPIDs: []int{4180}, User: "dev"}
	t := &fdscan.Table{Process: p, Limit: 1024}
	for i := range 41 {
		t.Open = 10 + i
		t.Looks = append(t.Looks, fdscan.Look{At: time.Unix(int64(i), 0), Open: t.Open, Items: map[fdscan.Item]int{{Kind: "tcp", Target: "to 10.0.0.5:5432"}: i, {Kind: "regular", Target: "/var/lib/…"}: 10}})
	}
	t.Kinds = map[string]int{"socket": 40, "regular": 10}
	snap := &fdscan.Snapshot{TakenAt: time.Unix(2000, 0).UTC(), Tables: []*fdscan.Table{t}, Processes: map[int]*fdscan.Process{4180: p}, TablesComplete: true, HoldersComplete: true}
	snap.Host = fdscan.Host{Name: "host", Kernel: "6.18.0", BootID: "boot"}
	return &report.Result{Version: "0", Command: "check", Outcome: inspect.Watched(snap, []int{4180}, past, rules.All())}
}

func TestTrendPage(t *testing.T) {
	var b bytes.Buffer
	if err := report.Find("table").Write(&b, growing(nil), report.Style{Headers: true}); err != nil {
		t.Fatal(err)
	}
	want := `PID   COMMAND  FIRST  NOW  A MINUTE  LIMIT  REACHED IN
4180  server   10     50   +60       1024   16m

FD203 error    pid 4180 (server) opens tcp sockets to 10.0.0.5:5432 and does not close them: 0 → 40 in 40s, 60 a minute; RLIMIT_NOFILE (1024) is reached in 16m
`
	if !strings.HasPrefix(b.String(), want) {
		t.Errorf("%s", b.String())
	}
}

// What -o json writes, --since reads.
func TestReadPast(t *testing.T) {
	var b bytes.Buffer
	if err := report.Find("json").Write(&b, growing(nil), report.Style{}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	past, err := report.ReadPast(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	now := growing(past)
	then := past.Of(now.Outcome.Host, now.Outcome.Tables[0])
	if then == nil || then.Open != 50 || then.Kinds["socket"] != 40 || then.Process.Exe != "/srv/server" || past.BootID != "boot" || !past.TakenAt.Equal(time.Unix(2000, 0)) {
		t.Errorf("%+v, %+v", past, then)
	}
	// scan --fds has names for kinds that are one to those who judge.
	text = strings.Replace(text, `"socket": 40`, `"inet": 30, "unix": 10`, 1)
	if past, err = report.ReadPast(strings.NewReader(text)); err != nil || past.Of(now.Outcome.Host, now.Outcome.Tables[0]).Kinds["socket"] != 40 {
		t.Errorf("%v, %+v", err, past)
	}
	for name, wrong := range map[string]string{
		"nothing":         "",
		"no report":       `{"tool":{"name":"other"}}`,
		"no JSON":         "PID  FD",
		"without a table": strings.Replace(text, `"tables": [`, `"tables": [], "other": [`, 1),
		"no start":        strings.Replace(text, `"start_time": "1970`, `"start_time": "19x0`, 1),
	} {
		if past, err := report.ReadPast(strings.NewReader(wrong)); err == nil {
			t.Errorf("%s: %+v", name, past)
		}
	}
}

func TestTrendInJSON(t *testing.T) {
	d := report.NewDocument(growing(nil))
	trend := d.Tables[0].Trend
	if trend == nil || trend.First != 10 || trend.Last != 50 || trend.Looks != 41 || trend.Seconds != 40 || trend.UntilLimit == nil || len(trend.Growths) != 1 || *trend.Growths[0].Target != "to 10.0.0.5:5432" {
		t.Errorf("%+v", trend)
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(compile(t, ""), string(text)); err != nil {
		t.Error(err)
	}
}
