package rules_test

import (
	"testing"

	"stray/fdscan"
)

func TestFD401(t *testing.T) {
	server := process(10, 1, "server")
	listener := fdscan.Socket{State: fdscan.Listen, Inode: 100, Local: at("0.0.0.0:80")}
	ring := &fdscan.Holder{Process: server, FD: 4, Slot: 2, Via: fdscan.ViaRing}
	message := &fdscan.Holder{Process: server, FD: 5, Slot: 0, Via: fdscan.ViaMessage, Note: "in a message that fd 5 has not received"}
	thread := &fdscan.Holder{Process: server, TID: 12, FD: 3, Slot: -1, Via: fdscan.ViaThread}
	for want, h := range map[string]*fdscan.Holder{
		"FD401 note 10: pid 10 (server) holds the listener 0.0.0.0:80 only in slot 2 of the io_uring instance fd 4": ring,
		"FD401 note 10: pid 10 (server) holds the listener 0.0.0.0:80 only in a message that fd 5 has not received": message,
		"FD401 note 10: pid 10 (server) holds the listener 0.0.0.0:80 only in the table of its thread 12, fd 3":     thread,
	} {
		m := newMachine(server)
		m.socket(listener, h)
		m.says(t, want)
		m = newMachine(server)
		m.socket(listener, h, holder(server, 3, true))
		m.says(t)
	}
}
