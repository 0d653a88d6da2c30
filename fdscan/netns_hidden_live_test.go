package fdscan

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/osthread"
	"stray/internal/testenv"
)

// sees reports whether a namespace is found, deep or not.
func sees(t *testing.T, inode uint64, deep bool) bool {
	t.Helper()
	l := &lookup{Scanner: &Scanner{}, ctx: t.Context(), question: Question{Deep: deep}, snap: &Snapshot{}}
	return slices.ContainsFunc(l.namespaces(), func(ns namespace) bool {
		if ns.inode != inode {
			return false
		}
		conn, err := l.enter(ns)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// A namespace that nothing but an open descriptor keeps.
func TestNamespaceThatOnlyADescriptorKeeps(t *testing.T) {
	testenv.NeedNetNS(t)
	fd := -1
	err := osthread.Discard(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	if sees(t, st.Ino, false) || !sees(t, st.Ino, true) {
		t.Errorf("without --deep it is found: %t; with it: %t", sees(t, st.Ino, false), sees(t, st.Ino, true))
	}
}

// A namespace that a mount keeps which only others see, as in a container.
func TestNamespaceThatAMountElsewhereKeeps(t *testing.T) {
	testenv.NeedNetNS(t)
	testenv.NeedRoot(t)
	nsenter := testenv.NeedTool(t, "nsenter", "util-linux")
	mount := testenv.NeedTool(t, "mount", "mount")
	keep := filepath.Join(t.TempDir(), "a name with spaces")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`%s --bind /proc/self/ns/net "$1" && readlink /proc/self/ns/net && exec %s --net=/proc/%d/ns/net cat`, mount, nsenter, os.Getpid())
	c := exec.Command("/bin/sh", "-c", script, "sh", keep)
	c.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Unshareflags: unix.CLONE_NEWNS}
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		_ = c.Wait()
	}()
	text := make([]byte, 64)
	n, err := stdout.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	netns := nsInode(strings.TrimSpace(string(text[:n])))
	link := fmt.Sprintf("/proc/%d/ns/net", c.Process.Pid)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if now, err := os.Readlink(link); err == nil && nsInode(now) != netns {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not leave its namespace")
		}
	}
	if netns == 0 || sees(t, netns, false) || !sees(t, netns, true) {
		t.Errorf("namespace %d; without --deep it is found: %t; with it: %t", netns, sees(t, netns, false), sees(t, netns, true))
	}
}
