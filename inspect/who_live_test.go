package inspect_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/inspect"
	"stray/inspect/rules"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

// ask answers several targets at once.
func ask(t testing.TB, s *fdscan.Scanner, all bool, words ...string) *inspect.Answer {
	t.Helper()
	var targets []fdscan.Target
	for _, word := range words {
		target, err := fdscan.ParseTarget(word)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, target)
	}
	snap, err := s.Lookup(t.Context(), fdscan.Question{Targets: targets})
	if err != nil {
		t.Fatal(err)
	}
	return inspect.Who(snap, targets, rules.All(), all)
}

// The verdict speaks of the caller's network namespace, and of what was asked.
func TestVerdicts(t *testing.T) {
	testenv.NeedNetNS(t)
	directory := t.TempDir()
	stale, path, file := filepath.Join(directory, "stale"), filepath.Join(directory, "sock"), filepath.Join(directory, "file")
	there := filepath.Join(directory, "there")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	role := proctest.Start(t,
		"listen tcp4 127.0.0.1:0 name=web",
		"bind tcp4 127.0.0.1:0 name=bound",
		"bind udp4 127.0.0.1:0 name=dns",
		"listen tcp4 127.0.0.1:0 name=closed",
		"close closed",
		"listen unix "+path+" name=path",
		"listen unix "+stale+" name=stale",
		"close stale",
		"open "+file+" name=file",
		"pipe name=pipe",
		"timewait tcp4 127.0.0.1:0 name=tw",
		"exec newnet=1 { listen tcp4 127.0.0.1:0 name=foreign ; listen unix "+there+" name=there ; serve accept foreign }",
	)
	port := func(name string) string { return fmt.Sprint(role.Socket(name).Port()) }
	at := func(name string) string { return role.Socket(name).Local.String() }
	for target, want := range map[string]inspect.Verdict{
		port("web"):            inspect.Held,
		at("web"):              inspect.Held,
		"udp:" + port("web"):   inspect.Free,
		port("bound"):          inspect.Held,
		port("dns"):            inspect.Held,
		"udp:" + port("dns"):   inspect.Held,
		at("closed"):           inspect.Free,
		at("tw"):               inspect.Held,
		"tcp:" + at("foreign"): inspect.Free,
		"inode:" + fmt.Sprint(role.Socket("foreign").Inode):  inspect.Held,
		"inode:" + fmt.Sprint(role.Socket("web").Inode):      inspect.Held,
		"inode:" + fmt.Sprint(role.Descriptor("pipe").Inode): inspect.Held,
		"unix:" + path:  inspect.Held,
		path:            inspect.Held,
		"unix:" + there: inspect.Held, // a file is one, whatever the namespace
		there:           inspect.Held,
		file:            inspect.Held,
	} {
		// The address keeps others' ports out of this.
		if a := ask(t, &fdscan.Scanner{}, false, target); a.Verdict != want || len(a.PerTarget) != 1 || a.PerTarget[0] != want {
			t.Errorf("%s: %s %v, want %s; %d sockets", target, a.Verdict, a.PerTarget, want, len(a.Sockets))
		}
	}
	// A file that nobody has open can only be said to be free by one who sees
	// everything.
	for _, target := range []string{stale, directory + "/."} {
		a := ask(t, &fdscan.Scanner{}, false, target)
		if want := map[bool]inspect.Verdict{true: inspect.Free, false: inspect.VerdictOpen}[a.HoldersComplete]; a.Verdict != want {
			t.Errorf("%s: %s, want %s", target, a.Verdict, want)
		}
	}
	a := ask(t, &fdscan.Scanner{}, false, at("closed"), at("web"), "unix:"+stale, "unix:"+path)
	if want := fmt.Sprint([]inspect.Verdict{inspect.Free, inspect.Held, inspect.Free, inspect.Held}); a.Verdict != inspect.Held || fmt.Sprint(a.PerTarget) != want {
		t.Errorf("several: %s %v, want %s", a.Verdict, a.PerTarget, want)
	}
}

// What is only at another address is shown to the bind verdicts, not to people.
func TestOtherAddressesOfAPort(t *testing.T) {
	role := proctest.Start(t, "listen tcp4 127.55.0.1:0 name=one ; serve accept one")
	one := role.Socket("one")
	a := ask(t, &fdscan.Scanner{}, false, fmt.Sprintf("127.55.0.2:%d", one.Port()), "inode:1")
	if len(a.Shown) != 0 || a.PerTarget[0] != inspect.Free {
		t.Errorf("%d sockets are shown, %v", len(a.Shown), a.PerTarget)
	}
}

// Before Linux 6.8 somebody who may not ask every process cannot say "free".
func TestUnknownWhereATableIsMissing(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, "bind tcp4 127.0.0.1:0 name=port ; undumpable")
	target := role.Socket("port").Local.String()
	blind := blindWalker{fdscan.ProcWalker{Root: "/proc"}, role.PID}
	if a := ask(t, &fdscan.Scanner{Walker: blind, Kernel: "6.1.0"}, false, target); a.Verdict != inspect.VerdictOpen || a.TablesComplete || a.Complete {
		t.Errorf("verdict %s, gaps %+v", a.Verdict, a.Gaps)
	}
	if a := ask(t, &fdscan.Scanner{Walker: blind}, false, target); a.Verdict != inspect.Held || !a.TablesComplete || a.Complete {
		t.Errorf("verdict %s, gaps %+v", a.Verdict, a.Gaps)
	}
}

// blindWalker may not look into one process.
type blindWalker struct {
	fdscan.ProcWalker
	pid int
}

func (b blindWalker) Walk(ctx context.Context, w fdscan.Want, found func(fdscan.Ref), gap func(fdscan.Gap)) error {
	gap(fdscan.Gap{Op: "read /proc/PID/fd", PID: b.pid, FD: -1, Err: unix.EACCES.Error(), Needs: "CAP_SYS_PTRACE", Scope: fdscan.ScopeHolders})
	return b.ProcWalker.Walk(ctx, w, func(r fdscan.Ref) {
		if r.PID != b.pid {
			found(r)
		}
	}, gap)
}

// Connections that a listener explains are counted, and shown when asked for;
// one that a stray copy of the server keeps is shown.
func TestExplainedConnections(t *testing.T) {
	for name, tt := range map[string]struct {
		script      string
		shown, more string
	}{
		"the server's own": {
			`connect tcp4 web name=client ; accept web name=server cloexec=1 ; serve accept web`,
			"[LISTEN]", "[LISTEN ESTABLISHED]",
		},
		"in the backlog": {
			`connect tcp4 web name=client ; serve pause`,
			"[LISTEN]", "[LISTEN ESTABLISHED]",
		},
		"a stray copy's": {
			`connect tcp4 web name=client ; accept web name=server cloexec=1 ; fork { serve pause } ; close server ; serve accept web`,
			"[LISTEN ESTABLISHED]", "[LISTEN ESTABLISHED]",
		},
		"nobody's listener": {
			`connect tcp4 web name=client ; accept web name=server ; close web ; serve pause`,
			"[ESTABLISHED]", "[ESTABLISHED]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			role := proctest.Start(t, "listen tcp4 127.55.0.3:0 cloexec=1 name=web", tt.script)
			for all, want := range map[bool]string{false: tt.shown, true: tt.more} {
				a := ask(t, &fdscan.Scanner{}, all, role.Socket("web").Local.String())
				var got []fdscan.State
				for _, s := range a.Shown {
					got = append(got, s.State)
				}
				if fmt.Sprint(got) != want {
					t.Errorf("all=%v: %v, want %s; %v explained", all, got, want, a.Explained)
				}
				if explained := a.Explained[fdscan.Established]; explained+len(a.Shown) != strings.Count(tt.more, " ")+1 {
					t.Errorf("all=%v: %d explained", all, explained)
				}
			}
		})
	}
}
