package fdscan_test

import (
	"testing"

	"stray/fdscan"
)

// The receive queue of a connection that the peer has closed counts its FIN.
func TestUnreadDoesNotCountTheFIN(t *testing.T) {
	for _, tt := range []struct {
		protocol fdscan.Protocol
		state    fdscan.State
		queue    uint32
		want     uint32
	}{
		{fdscan.TCP, fdscan.Established, 1, 1},
		{fdscan.TCP, fdscan.CloseWait, 1, 0},
		{fdscan.TCP, fdscan.CloseWait, 0, 0}, // the end was read
		{fdscan.MPTCP, fdscan.CloseWait, 11, 10},
		{fdscan.Unix, fdscan.CloseWait, 1, 1},
	} {
		s := &fdscan.Socket{Protocol: tt.protocol, State: tt.state, RecvQueue: &tt.queue}
		if got := s.Unread(); got != tt.want {
			t.Errorf("%s %s with %d queued: %d unread, want %d", tt.protocol, tt.state, tt.queue, got, tt.want)
		}
	}
	if got := (&fdscan.Socket{State: fdscan.Listen}).Unread(); got != 0 {
		t.Errorf("a listener: %d unread", got)
	}
}
