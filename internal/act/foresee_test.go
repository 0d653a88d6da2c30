package act_test

import (
	"slices"
	"testing"

	"stray/fdscan"
	"stray/internal/act"
)

// What a thread gets that is in a call on the socket depends on the call.
func TestForeseeCalls(t *testing.T) {
	for _, tt := range []struct {
		method act.Method
		call   string
		want   string
	}{
		{act.Park, "accept", "thread 7 waits in accept on it: the call is interrupted and returns EINVAL"},
		{act.Close, "accept", "thread 7 waits in accept on it: the call is interrupted and returns EBADF"},
		{act.Park, "sendto", "thread 7 waits in sendto on it: the call is interrupted and returns what it has sent, if anything, or ENOTCONN"},
		{act.Close, "sendto", "thread 7 waits in sendto on it: the call is interrupted and returns what it has sent, if anything, or EBADF"},
	} {
		p := &fdscan.Process{PID: 7, Evidence: &fdscan.Evidence{Waits: []fdscan.Wait{{TID: 7, Call: tt.call, Inodes: []uint64{99}}}}}
		s := &fdscan.Socket{Protocol: fdscan.TCP, State: fdscan.Established, Inode: 99, Holders: []*fdscan.Holder{{Process: p, FD: 3, Via: fdscan.ViaTable}}}
		plan := act.NewPlan(tt.method, []*fdscan.Socket{s}, func(*fdscan.Socket, *fdscan.Holder) bool { return true })
		if lines := plan.Foresee(plan.Steps[0]); !slices.Contains(lines, tt.want) {
			t.Errorf("%s: %q, want %q", tt.method, lines, tt.want)
		}
	}
}
