package fdscan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

func TestBoundAndNothingElse(t *testing.T) {
	testenv.NeedIPv6(t)
	for _, network := range []string{"tcp4 127.0.0.1:0", "tcp6 [::1]:0", "mptcp4 127.0.0.1:0", "mptcp6 [::1]:0", "udp4 127.0.0.1:0", "udp6 [::1]:0", "udplite4 127.0.0.1:0", "udplite6 [::1]:0"} {
		t.Run(network, func(t *testing.T) {
			switch {
			case strings.HasPrefix(network, "mptcp"):
				testenv.NeedMPTCP(t)
			case strings.HasPrefix(network, "udplite"):
				testenv.NeedUDPLite(t)
			}
			role := proctest.Start(t, "bind "+network+" name=port ; fork { serve sleep }")
			bound := role.Socket("port")
			snap := ask(t, port(bound))
			s := socket(t, snap, bound.Inode)
			if s.State != fdscan.Bound || !strings.HasPrefix(network, string(s.Protocol)) || s.Local.Port != uint16(bound.Port()) || s.UID == nil {
				t.Errorf("socket %+v", s)
			}
			if (s.Family == fdscan.Inet6) != (s.V6Only != nil) {
				t.Errorf("%s has v6only %v", s.Family, s.V6Only)
			}
			wantHolders(t, s.Holders, table(role, bound.Inode)...)
			wantWhole(t, snap)
		})
	}
}

// Before Linux 6.8 no table shows what is bound only: each socket is asked.
func TestBoundBeforeLinux68(t *testing.T) {
	testenv.NeedIPv6(t)
	testenv.NeedRoot(t)
	for _, network := range []string{"tcp4 127.0.0.1:0", "tcp6 [::1]:0", "mptcp4 127.0.0.1:0"} {
		t.Run(network, func(t *testing.T) {
			role := proctest.Start(t, "bind "+network+" name=port ; fork { serve sleep } ; thread own=1 { serve sleep }")
			bound := role.Socket("port")
			snap := look(t, &fdscan.Scanner{Kernel: "6.7.12-generic"}, fdscan.Question{}, port(bound))
			s := socket(t, snap, bound.Inode)
			if s.State != fdscan.Bound || !strings.HasPrefix(network, string(s.Protocol)) || s.Cookie != bound.Cookie || !s.NetNSMine || s.ReuseAddr == nil {
				t.Errorf("socket %+v", s)
			}
			wantHolders(t, s.Holders, table(role, bound.Inode)...)
		})
	}
}

func TestOnlyInsideIOURing(t *testing.T) {
	testenv.NeedIOURing(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=first
		listen tcp4 127.0.0.1:0 name=second
		bind tcp4 127.0.0.1:0 name=bound
		uring first second bound name=ring
		fork { serve sleep }
	`)
	ring := role.Descriptor("ring").FD
	for slot, name := range []string{"first", "second", "bound"} {
		s := role.Socket(name)
		snap := ask(t, port(s))
		wantHolders(t, holdersOf(t, snap, s.Inode),
			fmt.Sprintf("pid %d fd %d io_uring slot %d", role.PID, ring, slot),
			fmt.Sprintf("pid %d fd %d io_uring slot %d", role.Children[0].PID, ring, slot))
		if h := holdersOf(t, snap, s.Inode)[0]; h.CloseOnExec != nil {
			t.Errorf("a slot of a ring has FD_CLOEXEC %v", *h.CloseOnExec)
		}
		wantWhole(t, snap)
	}
}

func TestPipeInsideIOURing(t *testing.T) {
	testenv.NeedIOURing(t)
	role := proctest.Start(t, `pipe name=p ; dup p name=copy ; uring copy name=ring`)
	d := role.Descriptor("p")
	wantHolders(t, ask(t, inode(d.Inode)).Objects[0].Holders, append(table(role, d.Inode),
		fmt.Sprintf("pid %d fd %d io_uring slot 0", role.PID, role.Descriptor("ring").FD))...)
}

func TestOnlyInAMessageInFlight(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=first
		listen tcp4 127.0.0.1:0 name=second
		pipe name=p
		scm p first second name=queue
		fork { serve sleep }
	`)
	queue := role.Descriptor("queue").FD
	for position, name := range []string{"first", "second"} {
		s := role.Socket(name)
		snap := ask(t, port(s))
		want := fmt.Sprintf("pid %d fd %d scm slot %d", role.PID, queue, position+1)
		heir := fmt.Sprintf("pid %d fd %d scm slot %d", role.Children[0].PID, queue, position+1)
		wantHolders(t, holdersOf(t, snap, s.Inode), want, heir)
		if h := holdersOf(t, snap, s.Inode)[0]; !strings.Contains(h.Note, fmt.Sprint("fd ", queue)) {
			t.Errorf("note %q", h.Note)
		}
		wantWhole(t, snap)
	}
	// Looking leaves the message where it was.
	wantWhole(t, ask(t, port(role.Socket("first"))))
}

// Bytes without files that were sent before do not hide a message.
func TestMessageInFlightBehindOthers(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		pair name=queue
		send queue2 5000
		send queue2 70
		scm web over=queue2
	`)
	s := role.Socket("web")
	snap := ask(t, port(s))
	wantHolders(t, holdersOf(t, snap, s.Inode), fmt.Sprintf("pid %d fd %d scm slot 0", role.PID, role.Descriptor("queue").FD))
}

func TestSecondMessageInFlightIsAGap(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=first
		listen tcp4 127.0.0.1:0 name=second
		pair name=queue
		scm first over=queue2
		scm second over=queue2
	`)
	second := role.Socket("second")
	snap := ask(t, port(second))
	s := socket(t, snap, second.Inode)
	if len(s.Holders) != 0 || s.KernelOwned || snap.HoldersComplete || !snap.TablesComplete {
		t.Errorf("socket %+v; holders complete %v, tables complete %v", s, snap.HoldersComplete, snap.TablesComplete)
	}
	// Others on this machine may keep something too.
	if !slices.ContainsFunc(snap.Gaps, func(g fdscan.Gap) bool { return g.PID == role.PID && g.FD == role.Descriptor("queue").FD }) {
		t.Errorf("gaps %+v", snap.Gaps)
	}
}

// Without --deep messages are looked for only when something has no holder.
func TestMessageInFlightOfWhatOthersHold(t *testing.T) {
	testenv.NeedRoot(t)
	role := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=web
		dup web name=copy
		scm copy name=queue
		serve accept web
	`)
	web := role.Socket("web")
	own := table(role, web.Inode)
	wantHolders(t, holdersOf(t, ask(t, port(web)), web.Inode), own...)
	wantHolders(t, holdersOf(t, askDeep(t, port(web)), web.Inode),
		append(own, fmt.Sprintf("pid %d fd %d scm slot 0", role.PID, role.Descriptor("queue").FD))...)
}
