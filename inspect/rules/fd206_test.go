package rules_test

import (
	"testing"

	"stray/fdscan"
)

func TestFD206(t *testing.T) {
	server := process(10, 1, "server")
	some, none := uint32(5), uint32(0)
	dead := func(inode uint64, segments *uint32) fdscan.Socket {
		return fdscan.Socket{State: fdscan.Close, Inode: inode, Local: at("10.0.0.2:4444"), Segments: segments, Answered: true}
	}
	m := newMachine(server)
	m.socket(dead(100, &some), holder(server, 7, true))
	m.says(t, "FD206 warning 10: pid 10 (server) keeps a dead TCP socket, fd 7: it was connected from 10.0.0.2:4444, and no table lists it any more")
	m.socket(dead(101, &some), holder(server, 8, true))
	m.says(t, "FD206 warning 10: pid 10 (server) keeps 2 dead TCP sockets, among them fd 7: it was connected from 10.0.0.2:4444, and no table lists them any more")

	refused := dead(99, &some)
	refused.Answered = false
	m.Sockets = nil
	m.socket(refused, holder(server, 6, true))
	m.says(t, "FD206 note 10: pid 10 (server) keeps a dead TCP socket, fd 6: it was connected, or tried to be, from 10.0.0.2:4444, and no table lists it any more")
	m.socket(dead(100, &some), holder(server, 7, true))
	m.says(t, "FD206 warning 10: pid 10 (server) keeps 2 dead TCP sockets, among them fd 7: it was connected from 10.0.0.2:4444, and no table lists them any more")

	m = newMachine(server)
	m.socket(dead(100, &none), holder(server, 7, true)) // fresh
	m.socket(dead(101, nil), holder(server, 8, true))   // not asked
	m.socket(dead(102, &some))                          // closed meanwhile
	m.says(t)
}
