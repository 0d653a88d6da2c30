package sockdiag

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnixSockets(t *testing.T) {
	dir := t.TempDir()
	s := newScene(t)
	name := func(path string) unix.Sockaddr { return &unix.SockaddrUnix{Name: path} }
	path := filepath.Join(dir, "listener")
	abstract := "@stray-test-" + strconv.Itoa(os.Getpid())
	listening := s.describe(s.listen(unix.AF_UNIX, 0, name(path)))
	hidden := s.describe(s.socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0, name(abstract)))
	gone := s.describe(s.socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0, name(filepath.Join(dir, "gone"))))
	client := s.describe(s.connect(listening.fd, nil))
	server := s.describe(s.accept(listening.fd))
	s.connect(listening.fd, nil) // stays in the backlog
	var file unix.Stat_t
	s.try("stat", func() error { return unix.Stat(path, &file) })
	s.try("unlink", func() error { return os.Remove(filepath.Join(dir, "gone")) })
	s.try("write", func() error { _, err := unix.Write(client.fd, []byte("hello")); return err })
	if s.err != nil {
		t.Fatal(s.err)
	}
	rows, err := kernel(t).Unix()
	if err != nil {
		t.Fatal(err)
	}
	find := func(m made) Unix {
		i := slices.IndexFunc(rows, func(r Unix) bool { return r.Inode == m.inode })
		if i < 0 {
			t.Fatalf("no row has inode %d", m.inode)
		}
		return rows[i]
	}
	got := find(listening)
	if got.Name != path+"\x00" || got.Type != unix.SOCK_STREAM || got.State != Listen || got.Cookie != listening.cookie {
		t.Errorf("listener: %+v", got)
	}
	if got.RecvQueue != 1 || got.SendQueue != backlog || !got.HasUID || got.UID != uint32(os.Geteuid()) {
		t.Errorf("listener: %+v", got)
	}
	device := unix.Mkdev(got.FileDevice>>20, got.FileDevice&0xfffff)
	if uint64(got.FileInode) != file.Ino || device != file.Dev {
		t.Errorf("listener's file is %d on %d, want %d on %d", got.FileInode, device, file.Ino, file.Dev)
	}
	if got := find(hidden); got.Name != "\x00"+abstract[1:] || got.Type != unix.SOCK_SEQPACKET || got.State != Close || got.FileInode != 0 {
		t.Errorf("abstract socket: %+v", got)
	}
	if got := find(gone); got.Name != filepath.Join(dir, "gone")+"\x00" || got.Type != unix.SOCK_DGRAM {
		t.Errorf("unlinked socket: %+v", got)
	}
	if got := find(client); got.Peer != server.inode || got.State != Established || got.Name != "" {
		t.Errorf("client: %+v", got)
	}
	if got := find(server); got.Peer != client.inode || got.RecvQueue != 5 || got.Name != path+"\x00" {
		t.Errorf("server: %+v", got)
	}
}
