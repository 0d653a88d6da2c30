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

// What is under way when the last descriptor goes stays with the kernel; what has
// not been read resets the connection.
func TestForeseeOrphans(t *testing.T) {
	const orphan = "the kernel goes on sending them without a process, unless the program has set SO_LINGER; --destroy ends that"
	for _, tt := range []struct {
		method       act.Method
		state        fdscan.State
		unread, sent uint32
		want         string
		orphan       bool
	}{
		{act.Park, fdscan.Established, 0, 500, "at stake: 500 bytes that the peer has not acknowledged (--half lets the peer finish first)", true},
		{act.Close, fdscan.FinWait1, 0, 501, "at stake: 500 bytes that the peer has not acknowledged", true},
		{act.Close, fdscan.FinWait1, 0, 1, "nothing is lost: both queues are empty", false},
		{act.Park, fdscan.Established, 9, 500, "at stake: 9 bytes not read yet (the peer is reset) and 500 bytes that the peer has not acknowledged (--half lets the peer finish first)", false},
		{act.Half, fdscan.Established, 0, 500, "at stake: 500 bytes on the way, which the peer gets first", false},
		{act.Park, fdscan.SynSent, 0, 1, "nothing is lost: both queues are empty", false},
		{act.Park, fdscan.Established, 0, 0, "nothing is lost: both queues are empty", false},
	} {
		p := &fdscan.Process{PID: 7}
		s := &fdscan.Socket{
			Protocol: fdscan.TCP, State: tt.state, Inode: 99, RecvQueue: &tt.unread, SendQueue: &tt.sent,
			Holders: []*fdscan.Holder{{Process: p, FD: 3, Via: fdscan.ViaTable}},
		}
		plan := act.NewPlan(tt.method, []*fdscan.Socket{s}, func(*fdscan.Socket, *fdscan.Holder) bool { return true })
		lines := plan.Foresee(plan.Steps[0])
		if !slices.Contains(lines, tt.want) || slices.Contains(lines, orphan) != tt.orphan {
			t.Errorf("%s in %s with %d unread and %d sent: %q", tt.method, tt.state, tt.unread, tt.sent, lines)
		}
	}
}
