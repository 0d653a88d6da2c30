package fdscan_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

// watched looks n times at processes and what descends from them.
func watched(t *testing.T, n int, pids ...int) *fdscan.Snapshot {
	t.Helper()
	w, err := (&fdscan.Scanner{}).Watch(context.Background(), pids)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		w.Look()
	}
	snap := &fdscan.Snapshot{Processes: map[int]*fdscan.Process{}, HoldersComplete: true}
	w.End(snap)
	return snap
}

func TestWatchSeesGrowth(t *testing.T) {
	role := proctest.Start(t, `open /etc/hostname name=file ; serve grow file`)
	w, err := (&fdscan.Scanner{}).Watch(context.Background(), []int{role.PID})
	if err != nil {
		t.Fatal(err)
	}
	file := fdscan.Item{Kind: fdscan.Regular.Name, Target: "/etc/hostname"}
	var snap *fdscan.Snapshot
	for deadline := time.Now().Add(20 * time.Second); ; {
		w.Look()
		snap = &fdscan.Snapshot{Processes: map[int]*fdscan.Process{}, HoldersComplete: true}
		w.End(snap)
		looks := snap.Tables[0].Looks
		if looks[len(looks)-1].Items[file] >= 5 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no growth is seen: %+v", looks[len(looks)-1])
		}
		time.Sleep(time.Millisecond)
	}
	table := snap.Tables[0]
	first, last := table.Looks[0], table.Looks[len(table.Looks)-1]
	if len(snap.Tables) != 1 || table.Process.PID != role.PID || table.Limit == 0 || len(snap.Gaps) != 0 || !snap.HoldersComplete {
		t.Errorf("%d tables, %+v, gaps %v", len(snap.Tables), table, snap.Gaps)
	}
	if last.Open <= first.Open {
		t.Errorf("%+v, then %+v", first, last)
	}
	for _, look := range table.Looks {
		sum := 0
		for _, n := range look.Items {
			sum += n
		}
		if sum != look.Open {
			t.Errorf("%d open, %v", look.Open, look.Items)
		}
	}
}

// A table that has not changed is not read again, and what is counted is what a
// listing shows.
func TestWatchOfWhatStays(t *testing.T) {
	role := proctest.Start(t, `pipe ; make eventfd ; fork { } ; serve pause`)
	snap := watched(t, 3, role.PID)
	if len(snap.Tables) != 2 || snap.Tables[1].Process.PID != role.Children[0].PID {
		t.Fatalf("%d tables", len(snap.Tables))
	}
	for _, table := range snap.Tables {
		listed, err := (&fdscan.Scanner{}).ReadTable(table.Process.PID, 0)
		if err != nil {
			t.Fatal(err)
		}
		if table.Open != len(listed) || len(table.Looks) != 3 {
			t.Errorf("%d open in %d looks, %d are listed", table.Open, len(table.Looks), len(listed))
		}
		for _, look := range table.Looks {
			if look.Open != len(listed) || !maps.Equal(look.Items, table.Looks[0].Items) {
				t.Errorf("%+v", look)
			}
		}
	}
}

func TestWatchOfAnEndedProcess(t *testing.T) {
	r, stop, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	child, err := os.StartProcess("/bin/cat", []string{"cat"}, &os.ProcAttr{Files: []*os.File{r}})
	if err != nil {
		t.Fatal(err)
	}
	w, err := (&fdscan.Scanner{}).Watch(context.Background(), []int{child.Pid})
	if err != nil {
		t.Fatal(err)
	}
	w.Look()
	stop.Close()
	if _, err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	w.Look()
	if ended := w.Ended(); w.Watched() != 1 || len(ended) != 1 || ended[0].PID != child.Pid || w.Open() != 0 {
		t.Errorf("ended %v of %d, %d open", ended, w.Watched(), w.Open())
	}
}

// Sockets of one purpose have one name.
func TestItemsOfSockets(t *testing.T) {
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		connect tcp4 web ; accept web
		connect tcp4 web ; accept web
		bind udp4 127.0.0.1:0 name=dns
		listen unix @fdscan-items name=bus
		connect unix bus ; accept bus
		socket tcp4
		serve pause
	`)
	web, dns := role.Socket("web").Local.String(), role.Socket("dns").Local.String()
	want := map[fdscan.Item]int{
		{Kind: "tcp", Target: "listening on " + web}:         1,
		{Kind: "tcp", Target: "to " + web}:                   2,
		{Kind: "tcp", Target: "accepted on " + web}:          2,
		{Kind: "udp", Target: "bound to " + dns}:             1,
		{Kind: "unix", Target: "listening on @fdscan-items"}: 1,
		{Kind: "unix", Target: "to @fdscan-items"}:           1,
		{Kind: "unix", Target: "accepted on @fdscan-items"}:  1,
		{Kind: fdscan.AnySocket.Name}:                        1,
	}
	wantItems(t, role, want)
}

func TestItemsOfSocketsElsewhere(t *testing.T) {
	testenv.NeedNetNS(t)
	role := proctest.Start(t, `exec newnet=1 { listen tcp4 127.0.0.1:8080 name=web ; connect tcp4 web ; accept web ; serve pause }`)
	wantItems(t, role.Children[0], map[fdscan.Item]int{
		{Kind: "tcp", Target: "listening on 127.0.0.1:8080"}: 1,
		{Kind: "tcp", Target: "to 127.0.0.1:8080"}:           1,
		{Kind: "tcp", Target: "accepted on 127.0.0.1:8080"}:  1,
	})
}

// Files that are open once are told by their directory.
func TestItemsOfFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c", "d"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	role := proctest.Start(t, `open `+in("a"), `open `+in("b"), `open `+in("c"), `dup`, `open `+in("d"), `unlink `+in("d"), `serve pause`)
	wantItems(t, role, map[fdscan.Item]int{
		{Kind: fdscan.Regular.Name, Target: dir + "/…"}:           2,
		{Kind: fdscan.Regular.Name, Target: in("c")}:              2,
		{Kind: fdscan.Regular.Name, Target: dir + "/… (deleted)"}: 1,
	})
}

// wantItems checks what a look counts of the descriptors above 2.
func wantItems(t *testing.T, role *proctest.Process, want map[fdscan.Item]int) {
	t.Helper()
	table := watched(t, 1, role.PID).Tables[0]
	got := maps.Clone(table.Looks[0].Items)
	for item, n := range want {
		if got[item] != n {
			t.Errorf("%d of %+v, want %d; there are %v", got[item], item, n, slices.Collect(maps.Keys(got)))
		}
	}
}

// A look at a process whose table stays as it is, however large.
func BenchmarkWatchLook(b *testing.B) {
	for _, n := range []int{10, 5000} {
		b.Run(fmt.Sprintf("descriptors=%d", n), func(b *testing.B) {
			null, err := os.Open(os.DevNull)
			if err != nil {
				b.Fatal(err)
			}
			defer null.Close()
			child := exec.Command("sleep", "600")
			child.ExtraFiles = slices.Repeat([]*os.File{null}, n)
			if err := child.Start(); err != nil {
				b.Fatal(err)
			}
			defer child.Wait()
			defer child.Process.Kill()
			w, err := (&fdscan.Scanner{}).Watch(context.Background(), []int{child.Process.Pid})
			if err != nil {
				b.Fatal(err)
			}
			w.Look()
			b.ReportAllocs()
			for b.Loop() {
				w.Look()
			}
		})
	}
}

// Who has ended, and waits to be reaped, is no more.
func TestWatchZombie(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	w, err := (&fdscan.Scanner{}).Watch(t.Context(), []int{cmd.Process.Pid})
	if err != nil {
		t.Fatal(err)
	}
	w.Look()
	if ended := w.Ended(); len(ended) != 1 {
		t.Errorf("%d have ended, want 1", len(ended))
	}
}
