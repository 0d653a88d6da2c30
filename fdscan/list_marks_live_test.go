package fdscan_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/testenv"
)

// What a process has mounted in a namespace of its own says nothing about what is
// at that place here: it is not opened.
func TestWatchedFileOfAnotherMountNamespace(t *testing.T) {
	testenv.NeedRoot(t)
	unshare := testenv.NeedTool(t, "unshare", "util-linux")
	testenv.NeedTool(t, "tail", "coreutils")
	directory, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(directory, "victim")
	for _, err := range []error{os.WriteFile(victim, nil, 0o600), os.Mkdir(filepath.Join(directory, "mount"), 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	opened, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(opened)
	if _, err := unix.InotifyAddWatch(opened, victim, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	watcher := exec.Command(unshare, "-m", "sh", "-ec", `
		cd "$0"
		mount -t tmpfs stray mount
		echo > mount/file
		mount --bind mount/file victim
		umount -l mount
		exec tail -f victim`, directory)
	watcher.Stderr = &complaint
	if err := watcher.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		watcher.Process.Kill()
		_ = watcher.Wait()
	}()
	var d *fdscan.Descriptor
	for end := time.Now().Add(20 * time.Second); d == nil || !strings.HasPrefix(d.Target, "watches inode "); {
		if d = nil; time.Now().After(end) {
			t.Fatalf("tail watches nothing: %s", complaint.String())
		}
		for _, other := range list(t, watcher.Process.Pid).Descriptors {
			if other.Kind == fdscan.Inotify {
				d = other
			}
		}
	}
	// Where the mark is that of a file here, the file is named.
	own := listed(t, list(t, os.Getpid()), os.Getpid(), opened)
	if own.Target != "watches "+victim {
		t.Errorf("target %q", own.Target)
	}
	if n, err := unix.Read(opened, make([]byte, unix.SizeofInotifyEvent+unix.NAME_MAX+1)); err != unix.EAGAIN {
		t.Errorf("the file here was opened (%d bytes of events, %v)", n, err)
	}
}
