package rules_test

import (
	"testing"

	"stray/fdscan"
)

func TestFD205(t *testing.T) {
	server, child := process(10, 1, "server"), process(11, 10, "sleep")
	held := func(p *fdscan.Process, fd int, inode uint64, allocated int64) *fdscan.Descriptor {
		return &fdscan.Descriptor{Process: p, FD: fd, Kind: fdscan.Regular, Link: "/var/log/app.log", Deleted: true, Inode: inode, Device: 1, Allocated: &allocated}
	}
	m := newMachine(server, child)
	m.Descriptors = []*fdscan.Descriptor{held(server, 3, 7, 1_200_000_000), held(server, 4, 8, 4096), held(server, 5, 9, 0), held(child, 3, 7, 1_200_000_000)}
	m.says(t,
		"FD205 warning 10: pid 10 (server) keeps the deleted file /var/log/app.log by fd 3: 1.2 GB that no name leads to; another process has it too",
		"FD205 note 10: pid 10 (server) keeps the deleted file /var/log/app.log by fd 4: 4.1 kB that no name leads to")
	m.Descriptors = []*fdscan.Descriptor{held(server, 3, 7, 100_000_000), held(server, 4, 8, 100_000_001)}
	m.says(t,
		"FD205 warning 10: pid 10 (server) keeps the deleted file /var/log/app.log by fd 4: 100.0 MB that no name leads to",
		"FD205 note 10: pid 10 (server) keeps the deleted file /var/log/app.log by fd 3: 100.0 MB that no name leads to")
	for _, d := range m.Descriptors {
		d.Deleted = false
	}
	m.says(t)
}
