package sockdiag

import (
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

func TestDialInSeesTheOtherNamespaceOnly(t *testing.T) {
	testenv.NeedNetNS(t)
	var there made
	nsfd := newNamespace(t, func(s *scene) { there = s.describe(s.listen(unix.AF_INET, 0, at("127.0.0.1:7000"))) })
	request := InetRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: 1 << Listen}
	rows, err := kernelIn(t, nsfd).Inet(request)
	if err != nil || len(rows) != 1 || rows[0].Inode != there.inode || rows[0].Cookie != there.cookie {
		t.Errorf("inside: rows %+v, error %v", rows, err)
	}
	rows, err = kernel(t).Inet(request)
	if err != nil || slices.ContainsFunc(rows, func(r Inet) bool { return r.Inode == there.inode }) {
		t.Errorf("outside: rows %+v, error %v", rows, err)
	}
}

func TestDialInOfNoNamespace(t *testing.T) {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	if c, err := DialIn(null); err == nil || c != nil {
		t.Errorf("Conn %v, error %v", c, err)
	}
}

// DialIn enters a namespace on a thread that nobody uses afterwards: neither
// the main thread, whose namespace /proc/self shows, nor one that other
// goroutines get.
func TestDialInLeavesEveryThreadWhereItWas(t *testing.T) {
	testenv.NeedNetNS(t)
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	nsfd := newNamespace(t, func(*scene) {})
	for range 300 {
		done := make(chan error)
		// The more goroutines there are, the sooner one runs on the main thread.
		for range 4 {
			go func() {
				c, err := DialIn(nsfd)
				if err == nil {
					err = c.Close()
				}
				done <- err
			}()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	// The threads that entered end on their own, soon.
	for deadline := time.Now().Add(10 * time.Second); ; {
		foreign := threadsOutside(t, home)
		if len(foreign) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("threads %v of process %d are in another namespace", foreign, os.Getpid())
		}
	}
}

// threadsOutside returns the threads of this process that are in another
// network namespace.
func threadsOutside(t *testing.T, home string) (tids []string) {
	t.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		link, err := os.Readlink("/proc/self/task/" + thread.Name() + "/ns/net")
		if err == nil && link != home {
			tids = append(tids, thread.Name())
		}
	}
	return tids
}
