package inspect_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stray/fdscan"
	"stray/inspect"
)

// watchedWhile looks at this very process while it opens and closes things.
func watchedWhile(t *testing.T, step func(i int)) inspect.Trend {
	t.Helper()
	w, err := (&fdscan.Scanner{}).Watch(context.Background(), []int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		step(i)
		w.Look()
	}
	snap := &fdscan.Snapshot{Processes: map[int]*fdscan.Process{}}
	w.End(snap)
	i := slices.IndexFunc(snap.Tables, func(t *fdscan.Table) bool { return t.Process.PID == os.Getpid() })
	return inspect.TrendOf(snap.Tables[i])
}

// keeper closes what a test has opened.
type keeper []interface{ Close() error }

func (k *keeper) keep(c interface{ Close() error }) { *k = append(*k, c) }

func (k *keeper) closeAll() {
	for _, c := range *k {
		c.Close()
	}
	*k = nil
}

// Requests that come and go in bursts, over real connections, with and without
// a leak.
func TestTrendOfAServer(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connect := func(k *keeper) {
		near, err := net.Dial("tcp4", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		k.keep(near)
		far, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		k.keep(far)
	}
	dir := t.TempDir()
	open := func(k *keeper, name string) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		k.keep(f)
	}
	var requests, kept keeper
	defer kept.closeAll()
	defer requests.closeAll()
	burst := func(i int) {
		requests.closeAll()
		for range i * 7 % 5 {
			connect(&requests)
		}
	}
	to := "to " + listener.Addr().String()
	for name, tt := range map[string]struct {
		step func(i int)
		want []fdscan.Item
	}{
		"bursts": {step: burst},
		"a pool that fills": {step: func(i int) {
			burst(i)
			if i < 15 {
				connect(&kept)
			}
		}},
		"connections that stay": {
			step: func(i int) {
				burst(i)
				connect(&kept)
			},
			want: []fdscan.Item{{Kind: "tcp", Target: to}, {Kind: "tcp", Target: "accepted on " + listener.Addr().String()}},
		},
		"files of different names": {
			step: func(i int) {
				burst(i)
				open(&kept, fmt.Sprint("spool-", i))
			},
			want: []fdscan.Item{{Kind: "regular", Target: dir + "/…"}},
		},
		"one file": {
			step: func(i int) {
				burst(i)
				open(&kept, "journal")
			},
			want: []fdscan.Item{{Kind: "regular", Target: filepath.Join(dir, "journal")}},
		},
	} {
		trend := watchedWhile(t, tt.step)
		kept.closeAll()
		requests.closeAll()
		var got []string
		for _, g := range trend.Growths {
			got = append(got, fmt.Sprint(strings.TrimPrefix(g.Kind, "mp"), " ", g.Target)) // a listener of package net may be of MPTCP
		}
		var want []string
		for _, i := range tt.want {
			want = append(want, i.Kind+" "+i.Target)
		}
		for _, w := range want {
			if !strings.Contains(strings.Join(got, "\n"), w) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
