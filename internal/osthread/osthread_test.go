package osthread_test

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/osthread"
	"stray/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// Discard takes a thread that is not the main one, and that nobody uses after it.
func TestDiscard(t *testing.T) {
	// All threads that there are may be tried for it, the main one too.
	for range 2 * runtime.GOMAXPROCS(0) {
		var tid int
		failed := errors.New("failed")
		if err := osthread.Discard(func() error { tid = unix.Gettid(); return failed }); err != failed {
			t.Fatalf("error %v", err)
		}
		if tid == unix.Getpid() {
			t.Fatal("the main thread was taken")
		}
		gone := func() bool {
			_, err := os.Stat("/proc/self/task/" + strconv.Itoa(tid))
			return errors.Is(err, os.ErrNotExist)
		}
		for !gone() {
			runtime.Gosched()
		}
	}
}
