package report

import (
	"strings"
	"testing"

	"stray/fdscan"
	"stray/inspect"
	"stray/internal/act"
)

// The name of a unix socket may hold anything: no line of a plan or a result
// lets it reach the terminal.
func TestActionsWriteNoControlCharacters(t *testing.T) {
	process := &fdscan.Process{PID: 7, Comm: "e\x1b[2Jvil\n"}
	socket := &fdscan.Socket{Protocol: fdscan.Unix, Family: fdscan.UnixPath, State: fdscan.Listen, NetNSMine: true, Inode: 5, Local: fdscan.Endpoint{Path: "@a\x1b[31m\nb"}}
	socket.Holders = []*fdscan.Holder{{Process: process, FD: 3, Via: fdscan.ViaTable}}
	snap := &fdscan.Snapshot{Sockets: []*fdscan.Socket{socket}}
	answer := inspect.Who(snap, []fdscan.Target{{Kind: fdscan.UnixTarget, Path: socket.Local.Path}}, nil, true)
	for _, method := range []act.Method{act.Park, act.Destroy} {
		plan := act.NewPlan(method, snap.Sockets, func(*fdscan.Socket, *fdscan.Holder) bool { return true })
		a := NewActions("close", nil, "1", answer, plan)
		a.Finish(answer, []act.Result{{Step: plan.Steps[0], Holder: socket.Holders[0], Done: true}})
		var b strings.Builder
		if err := a.WritePlan(&b); err != nil {
			t.Fatal(err)
		}
		if err := a.WriteResults(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "\x1b") || strings.Contains(b.String(), "\nb") {
			t.Errorf("%s: %q", method, b.String())
		}
	}
}
